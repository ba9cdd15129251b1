"""What members of challenges did: their recorded events that count, orders as they stand, with what came back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import select, text

from database.base import among
from database.events import Event
from database.order_ids import ORDER_ID
from database.session import ReadSession
from database.vouching import VOUCHED
from domain.challenges.facts import RecordedEvent
from domain.commerce import TELLS_ORDERS
from domain.identities import Stamp
from domain.order_statements import Statement, as_it_stands


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events of a customer are needed: these names, from this time on."""

    customer_id: UUID
    names: frozenset[str] = field(default_factory=frozenset)
    since: datetime | None = None

    @property
    def read_names(self) -> list[str]:
        """Whoever counts orders needs all that was said of them."""
        return sorted(self.names | (TELLS_ORDERS if self.names & TELLS_ORDERS else frozenset()))


# A customer's routed events of some names that count for value, from some time on, with what is left of the order that
# each tells about: nothing once it was cancelled. `writers`: who else had the last word on something of it; releases
# before wrote no sent time and no event id there. An order of somebody known who tells of it by the same name is theirs
# alone. Relies on ix_events_customer_name; orders by their primary key.
_EVENTS = text(f"""
    SELECT
        events.id, events.customer_id, events.name, events.timestamp, events.sent, events.properties, events.context,
        events.zone,
        orders.order_id, coalesce(orders.returned, '0') AS returned,
        orders.order_id IS NULL OR orders.changed_at -> 'customer' ->> -1 = CAST(events.id AS text) AS is_first,
        ARRAY(
            SELECT DISTINCT said.value ->> 2 FROM jsonb_each(orders.changed_at - 'customer' - 'cancelled') AS said
            WHERE said.value ->> 1 <> '' AND said.value ->> 2 <> CAST(events.id AS text)
        ) AS writers
    FROM jsonb_to_recordset(CAST(:wanted AS jsonb)) AS wanted (customer_id uuid, names text[], since timestamptz)
    JOIN events ON events.customer_id = wanted.customer_id AND events.name = ANY(wanted.names)
        AND events.timestamp >= coalesce(wanted.since, '-infinity')
    LEFT JOIN orders ON orders.order_id = {ORDER_ID}
        AND events.name IN ('Order Completed', 'Order Updated')
    WHERE events.status = 'routed' AND {VOUCHED}
        AND (orders.customer_id IS NULL OR orders.customer_id = events.customer_id OR NOT EXISTS (
            SELECT FROM (SELECT orders.order_id, orders.customer_id AS owner, events.name) AS told
            JOIN customers ON customers.id = told.owner AND customers.external_id IS NOT NULL
            JOIN events ON events.customer_id = told.owner AND events.name = told.name
            WHERE events.status = 'routed' AND {ORDER_ID} = told.order_id AND {VOUCHED}
        ))
    ORDER BY events.timestamp, events.sent, events.id
""")  # noqa: S608  a condition, written in our own code


async def recorded_events(session: ReadSession, wanted: Sequence[Wanted]) -> dict[UUID, list[RecordedEvent]]:
    """The events that may count, by customer, in the order of time. Browsers' events count for nothing of value.

    Of the events of one name about one order there is the first only, with the order's properties as it stands.
    """
    found: dict[UUID, list[RecordedEvent]] = {each.customer_id: [] for each in wanted}
    if not wanted:
        return found
    asked = [{"customer_id": each.customer_id, "names": each.read_names, "since": each.since} for each in wanted]
    rows = (await session.execute(_EVENTS, {"wanted": orjson.dumps(asked).decode()})).all()
    stands = await _orders(session, rows)
    seen: set[tuple[UUID, str, str]] = set()
    for row in rows:
        properties = row.properties
        if row.order_id is not None:
            properties, place = stands[row.order_id], (row.customer_id, row.order_id, row.name)
            if place in seen:
                continue
            seen.add(place)
        found[row.customer_id].append(
            RecordedEvent(
                *(row.id, row.name, row.timestamp, properties, row.context),
                kept=1 - Fraction(row.returned),
                is_first=row.is_first,
                order_id=row.order_id,
                zone=row.zone,
            )
        )
    return found


async def _orders(session: ReadSession, rows: Sequence[Any]) -> dict[str, Mapping[str, Any]]:  # rows of _EVENTS
    """Order id -> its properties as it stands, by what these rows say of it and what was said under other ids."""
    told: dict[str, dict[UUID, Statement]] = {}
    for row in rows:
        if row.order_id is not None:
            stamp = Stamp(row.timestamp, row.sent, row.id)
            told.setdefault(row.order_id, {})[row.id] = Statement(stamp, row.properties)
    others = {
        UUID(writer): row.order_id for row in rows for writer in row.writers if UUID(writer) not in told[row.order_id]
    }
    if others:
        statement = select(Event.id, Event.timestamp, Event.sent, Event.properties).where(among(Event.id, others))
        for other in await session.execute(statement):
            stamp = Stamp(other.timestamp, other.sent, other.id)
            told[others[other.id]][other.id] = Statement(stamp, other.properties)
    return {order_id: as_it_stands(statements.values()) for order_id, statements in told.items()}
