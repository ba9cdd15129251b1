"""A shop with a programme of referrals: the router, claims and ends of holds, without HTTP and Temporal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select

from activities.referrals import reward
from database import documents
from database.events import Event
from database.points import balances
from database.referral_codes import code_for
from database.referrals import Referral
from database.session import Database
from domain.documents import DocumentState
from domain.points import Balance
from domain.referral_signals import SignalKind
from tests.triggers.shop import Shop
from triggers.referral_claims import Claimed, claim, origin_of

REFERRAL: Mapping[str, Any] = {
    "qualifies_on": {"event": "Order Completed", "where": [{"property": "subtotal", "gte": 30}]},
    "hold": "14d",
    "referrer": {"points": 500},
    "referee": {"points": 100},
}
"""500 points for who brings, 100 for who comes, two weeks after an order of 30 or more."""


@dataclass
class ReferringShop(Shop):
    """Customers are named by the shop's own ids."""

    async def publish_programme(
        self, key: str = "main", *, earn: Sequence[Mapping[str, Any]] = (), **referral: Any
    ) -> None:
        """Make a programme with these rules and referral terms live."""
        terms = {**REFERRAL, **referral}
        document = {"programme": key, "zone": "Europe/Berlin", "earn": list(earn), "referral": terms}
        async with self.database.transaction() as session:
            row = await documents.lock(session, "programme", key)
            row = row or await documents.save_draft(session, "programme", key, document, self.now)
            await documents.add_version(
                session, row, document=document, state=DocumentState.LIVE, as_of=self.now, by="test"
            )

    async def archive_programme(self) -> None:
        """No programme is live any more."""
        async with self.database.transaction() as session:
            row = await documents.lock(session, "programme", "main")
            assert row is not None
            row.state = DocumentState.ARCHIVED

    async def sign_up(self, *user_ids: str, **traits: str) -> None:
        """Customers whom nobody knew."""
        for user_id in user_ids:
            await self.identify({"email": f"{user_id}@{user_id}.example"} | traits, user_id=user_id)

    async def claim(
        self, referrer: str, referee: str, signals: Mapping[SignalKind, str] | None = None, *, code: str | None = None
    ) -> Claimed:
        """Claim by the referrer's code, or another one."""
        ours = {user_id: (await self.customer(user_id)).id for user_id in (referrer, referee)}
        async with self.database.transaction() as session:
            written = code or await code_for(session, ours[referrer], self.now)
        async with self.database.transaction() as session:
            origin = await origin_of(session, written)
            return await claim(session, origin, ours[referee], signals or {}, self.now)

    async def order(self, user_id: str, order_id: str = "o-1", subtotal: float = 50, **given: Any) -> None:
        """An order that is complete."""
        told = {"order_id": order_id, "subtotal": subtotal, "total": subtotal, "currency": "EUR"}
        await self.track("Order Completed", told, user_id=user_id, **given)

    async def refund(self, user_id: str, order_id: str = "o-1", total: float | None = None) -> None:
        """All of an order comes back, or so much of it."""
        told = {"order_id": order_id} | ({} if total is None else {"total": total, "currency": "EUR"})
        await self.track("Order Refunded", told, user_id=user_id)

    async def end_holds(self) -> int:
        """Reward whatever is due now; how many."""
        rewarded = 0
        for row in await self.referrals():
            if row.state != "held":
                continue
            async with self.database.transaction() as session:
                rewarded += bool(await reward(session, row.id, self.now))
        await self.route()
        return rewarded

    async def referrals(self) -> list[Referral]:
        """All of them, the oldest first."""
        async with self.database.read() as session:
            return list((await session.execute(select(Referral).order_by(Referral.id))).scalars())

    async def states(self) -> list[str]:
        """Where they stand; with the reason where there is one."""
        return [f"{row.state}({row.reason})" if row.reason else row.state for row in await self.referrals()]

    async def points(self, user_id: str, programme: str = "main") -> int:
        """What a customer can spend, below zero with a deficit."""
        return (await self.balance((await self.customer(user_id)).id, programme)).available

    async def balance(self, customer_id: UUID, programme: str = "main") -> Balance:
        """An account as it is now."""
        async with self.database.read() as session:
            return (await balances(session, programme, [customer_id], self.now)).get(customer_id, Balance())

    async def told(self, name: str) -> list[tuple[str, str]]:
        """To whom an event of the product was told, and for which side."""
        statement = select(Event).where(Event.name == name).order_by(Event.id)
        async with self.database.read() as session:
            events = (await session.execute(statement)).scalars()
            return [(event.user_id or "", event.properties["side"]) for event in events]


async def open_referring_shop(database: Database) -> ReferringShop:
    """A shop with a live programme, and Ann and Bob whom nobody has brought."""
    shop = ReferringShop(database)
    await shop.publish_programme()
    await shop.sign_up("ann", "bob")
    return shop


async def rewarded(shop: ReferringShop) -> None:
    """Ann brings Bob, who orders; two weeks pass."""
    await shop.claim("ann", "bob")
    shop.later(hours=1)
    await shop.order("bob")
    shop.later(days=15)
    assert await shop.end_holds() == 1
