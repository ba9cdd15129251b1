"""Returns in contests: an order that comes back takes its entry out, and its room goes to the order it displaced."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from database.contests import ContestEntry, open_contest
from tests.challenging import order, put_live
from tests.triggers.shop import Shop

SUMMER: dict[str, Any] = {
    "contest": "summer",
    "closes": "2026-07-04",
    "entries": [{"rule": "order", "on": {"event": "Order Completed"}}],
}


async def open_summer(shop: Shop, **rule: Any) -> None:
    await put_live(shop, "contest", SUMMER | {"entries": [SUMMER["entries"][0] | rule]})
    async with shop.database.transaction() as session:
        await open_contest(session, "summer", shop.now)


async def entered(shop: Shop) -> list[str]:
    """The orders that have entered."""
    async with shop.database.read() as session:
        found = await session.execute(select(ContestEntry.source).order_by(ContestEntry.source))
    return [source.removeprefix("order/") for source in found.scalars()]


@pytest.mark.parametrize("who", [{"user_id": "u-1"}, {"user_id": "till"}, {"anonymous_id": "a-9"}])
@pytest.mark.parametrize("name", ["Order Refunded", "Order Cancelled"])
async def test_a_returned_order_gives_its_entry_to_the_order_that_it_had_displaced(
    shop: Shop, name: str, who: dict[str, Any]
) -> None:
    await open_summer(shop)
    for order_id in ("o-1", "o-2", "o-3"):
        await order(shop, order_id)
        shop.later(minutes=1)
    assert await entered(shop) == ["o-1"]

    await shop.track(name, {"order_id": "o-1"}, **who)
    assert await entered(shop) == ["o-2"]
    await shop.track(name, {"order_id": "o-3"}, **who)
    assert await entered(shop) == ["o-2"]
    await shop.track(name, {"order_id": "o-2"}, **who)
    assert await entered(shop) == []


async def test_the_room_of_a_day_goes_to_an_order_of_that_day(shop: Shop) -> None:
    await open_summer(shop, per="day")
    for order_id in ("o-1", "o-2"):
        await order(shop, order_id)
    shop.later(days=1)
    for order_id in ("o-3", "o-4"):
        await order(shop, order_id)

    await shop.track("Order Refunded", {"order_id": "o-3"})

    assert await entered(shop) == ["o-1", "o-4"]


async def test_what_was_ordered_before_the_contest_takes_no_room_in_it(shop: Shop) -> None:
    await order(shop, "old")
    shop.later(minutes=1)
    await open_summer(shop)
    await order(shop, "o-1")

    await shop.track("Order Refunded", {"order_id": "o-1"})

    assert await entered(shop) == []


async def test_an_order_and_the_return_that_makes_room_for_it_may_be_routed_at_once(shop: Shop) -> None:
    await open_summer(shop)
    await order(shop, "o-1")
    shop.later(minutes=1)
    told = {"order_id": "o-2", "total": 10, "currency": "EUR"}

    await shop.post(shop.event("Order Completed", properties=told))
    await shop.post(shop.event("Order Refunded", properties={"order_id": "o-1"}))
    await shop.route()

    assert await entered(shop) == ["o-2"]
