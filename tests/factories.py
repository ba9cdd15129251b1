"""Rows as the router and the activities would have left them, for tests that need a past without making it happen."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from database.customers import Customer, Identity
from database.events import Event, EventKey
from database.session import Database
from domain.ids import new_id

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


async def make_customer(
    database: Database, user_id: str, *, traits: Mapping[str, Any] | None = None, anonymous_id: str | None = None
) -> UUID:
    """An identified customer. Answers our own id."""
    traits = dict(traits or {})
    customer = Customer(
        id=new_id(),
        external_id=user_id,
        traits=traits,
        trait_times={},
        email=traits.get("email"),
        zone=traits.get("timezone"),
        first_seen=NOON,
        last_seen=NOON,
    )
    ids = [("user", user_id)] + ([("anonymous", anonymous_id)] if anonymous_id else [])
    async with database.transaction() as session:
        session.add(customer)
        await session.flush()
        session.add_all(
            Identity(kind=kind, value=value, customer_id=customer.id, first_seen=NOON, superseded=False)
            for kind, value in ids
        )
    return customer.id


async def make_events(database: Database, customer_id: UUID, user_id: str, *names: str, start: int = 1) -> list[UUID]:
    """Routed events of a customer, a minute apart, numbered from `start`."""
    events = [_event(customer_id, user_id, name, number) for number, name in enumerate(names, start)]
    async with database.transaction() as session:
        session.add_all(events)
        session.add_all(
            EventKey(source=each.source, message_id=each.message_id, event_id=each.id, fingerprint=b"")
            for each in events
        )
    return [each.id for each in events]


def _event(customer_id: UUID, user_id: str, name: str, number: int) -> Event:
    at = NOON + timedelta(minutes=number)
    return Event(
        id=new_id(),
        source="shop",
        message_id=f"{user_id}/{number}",
        kind="track",
        name=name,
        subject=f"u:{user_id}",
        user_id=user_id,
        timestamp=at,
        received_at=at,
        properties={"of": user_id},
        traits={},
        context={},
        trusted=True,
        status="routed",
        customer_id=customer_id,
        number=number,
        routed_at=at,
    )
