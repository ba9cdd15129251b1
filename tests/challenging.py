"""A shop with challenges, for tests of what the router makes of them: documents, orders, and what came of it all."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from sqlalchemy import select

from database import documents
from database.challenge_errands import MEMBERS_AT_ONCE, find_errands, run_errand
from database.challenge_progress import ChallengeCompletion, ChallengeProgress
from database.events import Event
from database.leaderboard_closing import close_some, find_ended
from database.points import balances
from domain.documents import DocumentState
from domain.points import Balance
from tests.triggers.shop import Shop

PROGRAMME = {"programme": "main", "earn": []}
TWO_ORDERS: dict[str, Any] = {
    "challenge": "two-orders",
    "metric": {"count": "Order Completed"},
    "levels": [{"level": "done", "at": 2, "points": 50, "badge": {"badge": "regular", "name": "Regular"}}],
}


async def put_live(
    shop: Shop, kind: str, document: Mapping[str, Any], state: DocumentState = DocumentState.LIVE
) -> int:
    """Publish a document, as the API does; answers its version."""
    key = document[kind]
    async with shop.database.transaction() as session:
        row = await documents.lock(session, kind, key)
        row = row or await documents.save_draft(session, kind, key, document, shop.now)
        return await documents.add_version(session, row, document=document, state=state, as_of=shop.now, by="test")


async def order(shop: Shop, order_id: str, *, total: float = 10, **given: Any) -> None:
    await shop.track("Order Completed", {"order_id": order_id, "total": total, "currency": "EUR"}, **given)


async def completions(shop: Shop) -> list[ChallengeCompletion]:
    statement = select(ChallengeCompletion).order_by(ChallengeCompletion.completed_at, ChallengeCompletion.reached_at)
    async with shop.database.read() as session:
        return list((await session.execute(statement)).scalars())


async def progress(shop: Shop) -> dict[tuple[str, str], Decimal]:
    """(challenge, period) -> figure, summed over customers."""
    found: dict[tuple[str, str], Decimal] = {}
    async with shop.database.read() as session:
        for row in (await session.execute(select(ChallengeProgress))).scalars():
            found[row.challenge, row.period] = found.get((row.challenge, row.period), Decimal()) + row.figure
    return found


async def balance(shop: Shop, user_id: str = "u-1") -> Balance:
    customer = await shop.customer(user_id)
    async with shop.database.read() as session:
        return (await balances(session, "main", [customer.id], shop.now))[customer.id]


async def told(shop: Shop, name: str) -> list[dict[str, Any]]:
    """The properties of our own events of one name, the oldest first."""
    async with shop.database.read() as session:
        statement = select(Event.properties).where(Event.name == name).order_by(Event.id)
        return list((await session.execute(statement)).scalars())


async def run_errands(shop: Shop, *, at_once: int = MEMBERS_AT_ONCE) -> None:
    """What the hourly job does, and what the router then routes."""
    async with shop.database.transaction() as session:
        await find_errands(session, shop.now)
        await find_ended(session, shop.now)
    more = True
    while more:
        async with shop.database.transaction() as session:
            more = await close_some(session, shop.now, at_once=at_once)
    more = True
    while more:
        async with shop.database.transaction() as session:
            more = await run_errand(session, shop.now, at_once=at_once)
    await shop.route()
