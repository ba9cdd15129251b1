"""What counts for tiers, read from the ledger and from orders: gains with what was taken back of each, and when."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from math import floor
from typing import assert_never
from uuid import UUID

from sqlalchemy import Text, case, cast, exists, func, select, text

from database.base import among
from database.earnings import Earning, frozen_of
from database.orders import Order, Refund, order_of
from database.returns import returns_of, returns_of_known
from database.session import ReadSession
from database.vouching import doubted_events
from domain.commerce import MAKES_ORDERS, OrderFold
from domain.points import CORRECTION
from domain.refunds import GivenBack, given_back
from domain.returns import Returns, gain_of
from domain.tier_figures import Gain, Loss
from domain.tiers import Measure, Measured

GainsById = dict[UUID, dict[Measured, list[Gain]]]

Keeps = Callable[[int, str], bool]
"""Whether customers keep the points of a rule, by its version and name, whatever they return."""


async def gains_of(
    session: ReadSession,
    programme: str,
    ids: Collection[UUID],
    measures: Collection[Measured],
    *,
    keeps: Keeps,
    but: Collection[UUID] = (),
) -> GainsById:
    """Everything that these customers ever gained, by each measure that is asked for. `but`: not by these decisions."""
    found: GainsById = {id_: {measured: [] for measured in measures} for id_ in ids}
    for measured in measures:
        match measured.measure:
            case Measure.POINTS:
                await _add_decisions(session, programme, found, measured, keeps=keeps, but=but)
                await _add_other_points(session, programme, found, measured)
            case Measure.SPEND | Measure.ORDERS:
                await _add_orders(session, found, measured)
            case _:
                assert_never(measured.measure)
    return found


async def _add_decisions(
    session: ReadSession, programme: str, found: GainsById, measured: Measured, *, keeps: Keeps, but: Collection[UUID]
) -> None:
    """What rules paid, less what came back since: by the orders and not by the ledger, which knows when we heard of it.

    Relies on ix_earnings_customer, ix_refunds_order and pk_orders. Lines are read of what came back only.
    """
    came_back = (
        exists().where(Refund.order_id == Earning.order_id)
        | exists().where(Order.order_id == Earning.order_id, Order.cancelled)
    ).label("came_back")
    columns = (Earning.customer_id, Earning.at, Earning.points, Earning.order_id, Earning.version, Earning.rule)
    edits = Earning.inputs["edits"].label("edits")
    frozen = (Earning.basis, Earning.currency, case((came_back, Earning.shares)).label("shares"), edits)
    statement = select(*columns, *frozen, came_back).where(
        Earning.programme == programme, among(Earning.customer_id, found), Earning.is_final
    )
    if but:
        statement = statement.where(~among(Earning.id, but))
    rows = (await session.execute(statement)).all()
    returns = await returns_of(session, {row.order_id for row in rows if row.came_back}, programme)
    for row in rows:
        losses: list[Loss] = []
        frozen_then = frozen_of(row.points, row.basis, row.currency, row.shares or (), row.edits)
        if row.came_back and not keeps(row.version, row.rule):
            losses = returns.of_points(frozen_then, row.order_id, row.customer_id, row.at)
        found[row.customer_id][measured].append(gain_of(frozen_then, row.at, losses))


# Credits as earned that no decision posted, and their clawbacks, both summed up by when it was earned. What a
# correction took back was never earned. What an account earned before it was merged into another counts for that one.
# The ledger keeps digests of keys (ledger.digest). Relies on pk_point_entries, ix_point_balances_merged,
# ix_point_transactions_of and ix_earnings_customer.
_OTHER_POINTS = text("""
    WITH accounts AS (
        SELECT id AS customer_id, id AS account FROM unnest(CAST(:ids AS uuid[])) AS asked (id)
        UNION ALL
        SELECT merged_into, account FROM point_balances WHERE programme = :programme AND merged_into = ANY(:ids)
    ),
    decided AS (
        SELECT sha256(
            convert_to(:programme, 'UTF8') || CAST('\\x00' AS bytea) || convert_to(credit ->> 'key', 'UTF8')
        ) AS key
        FROM earnings CROSS JOIN jsonb_array_elements(earnings.credits) AS credit
        WHERE earnings.customer_id = ANY(:ids) AND earnings.programme = :programme
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
            AND credit.key NOT IN (SELECT key FROM decided)
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


async def _add_other_points(session: ReadSession, programme: str, found: GainsById, measured: Measured) -> None:
    losses: dict[tuple[UUID, datetime], list[Loss]] = {}
    for customer_id, earned_at, amount, lost_at in await session.execute(
        _OTHER_POINTS, {"programme": programme, "ids": list(found), "correction": CORRECTION}
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
    orders = {row.order_id: order_of(row) for row in (await session.execute(completed)).scalars()}
    returns = await returns_of_known(session, orders, orders)
    for order in orders.values():
        found[order.customer_id][measured].append(_gain(order, returns, measured))


def _gain(order: OrderFold, returns: Returns, measured: Measured) -> Gain:
    """An order's worth, or 1; a refund takes back what it gave back, or the 1 once everything is given back."""
    assert order.completed_at is not None  # noqa: S101  the query says so
    worth = _worth(order, measured)
    losses = returns.of_order(
        order, order.completed_at, worth, lambda standing, told: _lost(worth, given_back(standing, told), measured)
    )
    return Gain(order.completed_at, worth, losses)


def _lost(worth: int, back: GivenBack, measured: Measured) -> int:
    """Of the total the money that went back; of the goods' worth the share that did; an order only as a whole."""
    if back.returned == 1:
        return worth
    if measured.measure is Measure.ORDERS:
        return 0
    return min(worth, back.refunded) if measured.of == "total" else floor(worth * back.returned)


def _worth(order: OrderFold, measured: Measured) -> int:
    if measured.measure is Measure.ORDERS:
        return 1
    told = order.amounts.get(measured.of)
    return max(0, (order.amounts.get("total") if told is None else told) or 0)
