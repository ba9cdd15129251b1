"""A shop that gives rewards for points: a live programme, rewards, customers with points, for tests of all layers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select

from database import customers, documents
from database.coupons import Coupon
from database.points import balances, post
from database.redeeming import cancel, fulfil, lock_with_customer, redeem
from database.redemptions import Redemption, give
from database.rewards import RewardStock
from database.session import Database
from domain.documents import DocumentState
from domain.errors import Conflict
from domain.ids import new_id
from domain.points import Balance, Credit, CreditKind
from domain.redemptions import Canceller, Given, NotGiven
from tests.factories import NOON, make_customer

MAIN = "main"
DAY = timedelta(days=1)
TEA: Mapping[str, Any] = {"reward": "free-tea", "gives": {"gift": "tea"}, "price": [{"points": 100}]}
TENNER: Mapping[str, Any] = {
    "reward": "tenner",
    "gives": {"amount": {"amount": 1_000, "currency": "EUR"}},
    "price": [{"points": 100}],
}

DELIVERED: Mapping[str, Any] = {"fulfil": {"url": "https://shop.example/deliver"}}


async def publish(
    database: Database, kind: str, document: Mapping[str, Any], state: DocumentState = DocumentState.LIVE
) -> None:
    """Make the next version of a document, without its checks."""
    key = document[kind]
    async with database.transaction() as session:
        row = await documents.lock(session, kind, key)
        row = row or await documents.save_draft(session, kind, key, document, NOON)
        await documents.add_version(session, row, document=document, state=state, as_of=NOON, by="test")


async def publish_programme(database: Database, **changes: Any) -> None:
    """A programme that earns nothing by itself."""
    await publish(database, "programme", {"programme": MAIN, **changes})


async def publish_reward(database: Database, document: Mapping[str, Any] = TEA, **changes: Any) -> None:
    """A reward's next version."""
    await publish(database, "reward", {**document, **changes})


async def make_member(
    database: Database, name: str = "ann", *, points: int = 0, expires: datetime | None = None, **traits: Any
) -> UUID:
    """A customer with points that are available."""
    customer_id = await make_customer(database, name, traits=traits)
    if points:
        await award(database, customer_id, points, expires=expires)
    return customer_id


async def award(
    database: Database, customer_id: UUID, points: int, *, expires: datetime | None = None, at: datetime = NOON
) -> None:
    """More points for a customer."""
    credit = Credit(
        account=customer_id,
        key=f"test/{new_id()}",
        points=points,
        kind=CreditKind.AWARD,
        earned_at=at,
        source="test",
        expires_at=expires,
    )
    async with database.transaction() as session:
        await customers.lock(session, [customer_id], skip_locked=False)
        await post(session, MAIN, [credit], at)


async def balance_of(database: Database, customer_id: UUID, at: datetime = NOON) -> Balance:
    """A customer's points at a moment."""
    async with database.read() as session:
        return (await balances(session, MAIN, [customer_id], at))[customer_id]


async def taken(database: Database, reward: str) -> int:
    """How many of a reward are taken."""
    async with database.read() as session:
        statement = select(RewardStock.taken).where(RewardStock.reward == reward)
        return (await session.execute(statement)).scalar_one_or_none() or 0


async def redemptions_of(database: Database, reward: str | None = None) -> list[Redemption]:
    """All redemptions, the oldest first."""
    statement = select(Redemption).order_by(Redemption.requested_at, Redemption.id)
    async with database.read() as session:
        rows = (await session.execute(statement)).scalars().all()
    return [row for row in rows if reward in (None, row.reward)]


async def coupon(database: Database, code: str) -> Coupon:
    """One coupon."""
    async with database.read() as session:
        return (await session.execute(select(Coupon).where(Coupon.code == code))).scalar_one()


async def coupons_of(database: Database, reward: str) -> list[Coupon]:
    """All codes of a reward, in the order they were loaded or made."""
    async with database.read() as session:
        statement = select(Coupon).where(Coupon.reward == reward).order_by(Coupon.number)
        return list((await session.execute(statement)).scalars())


# What customers and the shop do --------------------------------------------------------------------------


async def buy(database: Database, who: UUID, reward: str = "free-tea", at: datetime = NOON) -> Redemption:
    async with database.transaction() as session:
        await customers.lock(session, [who], skip_locked=False)
        return await redeem(session, who, reward, at)


async def end(database: Database, row: Redemption, by: Canceller | None = None, at: datetime = NOON) -> Redemption:
    """Cancel by somebody, or fulfil."""
    async with database.transaction() as session:
        locked = await lock_with_customer(session, row.id)
        await (fulfil(session, locked, at) if by is None else cancel(session, locked, by, "changed my mind", at))
        return locked


async def gift(database: Database, who: UUID, reward: str, key: str) -> Given | NotGiven:
    async with database.transaction() as session:
        await customers.lock(session, [who], skip_locked=False)
        return await give(session, who, reward, key, NOON)


async def tried(attempts: Sequence[asyncio.Future[Redemption] | asyncio.Task[Redemption]]) -> Counter[str]:
    """How the attempts ended: the codes of refusals, `done` for the others."""
    ended = await asyncio.gather(*attempts, return_exceptions=True)
    unexpected = [each for each in ended if isinstance(each, BaseException) and not isinstance(each, Conflict)]
    assert unexpected == []
    return Counter(each.code if isinstance(each, Conflict) else "done" for each in ended)
