"""What recent e-commerce events state that nobody can read: for `perennial doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import or_, select

from database.events import Event
from database.session import ReadSession
from domain.carts import CART_EVENTS
from domain.commerce import MAKES_ORDERS
from domain.misread import misread

LOOKED_AT = 20_000
"""Events that are looked at, the latest of all: enough to see what a shop sends, however large it is."""


@dataclass(slots=True)
class MisreadKind:
    """One kind of what a source states and nobody can read. `message` is the latest one's: where, and what to write."""

    source: str
    code: str
    message: str
    last_at: datetime
    times: int = 0


async def misread_since(session: ReadSession, since: datetime) -> Sequence[MisreadKind]:
    """Each kind since a moment, the most frequent first. By pk_events, as far back as LOOKED_AT events go."""
    columns = (Event.id, Event.source, Event.name, Event.properties, Event.received_at)
    latest = select(*columns).order_by(Event.id.desc()).limit(LOOKED_AT).subquery()
    is_commerce = or_(latest.c.name.in_(CART_EVENTS | MAKES_ORDERS), latest.c.name.startswith("Product "))
    statement = select(latest).where(is_commerce, latest.c.received_at >= since).order_by(latest.c.id.desc())
    found: dict[tuple[str, str], MisreadKind] = {}
    for row in await session.execute(statement):
        for each in misread(row.name, row.properties):
            first = MisreadKind(row.source, each.code, each.message, row.received_at)
            found.setdefault((row.source, each.code), first).times += 1
    return sorted(found.values(), key=lambda kind: (-kind.times, kind.source, kind.code))
