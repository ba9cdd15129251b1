"""Orders, refunds, carts, the catalogue and views: what e-commerce events say becomes rows."""

from __future__ import annotations

from collections.abc import Sequence, Set
from datetime import datetime
from uuid import UUID

from prometheus_client import Counter

from database import orders, products
from database.session import WriteSession
from domain.carts import CART_EVENTS, Cart, fold_carts
from domain.commerce import (
    MAKES_ORDERS,
    ORDER_EVENTS,
    ORDER_REFUNDED,
    PRODUCT_VIEWED,
    CommerceEvent,
    OrderFold,
    fold_order,
    order_id_of,
    product_id_of,
    products_of,
)
from domain.refunds import doubts, given_back, refund_of
from domain.shop_settings import ShopSettings
from triggers.batch import Wave

UNCOUNTED = Counter("perennial_refunds_uncounted", "Refunds of known orders that do not count as stated", ["reason"])


async def project_commerce(wave: Wave) -> None:
    """Project the wave's e-commerce events."""
    told = [
        CommerceEvent(
            *(event.event.id, event.event.name, event.customer.id, event.event.stamp, event.event.properties),
            trusted=event.event.trusted,
        )
        for event in wave.events
        if is_commerce(event.event.name)
    ]
    if told:
        await products.describe(
            wave.session, [fact for event in told for fact in products_of(event, wave.shop.currency)]
        )
        await project_behaviour(wave.session, told, wave.shop)
        await _fold_orders(wave.session, [each for each in told if each.makes_orders], wave.shop.currency)


def is_commerce(name: str) -> bool:
    """Whether an event's name is one that these projections read."""
    return name.startswith("Product ") or name in MAKES_ORDERS or name in CART_EVENTS


async def project_behaviour(session: WriteSession, events: Sequence[CommerceEvent], shop: ShopSettings) -> None:
    """Fold events into views and carts: those of a wave, or a customer's whole history after a re-attribution."""
    await _count_views(session, [event for event in events if event.name == PRODUCT_VIEWED])
    await _fold_carts(session, [event for event in events if event.name in CART_EVENTS], shop)


async def _count_views(session: WriteSession, events: Sequence[CommerceEvent]) -> None:
    views: dict[tuple[UUID, str], tuple[int, datetime]] = {}
    for event in events:
        product = product_id_of(event.properties)
        if product is not None:
            count, last = views.get((event.customer_id, product), (0, event.stamp.timestamp))
            views[event.customer_id, product] = (count + 1, max(last, event.stamp.timestamp))
    await products.count_views(session, views)


async def _fold_carts(session: WriteSession, events: Sequence[CommerceEvent], shop: ShopSettings) -> None:
    if not events:
        return
    carts = await orders.carts_of(session, {event.customer_id for event in events})
    changed: dict[UUID, dict[str, Cart]] = {}
    for event in events:
        after = fold_carts(carts[event.customer_id], event, shop)
        carts[event.customer_id] |= after
        changed.setdefault(event.customer_id, {}).update(after)
    await orders.write_carts(session, changed)


async def _fold_orders(session: WriteSession, events: Sequence[CommerceEvent], currency: str) -> None:
    """Refunds are kept beside their orders, so each order is worked out again from all of its own."""
    refunds = [refund for event in events if event.name == ORDER_REFUNDED and (refund := refund_of(event, currency))]
    told = [(order_id, event) for event in events if event.name in ORDER_EVENTS and (order_id := order_id_of(event))]
    await orders.take_turns(session, {refund.order_id for refund in refunds} | {order_id for order_id, _ in told})
    await orders.add_refunds(session, refunds)
    refunded = await orders.known_orders(session, {refund.order_id for refund in refunds})
    makers = {refund.order_id: refund.customer_id for refund in refunds if refund.order_id in refunded}
    makers |= {order_id: event.customer_id for order_id, event in reversed(told)}
    if not makers:
        return
    folds = await orders.lock_orders(session, makers)
    for order_id, event in told:
        folds[order_id] = fold_order(folds[order_id], event, currency)
    await _write(session, [fold for fold in folds.values() if fold is not None], {each.event_id for each in refunds})


async def _write(session: WriteSession, folds: Sequence[OrderFold], new: Set[UUID]) -> None:
    refunds = await orders.refunds_of(session, [fold.order_id for fold in folds])
    for fold in folds if new else ():
        doubtful = doubts(fold, refunds[fold.order_id])
        for event_id in doubtful.keys() & new:
            UNCOUNTED.labels(doubtful[event_id]).inc()
    await orders.write_orders(session, [(fold, given_back(fold, refunds[fold.order_id])) for fold in folds])
