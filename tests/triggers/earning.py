"""What tests of earning share: a programme that pays a point for each euro, orders, refunds and what they earned."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from database import points
from database.earnings import Earning
from domain.events import NewEvent
from domain.points import Balance
from tests.programmes import publish_programme
from tests.triggers.shop import Shop

ORDER = "Order Completed"
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
PER_EURO = {"per": {"amount": 100, "currency": "EUR"}, "of": "properties.subtotal", "points": 1}
PURCHASE = {"rule": "purchase", "on": {"event": ORDER}, "amount": PER_EURO}


async def open_programme(shop: Shop, *rules: dict[str, Any], **members: Any) -> None:
    """A programme in Berlin's time, live since the beginning of the year."""
    await publish_programme(shop.database, BEGUN, **{"earn": list(rules or (PURCHASE,)), "tiers": None, **members})


def bought(shop: Shop, order_id: str, subtotal: float, **given: Any) -> NewEvent:
    properties = {"order_id": order_id, "subtotal": subtotal, "currency": "EUR", **given.pop("properties", {})}
    return shop.event(given.pop("name", ORDER), properties=properties, **given)


async def buy(shop: Shop, order_id: str, subtotal: float, **given: Any) -> None:
    await shop.post(bought(shop, order_id, subtotal, **given))
    await shop.route()


async def balance(shop: Shop, user_id: str = "u-1") -> Balance:
    customer = await shop.customer(user_id)
    async with shop.database.read() as session:
        return (await points.balances(session, "main", [customer.id], shop.now))[customer.id]


async def decided(shop: Shop) -> Sequence[Earning]:
    async with shop.database.read() as session:
        return (await session.execute(select(Earning).order_by(Earning.at, Earning.message_id))).scalars().all()


def refunded(shop: Shop, order_id: str, total: float, at: datetime | None = None, **given: Any) -> NewEvent:
    properties = {"order_id": order_id, "total": total, "currency": "EUR", **given.pop("properties", {})}
    return shop.event("Order Refunded", properties=properties, timestamp=at or shop.now, **given)
