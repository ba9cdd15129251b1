"""Refunds that do not count as they were stated: for `perennial doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, func, not_, or_, select

from database.earnings import Earning
from database.orders import Order, Refund, orders_by_id, refunds_of
from database.session import ReadSession
from domain.refund_statements import Told
from domain.refunds import Doubt, doubts

_LOOKED_AT = 500


@dataclass(frozen=True, slots=True)
class DoubtfulRefund:
    """A refund, by its order and time, and why it does not count."""

    order_id: str
    at: datetime
    doubt: Doubt


async def doubtful_refunds(session: ReadSession, since: datetime) -> Sequence[DoubtfulRefund]:
    """Those since a moment, of the latest few hundred that may be; the latest first."""
    found = [*await _not_counted(session, since), *await _of_unknown_orders(session, since)]
    return sorted(found, key=lambda refund: refund.at, reverse=True)


async def _not_counted(session: ReadSession, since: datetime) -> list[DoubtfulRefund]:
    may_be = or_(
        Refund.told == Told.UNREADABLE,
        and_(Refund.told == Told.STATED, Refund.currency != Order.currency),
        and_(Refund.told == Told.ABSENT, func.jsonb_array_length(Refund.lines) > 0),
    )
    statement = select(Refund.event_id, Refund.order_id, Refund.at).join(Order, Order.order_id == Refund.order_id)
    latest = statement.where(may_be, Refund.at >= since).order_by(Refund.at.desc(), Refund.event_id).limit(_LOOKED_AT)
    rows = (await session.execute(latest)).all()
    ids = {row.order_id for row in rows}
    orders, refunds = await orders_by_id(session, ids), await refunds_of(session, ids)
    found = {event: doubt for id_, order in orders.items() for event, doubt in doubts(order, refunds[id_]).items()}
    return [DoubtfulRefund(row.order_id, row.at, found[row.event_id]) for row in rows if row.event_id in found]


async def _of_unknown_orders(session: ReadSession, since: datetime) -> list[DoubtfulRefund]:
    """Of orders that no event has told of, and that nobody earned by. Relies on pk_orders and ix_earnings_order."""
    is_known = or_(
        select(1).where(Order.order_id == Refund.order_id).exists(),
        select(1).where(Earning.order_id == Refund.order_id).exists(),
    )
    statement = select(Refund.order_id, Refund.at).where(not_(is_known), Refund.at >= since)
    rows = await session.execute(statement.order_by(Refund.at.desc(), Refund.event_id).limit(_LOOKED_AT))
    return [DoubtfulRefund(row.order_id, row.at, Doubt.UNKNOWN_ORDER) for row in rows]
