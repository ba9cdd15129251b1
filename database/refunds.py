"""What refunds and cancellations are to take back: the decisions about their orders, and whose those orders are.

The refunds themselves are kept beside their orders: orders.py.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select, text

from database.base import among
from database.earnings import Earning, Stored, stored
from database.orders import Order, Refund
from database.session import ReadSession
from domain.unpaid import Unpaid


async def decisions_about(session: ReadSession, order_ids: Collection[str]) -> list[Stored]:
    """What any programme, live or not, paid for orders of which something was given back, now or before.

    Relies on ix_earnings_order.
    """
    refunded = select(Refund.order_id).where(among(Refund.order_id, order_ids))
    cancelled = select(Order.order_id).where(among(Order.order_id, order_ids), Order.cancelled)
    touched = Earning.order_id.in_(refunded) | Earning.order_id.in_(cancelled) | (Earning.taken_back > 0)
    wanted = among(Earning.order_id, order_ids) & (Earning.points > 0)
    return await stored(session, wanted & touched) if order_ids else []


async def namesakes(session: ReadSession, programme: str, order_ids: Collection[str]) -> set[tuple[str, UUID]]:
    """Orders with customers who told of one by the same id when somebody had earned by it: theirs is another order.

    Relies on ix_earnings_order.
    """
    told = select(Earning.order_id, Earning.customer_id).where(
        Earning.programme == programme, among(Earning.order_id, order_ids), Earning.reason == Unpaid.ONCE
    )
    return {(order_id or "", customer_id) for order_id, customer_id in await session.execute(told)}


# Whoever an order belongs to, whose word it stands by, whoever earned by it, and whose points paid for it. Relies on
# pk_orders, pk_events, ix_earnings_order, ix_point_notes_order_id and ix_referrals_referee_id.
_OWNERS = text("""
    SELECT order_id, customer_id, coalesce(array_agg(DISTINCT spent_in) FILTER (WHERE spent_in IS NOT NULL), '{}')
    FROM (
        SELECT order_id, customer_id, CAST(NULL AS text) AS spent_in, false AS is_paid
        FROM orders WHERE order_id = ANY(CAST(:ids AS text[]))
        UNION ALL
        SELECT orders.order_id, told.customer_id, NULL, false
        FROM orders CROSS JOIN LATERAL (
            SELECT customer_id FROM events WHERE id = ANY(ARRAY(
                SELECT CAST(written.value ->> -1 AS uuid) FROM jsonb_each(orders.changed_at) AS written
            ))
            OFFSET 0
        ) AS told
        WHERE orders.order_id = ANY(CAST(:ids AS text[])) AND told.customer_id IS NOT NULL
        UNION ALL
        SELECT order_id, customer_id, NULL, true
        FROM earnings WHERE order_id = ANY(CAST(:ids AS text[]))
            AND reason IS DISTINCT FROM 'already_earned'
        UNION ALL
        SELECT notes.order_id, coalesce(balances.merged_into, made.account), made.programme, true
        FROM point_notes AS notes
        JOIN point_transactions AS made ON made.id = notes.transaction_id
        JOIN point_balances AS balances ON balances.programme = made.programme AND balances.account = made.account
        WHERE notes.order_id = ANY(CAST(:ids AS text[]))
    ) AS owned
    WHERE is_paid OR NOT CAST(:paid AS boolean) OR EXISTS (
        SELECT FROM referrals WHERE referee_id = owned.customer_id AND referrals.order_id = owned.order_id
    )
    GROUP BY order_id, customer_id
    ORDER BY order_id, customer_id
""")


class Owner(NamedTuple):
    """A customer for whom an order counts. `spent_in`: the programmes whose points of theirs paid for it."""

    order_id: str
    customer_id: UUID
    spent_in: Sequence[str]


async def owners_of_orders(session: ReadSession, order_ids: Collection[str], *, paid: bool = False) -> list[Owner]:
    """The orders with the customers for whom they count, in order.

    `paid`: only who earned or spent points by the order, and friends whose referral goes by it.
    """
    given = {"ids": list(order_ids), "paid": paid}
    return [Owner(*row) for row in await session.execute(_OWNERS, given)] if order_ids else []
