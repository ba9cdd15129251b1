"""Events that the product tells about a customer: journeys start on them, the router acts on them under a lock."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select

from database.customers import Customer, Identity
from database.events import append
from database.session import ReadSession, WriteSession
from domain.events import EventKind, NewEvent
from domain.identities import IdKind
from domain.journeys.waiting import PRODUCT_SOURCE


@dataclass(frozen=True, slots=True)
class Announcement:
    """One event of a customer. `message_id` is natural, so that telling it twice tells it once."""

    customer_id: UUID
    name: str
    message_id: str
    properties: Mapping[str, Any] = field(default_factory=dict)  # any JSON object, without personal data
    depth: int = 0  # of the chain of journeys that brought it about


async def announce(session: WriteSession, told: Sequence[Announcement], as_of: datetime) -> None:
    """Append the events. Whoever is erased, or known by no id, is told nothing."""
    known = await known_as(session, {each.customer_id for each in told})
    events = [
        NewEvent(
            source=PRODUCT_SOURCE,
            message_id=each.message_id,
            kind=EventKind.TRACK,
            name=each.name,
            timestamp=as_of,
            received_at=as_of,
            user_id=known[each.customer_id][0],
            anonymous_id=known[each.customer_id][1],
            properties=dict(each.properties),
            depth=each.depth,
            own=True,
        )
        for each in told
        if each.customer_id in known
    ]
    if events:
        await append(session, events)


async def known_as(session: ReadSession, ids: Collection[UUID]) -> dict[UUID, tuple[str | None, str | None]]:
    """The user id of each customer, else an anonymous id. Whoever has neither is left out."""
    if not ids:
        return {}
    named = select(Customer.id, Customer.external_id).where(Customer.id.in_(ids), Customer.external_id.is_not(None))
    found: dict[UUID, tuple[str | None, str | None]] = {
        row.id: (row.external_id, None) for row in await session.execute(named)
    }
    others = (
        select(Identity.customer_id, Identity.kind, Identity.value)
        .where(Identity.customer_id.in_(set(ids) - found.keys()))
        .order_by(Identity.kind, Identity.first_seen.desc(), Identity.value.desc())  # a user id comes last and wins
    )
    for row in await session.execute(others):
        found[row.customer_id] = (row.value, None) if row.kind == IdKind.USER else (None, row.value)
    return found
