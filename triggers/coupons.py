"""What orders do to coupons: one that is placed uses what was held for it, one that comes to nothing gives it back.

Of one that is refunded in part, gift cards get their share.
"""

from __future__ import annotations

from database import orders
from database.coupon_uses import follow_orders
from domain.commerce import MAKES_ORDERS, ORDER_COMPLETED, text_id
from triggers.batch import Wave


async def follow_coupons(wave: Wave) -> None:
    """Read what the orders came to, in whatever order their events came in; a browser's word moves no coupon."""
    told = [event.event for event in wave.events if event.event.name in MAKES_ORDERS and event.event.trusted]
    named = [(event.name, text_id(event.properties.get("order_id"))) for event in told]
    changed = {id_ for _, id_ in named if id_ is not None}
    ended = await orders.orders_given_back(wave.session, changed)
    placed = {id_ for name, id_ in named if id_ is not None and name == ORDER_COMPLETED} - ended
    await follow_orders(wave.session, changed, placed=placed, ended=ended, as_of=wave.as_of)
