"""A small shop for the router's tests: events go in as the API puts them in, and the router routes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

from sqlalchemy import func, select

from database import documents
from database.customers import Customer, Identity
from database.events import Event, append
from database.journeys import EntryDecision
from database.runs import Run
from database.session import Database
from domain.documents import DocumentState
from domain.events import KIND_NAMES, EventKind, NewEvent
from triggers.live import LiveCache
from triggers.routing import Routed, Routing

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


@dataclass
class Shop:
    """A shop with a router beside it. Its clock stands at `now` until a test moves it."""

    database: Database
    now: datetime = NOON
    routing: Routing = field(default_factory=lambda: Routing(LiveCache()))
    _messages: Callable[[], int] = field(default_factory=lambda: count(1).__next__)

    def event(self, name: str = "", *, kind: EventKind = EventKind.TRACK, **given: Any) -> NewEvent:
        """One event as the API would hand it on, of customer `u-1` unless ids are given."""
        if "user_id" not in given and "anonymous_id" not in given:
            given["user_id"] = "u-1"
        return NewEvent(
            source=given.pop("source", "shop"),
            message_id=given.pop("message_id", None) or f"m-{self._messages()}",
            kind=kind,
            name=name or KIND_NAMES.get(kind, ""),
            timestamp=given.pop("timestamp", self.now),
            received_at=given.pop("received_at", self.now),
            **given,
        )

    async def post(self, *events: NewEvent) -> None:
        """Store events, as ingest does."""
        async with self.database.transaction() as session:
            await append(session, events)

    async def route(self, limit: int = 500) -> Routed:
        """Route until nothing more can be routed now."""
        total = Routed()
        while True:
            async with self.database.transaction() as session:
                done = await self.routing.route(session, self.now, limit)
            total += done
            if not done.routed and not done.failed:
                return total

    async def track(self, name: str, properties: Mapping[str, Any] | None = None, **given: Any) -> None:
        """Post one event and route it."""
        await self.post(self.event(name, properties=dict(properties or {}), **given))
        await self.route()

    async def identify(self, traits: Mapping[str, Any] | None = None, **given: Any) -> None:
        """Post one identify and route it."""
        await self.post(self.event(kind=EventKind.IDENTIFY, traits=dict(traits or {}), **given))
        await self.route()

    async def publish(self, document: Mapping[str, Any], state: DocumentState = DocumentState.LIVE) -> None:
        """Make a journey's next version, as publishing does."""
        key = document["journey"]
        async with self.database.transaction() as session:
            row = await documents.lock(session, "journey", key)
            row = row or await documents.save_draft(session, "journey", key, document, self.now)
            await documents.add_version(session, row, document=document, state=state, as_of=self.now, by="test")

    def later(self, **by: float) -> None:
        """Some time passes."""
        self.now += timedelta(**by)

    async def customer(self, user_id: str = "u-1") -> Customer:
        """The customer whom the shop knows by this id."""
        statement = (
            select(Customer)
            .join(Identity, Identity.customer_id == Customer.id)
            .where(Identity.kind == "user", Identity.value == user_id)
        )
        async with self.database.read() as session:
            return (await session.execute(statement)).scalar_one()

    async def customer_count(self) -> int:
        """How many people there are (tombstones of merges do not count)."""
        async with self.database.read() as session:
            counted = select(func.count()).select_from(Customer).where(Customer.merged_into.is_(None))
            return (await session.execute(counted)).scalar_one()

    async def runs(self, journey: str | None = None) -> list[Run]:
        """All runs, the oldest first."""
        statement = select(Run).order_by(Run.entered_at, Run.id)
        async with self.database.read() as session:
            found = (await session.execute(statement)).scalars().all()
        return [run for run in found if journey is None or run.journey == journey]

    async def decisions(self, journey: str | None = None) -> list[EntryDecision]:
        """What was decided about entries, in the order of events."""
        statement = select(EntryDecision).order_by(EntryDecision.event_id, EntryDecision.journey)
        async with self.database.read() as session:
            found = (await session.execute(statement)).scalars().all()
        return [each for each in found if journey is None or each.journey == journey]

    async def events_of(self, customer_id: UUID) -> list[Event]:
        """A customer's routed events in routing order."""
        statement = select(Event).where(Event.customer_id == customer_id).order_by(Event.number, Event.id)
        async with self.database.read() as session:
            return list((await session.execute(statement)).scalars())


def abandoned_cart(**changes: Any) -> dict[str, Any]:
    """The journey that most tests use: enters on Product Added, exits on Order Completed."""
    return {
        "journey": "abandoned-cart",
        "purpose": "marketing",
        "enter": {"on": {"event": "Product Added"}, "occasion": "properties.cart_id"},
        "exit": [{"event": "Order Completed"}],
        "steps": [
            {"wait_for": {"id": "quiet", "timeout": "1h", "restart_on": [{"event": "Product Added"}]}},
            {"send": {"id": "reminder", "template": "cart-reminder"}},
        ],
        **changes,
    }
