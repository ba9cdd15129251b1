"""What was said of orders besides, by which what they earned may change, and the decisions that it changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text

from database.base import among
from database.earnings import Earning, Stored, changes_row, shares_row, stored
from database.order_ids import ORDER_ID
from database.session import ReadSession, WriteSession
from database.vouching import VOUCHED
from domain.commerce import ORDER_CANCELLED, ORDER_UPDATED
from domain.earned_edits import Amended
from domain.earning import EarningEvent
from domain.identities import Stamp
from domain.lateness import returned_at
from domain.order_statements import Edit, Statement

OrderOf = tuple[str, UUID]
"""The shop's id of an order, and the customer whose decisions are about it."""


@dataclass(frozen=True, slots=True)
class Word:
    """One event that says what an order comes to. `event`: as a decision about it would have it."""

    edit: Edit
    event: EarningEvent


@dataclass(slots=True)
class OrderWords:
    """All that was said of one order, by its event, and the currency that it is in."""

    currency: str | None = None
    words: dict[UUID, Word] = field(default_factory=dict)

    @property
    def cancelled_at(self) -> datetime | None:
        """Since when it may have counted as cancelled, whatever was said of it afterwards."""
        words = (word.edit.at for word in self.words.values() if word.event.name == ORDER_CANCELLED)
        return min(words, default=None)

    def besides(self, event: EarningEvent) -> list[Edit]:
        """The updates of the order, but for the event that earns itself."""
        return [word.edit for id_, word in self.words.items() if id_ != event.id and word.event.name == ORDER_UPDATED]


# The customer's own updates and cancellations of an order, and whoever had the last word on anything of it: of somebody
# else an update counts, unless they have an order of that id themselves. Relies on pk_orders, pk_events and
# ix_events_customer_name; releases before wrote no sent time and no event id where the last words are.
_WORDS = text(f"""
    WITH asked AS MATERIALIZED (
        SELECT asked.order_id, asked.customer_id, orders.currency, orders.changed_at
        FROM unnest(CAST(:orders AS text[]), CAST(:customers AS uuid[])) AS asked (order_id, customer_id)
        LEFT JOIN orders ON orders.order_id = asked.order_id
    ),
    told AS (
        SELECT asked.order_id, asked.customer_id, events.id
        FROM asked JOIN events ON events.customer_id = asked.customer_id
        WHERE events.name IN ('Order Updated', 'Order Cancelled') AND events.status = 'routed' AND {VOUCHED}
          AND {ORDER_ID} = asked.order_id
        UNION
        SELECT asked.order_id, asked.customer_id, said.id
        FROM asked
        CROSS JOIN LATERAL jsonb_each(asked.changed_at) AS written
        JOIN events AS said ON said.id = CAST(nullif(written.value ->> 2, '') AS uuid)
        WHERE said.name IN ('Order Completed', 'Order Updated') AND CASE
            WHEN said.customer_id = asked.customer_id THEN true
            ELSE said.name = 'Order Updated' AND NOT EXISTS (
                SELECT FROM events
                WHERE events.customer_id = said.customer_id AND events.name = 'Order Completed'
                  AND events.status = 'routed' AND {ORDER_ID} = asked.order_id
            )
        END
    )
    SELECT
        asked.order_id, asked.customer_id, asked.currency,
        events.id, events.name, events.message_id, events.timestamp, events.sent, events.received_at,
        events.is_history, events.properties
    FROM asked
    LEFT JOIN told ON told.order_id = asked.order_id AND told.customer_id = asked.customer_id
    LEFT JOIN events ON events.id = told.id
""")  # noqa: S608  conditions, written in our own code


async def words_about(session: ReadSession, orders: Collection[OrderOf]) -> Mapping[OrderOf, OrderWords]:
    """What was said of these orders by whoever may change what their customers earned by them."""
    found: defaultdict[OrderOf, OrderWords] = defaultdict(OrderWords)
    asked = sorted(orders)
    given = {"orders": [order_id for order_id, _ in asked], "customers": [customer_id for _, customer_id in asked]}
    for row in await session.execute(_WORDS, given) if asked else ():
        told = found[row.order_id, row.customer_id]
        told.currency = row.currency or None
        if row.id is not None:
            said = Statement(Stamp(row.timestamp, row.sent, row.id), row.properties)
            at = returned_at(row.timestamp, row.received_at, is_history=row.is_history)
            event = EarningEvent(row.id, row.message_id, row.customer_id, row.name, row.properties, at, sent=row.sent)
            told.words[row.id] = Word(Edit(said, at), event)
    return found


async def decisions_of_orders(session: ReadSession, programme: str, orders: Collection[OrderOf]) -> list[Stored]:
    """What was decided for good about these orders of these customers. Relies on ix_earnings_order."""
    if not orders:
        return []
    wanted = (Earning.programme == programme) & among(Earning.order_id, {order_id for order_id, _ in orders})
    rows = await stored(session, wanted & Earning.is_final)
    return [row for row in rows if (row.order_id, row.customer_id) in orders]


_AMEND = text("""
    UPDATE earnings SET
        points = row.points, wanted = row.wanted, reason = row.reason, basis = row.basis, currency = row.currency,
        shares = row.shares, inputs = earnings.inputs || row.inputs, decided_at = :as_of
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS row (
        id uuid, points bigint, wanted bigint, reason text, basis bigint, currency text, shares jsonb, inputs jsonb
    )
    WHERE earnings.id = row.id
""")


async def amend(session: WriteSession, amended: Mapping[UUID, Amended], as_of: datetime) -> None:
    """Write what edits made of decisions, and nothing else of them."""
    rows: Sequence[dict[str, Any]] = [
        {
            "id": id_,
            "points": after.points,
            "wanted": after.wanted,
            "reason": after.reason,
            "basis": after.worth.basis if after.worth else None,
            "currency": after.worth.currency if after.worth else None,
            "shares": shares_row(after.worth.shares if after.worth else ()),
            "inputs": {
                "exact": str(after.exact),
                "counted": after.worth.counted if after.worth else None,
                "edits": changes_row(after.changes),
            },
        }
        for id_, after in amended.items()
    ]
    if rows:
        await session.execute(_AMEND, {"rows": orjson.dumps(rows).decode(), "as_of": as_of})
