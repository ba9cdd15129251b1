"""Points that wait for an event of their customer become available when it comes, or came."""

from __future__ import annotations

from datetime import timedelta

from domain.points import Balance
from tests.triggers.earning import PURCHASE, balance, bought, buy, open_programme, refunded
from tests.triggers.shop import Shop

ON_DELIVERY = {**PURCHASE, "pending": {"event": "Order Delivered", "within": "60d"}, "expires": {"after": "10d"}}


async def test_points_that_wait_for_a_delivery_mature_with_it(shop: Shop) -> None:
    waits = {"pending": {"event": "Order Delivered", "within": "60d"}, "expires": {"after": "10d"}}
    await open_programme(shop, {**PURCHASE, **waits})
    await buy(shop, "o-1", 100)
    await buy(shop, "o-2", 30)
    shop.later(days=3)

    await shop.track("Order Delivered", {"order_id": "o-1"}, trusted=False)
    assert (await balance(shop)).pending == 130
    for _ in range(2):
        await shop.track("Order Delivered", {"order_id": "o-1"})

    now = await balance(shop)
    assert (now.available, now.pending) == (100, 30)
    shop.later(days=10)
    assert await balance(shop) == Balance(pending=30, earned=130, expired=100)
    shop.later(days=47)
    assert (await balance(shop)).available == 30


async def test_what_waits_no_longer_can_still_be_taken_back(shop: Shop) -> None:
    await open_programme(shop, {**PURCHASE, "pending": {"event": "Order Delivered"}})
    await buy(shop, "o-1", 100)
    await shop.track("Order Delivered", {"order_id": "o-1"})

    await shop.post(refunded(shop, "o-1", 40))
    await shop.route()

    assert (await balance(shop)).available == 60


async def test_points_do_not_wait_for_a_delivery_that_was_told_before_the_order(shop: Shop) -> None:
    await open_programme(shop, ON_DELIVERY)
    await shop.track("Order Delivered", {"order_id": "o-1"})
    await shop.track("Order Delivered", {"order_id": "o-2"}, trusted=False)
    await shop.track("Order Delivered", {"order_id": "o-3"}, user_id="u-2")

    for n in (1, 2, 3):
        await buy(shop, f"o-{n}", 100 * n, timestamp=shop.now - timedelta(hours=1))

    assert await balance(shop) == Balance(available=100, pending=500, earned=600)
    shop.later(days=10)
    assert await balance(shop) == Balance(pending=500, earned=600, expired=100)


async def test_an_order_and_its_delivery_in_one_batch_mature_in_either_order(shop: Shop) -> None:
    await open_programme(shop, ON_DELIVERY)
    for n, delivered_first in enumerate((True, False)):
        delivered = shop.event("Order Delivered", properties={"order_id": f"o-{n}"})
        order = bought(shop, f"o-{n}", 100)
        await shop.post(*((delivered, order) if delivered_first else (order, delivered)))
    await shop.route()

    assert await balance(shop) == Balance(available=200, earned=200)
