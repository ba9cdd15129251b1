"""Decisions whose points wait for an event, such as a delivery, and those that wait no longer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson
from sqlalchemy import text

from database.earnings import Earning, Stored, stored
from database.order_ids import ORDER_ID
from database.session import ReadSession, WriteSession
from database.vouching import VOUCHED

_AWAITING = text("""
    SELECT DISTINCT earnings.id
    FROM jsonb_to_recordset(CAST(:events AS jsonb)) AS event (customer_id uuid, name text, order_id text)
    JOIN earnings ON earnings.customer_id = event.customer_id AND earnings.activates_on = event.name
        AND (earnings.order_id IS NULL OR earnings.order_id = event.order_id)
    WHERE earnings.programme = :programme AND earnings.points > 0 AND earnings.activates_at > :as_of
""")


@dataclass(frozen=True, slots=True)
class Awaited:
    """An event that points may wait for, of a customer, about an order or none."""

    customer_id: UUID
    name: str
    order_id: str | None


async def awaiting(session: ReadSession, programme: str, events: Iterable[Awaited], as_of: datetime) -> list[Stored]:
    """Decisions whose points wait for one of these events of their customer, about their order if they have one."""
    rows = [{"customer_id": each.customer_id, "name": each.name, "order_id": each.order_id} for each in events]
    given = {"programme": programme, "events": orjson.dumps(rows).decode(), "as_of": as_of}
    ids = (await session.execute(_AWAITING, given)).scalars().all() if rows else []
    return await stored(session, Earning.id.in_(ids)) if ids else []


# Decisions whose event came before they were made: of the order, whenever it was; else later than what earned. Relies
# on pk_earnings and ix_events_customer_name.
_COME = text(f"""
    SELECT earnings.id FROM earnings
    WHERE earnings.id = ANY(CAST(:ids AS uuid[])) AND earnings.activates_on IS NOT NULL
      AND earnings.points > 0 AND earnings.activates_at > :as_of
      AND EXISTS (
          SELECT FROM events
          WHERE events.customer_id = earnings.customer_id AND events.name = earnings.activates_on AND {VOUCHED}
            AND events.status = 'routed'
            AND CASE WHEN earnings.order_id IS NULL THEN events.timestamp > earnings.at
                ELSE {ORDER_ID} = earnings.order_id END
      )
""")  # noqa: S608  a condition, written in our own code


async def awaited_before(session: ReadSession, ids: Collection[UUID], as_of: datetime) -> list[Stored]:
    """Those of these decisions whose points wait for an event that has been routed already."""
    come = (await session.execute(_COME, {"ids": list(ids), "as_of": as_of})).scalars().all() if ids else []
    return await stored(session, Earning.id.in_(come)) if come else []


_MATURE = text("""
    UPDATE earnings SET activates_at = :as_of, activates_on = NULL, expires_at = row.expires_at
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS row (id uuid, expires_at timestamptz)
    WHERE earnings.id = row.id
""")


async def mature(session: WriteSession, expiries: Mapping[UUID, datetime | None], as_of: datetime) -> None:
    """These decisions' points are available now, and lapse then."""
    rows = [{"id": id_, "expires_at": expires_at} for id_, expires_at in expiries.items()]
    if rows:
        await session.execute(_MATURE, {"rows": orjson.dumps(rows).decode(), "as_of": as_of})
