"""What counts for tiers, read from the ledger and from orders: gains with what was taken back of each, and when."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from math import floor
from typing import Any, assert_never
from uuid import UUID

from sqlalchemy import Text, cast, func, select, text

from database.orders import Order, order_of, refunds_of
from database.session import ReadSession
from database.vouching import doubted_events
from domain.commerce import MAKES_ORDERS
from domain.points import CORRECTION
from domain.refunds import GivenBack, RefundFact, given_back
from domain.tier_figures import Gain, Loss
from domain.tiers import Measure, Measured

GainsById = dict[UUID, dict[Measured, list[Gain]]]


async def gains_of(
    session: ReadSession, programme: str, ids: Collection[UUID], measures: Collection[Measured]
) -> GainsById:
    """Everything that these customers ever gained, by each measure that is asked for."""
    found: GainsById = {id_: {measured: [] for measured in measures} for id_ in ids}
    for measured in measures:
        match measured.measure:
            case Measure.POINTS:
                await _add_points(session, programme, found, measured)
            case Measure.SPEND | Measure.ORDERS:
                await _add_orders(session, found, measured)
            case _:
                assert_never(measured.measure)
    return found


# Credits by rules of the programme and their clawbacks, both summed up by when it was earned: several rules pay for one
# event. What a correction took back was never earned. What an account earned before it was merged into another counts
# for that one. Relies on pk_point_entries, ix_point_balances_merged and ix_point_transactions_of.
_POINTS = text("""
    WITH accounts AS (
        SELECT id AS customer_id, id AS account FROM unnest(CAST(:ids AS uuid[])) AS asked (id)
        UNION ALL
        SELECT merged_into, account FROM point_balances WHERE programme = :programme AND merged_into = ANY(:ids)
    ),
    credits AS MATERIALIZED (
        SELECT accounts.customer_id, credit.id, lot.earned_at, credit.points - coalesce((
            SELECT sum(points) FROM point_transactions AS back
            WHERE back."of" = credit.id AND back.kind = 'clawback' AND back.source = :correction
        ), 0) AS points
        FROM accounts
        JOIN point_entries AS entry
            ON entry.programme = :programme AND entry.account = accounts.account AND entry.bucket = 'issued'
        JOIN point_transactions AS credit ON credit.id = entry.transaction_id AND credit.kind = 'earn'
        JOIN point_lots AS lot ON lot.id = credit.id
    )
    SELECT customer_id, earned_at, sum(points)::bigint AS points, NULL::timestamptz AS lost_at
    FROM credits GROUP BY customer_id, earned_at
    UNION ALL
    SELECT credits.customer_id, credits.earned_at, sum(back.points)::bigint, back.effective_at
    FROM credits
    JOIN point_transactions AS back ON back."of" = credits.id AND back.kind = 'clawback' AND back.points > 0
        AND back.source <> :correction
    GROUP BY credits.customer_id, credits.earned_at, back.effective_at
""")


async def _add_points(session: ReadSession, programme: str, found: GainsById, measured: Measured) -> None:
    losses: dict[tuple[UUID, datetime], list[Loss]] = {}
    for customer_id, earned_at, amount, lost_at in await session.execute(
        _POINTS, {"programme": programme, "ids": list(found), "correction": CORRECTION}
    ):
        lost = losses.setdefault((customer_id, earned_at), [])
        if lost_at is None:
            found[customer_id][measured].append(Gain(earned_at, amount, lost))
        else:
            lost.append(Loss(lost_at, amount))


async def _add_orders(session: ReadSession, found: GainsById, measured: Measured) -> None:
    """Orders that are theirs by more than a browser's word. Relies on ix_orders_customer and ix_refunds_order."""
    made_by = func.coalesce(Order.changed_at["customer"][-1].astext, "")
    doubted = select(cast(doubted_events(found, MAKES_ORDERS).subquery().c.id, Text))
    completed = select(Order).where(
        Order.customer_id.in_(found), Order.completed_at.is_not(None), made_by.not_in(doubted)
    )
    if measured.currency is not None:
        completed = completed.where(Order.currency == measured.currency)
    orders = (await session.execute(completed)).scalars().all()
    refunds = await refunds_of(session, [order.order_id for order in orders])
    for order in orders:
        found[order.customer_id][measured].append(_gain(order, refunds[order.order_id], measured))


def _gain(order: Order, refunds: Sequence[RefundFact], measured: Measured) -> Gain:
    """An order's worth, or 1; a refund takes back what it gave back, or the 1 once everything is given back."""
    assert order.completed_at is not None  # noqa: S101  the query says so
    worth = _worth(order, measured)
    losses: list[Loss] = []
    standing, lost = replace(order_of(order), cancelled=False), 0
    in_order = sorted(refunds, key=lambda refund: refund.stamp)
    for count, refund in enumerate(in_order, 1):
        gone = _lost(worth, given_back(standing, in_order[:count]), measured)
        losses.append(Loss(refund.at, gone - lost))
        lost = gone
    cancelled = _cancelled_at(order)
    return Gain(order.completed_at, worth, [*losses, *([Loss(cancelled, worth)] if cancelled else [])])


def _lost(worth: int, back: GivenBack, measured: Measured) -> int:
    """Of the total the money that went back; of the goods' worth the share that did; an order only as a whole."""
    if back.returned == 1:
        return worth
    if measured.measure is Measure.ORDERS:
        return 0
    return min(worth, back.refunded) if measured.of == "total" else floor(worth * back.returned)


def _worth(order: Order, measured: Measured) -> int:
    if measured.measure is Measure.ORDERS:
        return 1
    told = getattr(order, measured.of)
    return max(0, (order.total if told is None else told) or 0)


def _cancelled_at(order: Order) -> datetime | None:
    """When it was cancelled: the time of the event that said so last."""
    if not order.cancelled:
        return None
    writer: Any = order.changed_at.get("cancelled")  # [time, message id]
    return datetime.fromisoformat(writer[0]) if writer else order.completed_at
