"""Reading what came back of orders, and when each refund or cancellation counts (domain/returns.py)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from database.base import among
from database.events import Event
from database.orders import orders_by_id, refunds_of
from database.refunds import namesakes
from database.session import ReadSession
from domain.commerce import OrderFold
from domain.lateness import returned_at
from domain.returns import Returns


async def returns_of(session: ReadSession, order_ids: Collection[str], programme: str | None = None) -> Returns:
    """What came back of these orders. `programme`: whose points they earned, if anything is asked about those."""
    if not order_ids:
        return Returns()
    return await returns_of_known(session, await orders_by_id(session, order_ids), order_ids, programme)


async def returns_of_known(
    session: ReadSession, orders: Mapping[str, OrderFold], order_ids: Collection[str], programme: str | None = None
) -> Returns:
    """The same where the caller has read the orders."""
    refunds = await refunds_of(session, order_ids)
    at, by = await _cancelled(session, orders.values())
    returned = {order_id for order_id in order_ids if refunds[order_id] or order_id in at}
    strangers = await namesakes(session, programme, returned) if programme is not None and returned else set()
    return Returns(orders, refunds, at, by, strangers)


async def _cancelled(session: ReadSession, orders: Iterable[OrderFold]) -> tuple[dict[str, datetime], dict[str, UUID]]:
    """When the last word that an order is cancelled counts, and whose it was. Old rows name no event of it.

    Relies on pk_events.
    """
    cancelled = {order.order_id: order for order in orders if order.cancelled}
    words = {id_: order.writers["cancelled"] for id_, order in cancelled.items() if "cancelled" in order.writers}
    told_by = {UUID(event_id): id_ for id_, (_, sent, event_id) in words.items() if sent}
    at = {id_: order.completed_at for id_, order in cancelled.items() if order.completed_at is not None}
    at |= {id_: datetime.fromisoformat(word[0]) for id_, word in words.items()}
    by: dict[str, UUID] = {}
    columns = (Event.id, Event.timestamp, Event.received_at, Event.is_history, Event.customer_id)
    rows = await session.execute(select(*columns).where(among(Event.id, told_by))) if told_by else ()
    for event_id, timestamp, received_at, is_history, customer_id in rows:
        at[told_by[event_id]] = returned_at(timestamp, received_at, is_history=is_history)
        if customer_id is not None:
            by[told_by[event_id]] = customer_id
    return at, by
