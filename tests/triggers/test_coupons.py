"""What the shop's events do to coupons: placed orders use what was held, cancelled and refunded ones give it back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from database import coupon_uses, customers
from database.coupon_uses import Asked
from database.coupons import CouponUse, Terms, add_coupon
from database.redeeming import redeem
from database.session import Database
from domain.coupons import Cart, CartLine
from tests.rewarding import TENNER, award, publish_programme, publish_reward, redemptions_of
from tests.triggers.shop import Shop

CART = Cart("EUR", (CartLine(4_000, 1, {"product_id": "tea"}),))


@pytest.fixture(autouse=True)
async def tenner(database: Database, shop: Shop) -> None:
    await publish_programme(database)
    await publish_reward(database, TENNER)
    await shop.identify({})


async def hold(shop: Shop, code: str, order: str = "o-1", **changes: Any) -> None:
    asked = Asked((code,), (await shop.customer()).id, CART, order)
    async with shop.database.transaction() as session:
        await coupon_uses.hold(session, asked, shop.now, until=shop.now + timedelta(minutes=30))


async def make_coupon(shop: Shop, code: str = "TENNER-1") -> str:
    async with shop.database.transaction() as session:
        await add_coupon(session, code, "tenner", 1, Terms(uses=1))
    return code


async def uses(shop: Shop, order: str = "o-1") -> list[CouponUse]:
    async with shop.database.read() as session:
        return await coupon_uses.uses_of(session, order)


async def complete(shop: Shop, name: str = "Order Completed", **told: Any) -> None:
    properties = {"order_id": "o-1", "currency": "EUR", "total": 30.0, **told.pop("properties", {})}
    await shop.track(name, properties, **told)


async def test_an_order_that_is_placed_uses_what_was_held_for_it(shop: Shop) -> None:
    await hold(shop, await make_coupon(shop))

    await complete(shop)

    [use] = await uses(shop)
    assert (use.state, use.held_until, use.shares) == ("used", None, [1_000])


@pytest.mark.parametrize(
    ("name", "properties"),
    [("Order Cancelled", {}), ("Order Refunded", {"total": 30.0}), ("Order Refunded", {"total": None})],
)
async def test_an_order_that_comes_to_nothing_gives_its_coupon_back(
    shop: Shop, name: str, properties: dict[str, Any]
) -> None:
    """woocommerce 27673, EDD 3859, Sylius 10124: a cancelled order kept the coupon's use."""
    code = await make_coupon(shop)
    await hold(shop, code)
    await complete(shop)
    shop.later(days=1)

    await complete(shop, name, properties=properties)

    assert [use.state for use in await uses(shop)] == ["released"]
    await hold(shop, code, "o-2")  # its one use is free again


async def test_a_partial_refund_keeps_the_coupon_used(shop: Shop) -> None:
    await hold(shop, await make_coupon(shop))
    await complete(shop)

    await complete(shop, "Order Refunded", properties={"total": 5.0})

    assert [use.state for use in await uses(shop)] == ["used"]


async def test_two_refunds_that_together_are_all_of_it_give_the_coupon_back(shop: Shop) -> None:
    await hold(shop, await make_coupon(shop))
    await complete(shop)

    for _ in range(2):
        await complete(shop, "Order Refunded", properties={"total": 15.0})

    assert [use.state for use in await uses(shop)] == ["released"]


async def test_a_cancellation_that_comes_before_its_order_leaves_nothing_used(shop: Shop) -> None:
    await hold(shop, await make_coupon(shop))

    await complete(shop, "Order Cancelled", timestamp=shop.now + timedelta(minutes=5))
    await complete(shop)

    assert [use.state for use in await uses(shop)] == ["released"]


async def test_a_browsers_word_moves_no_coupon(shop: Shop) -> None:
    await hold(shop, await make_coupon(shop))

    await complete(shop, trusted=False)
    await complete(shop, "Order Cancelled", trusted=False)

    assert [use.state for use in await uses(shop)] == ["held"]


async def test_a_hold_that_is_over_is_not_used_by_its_order(shop: Shop) -> None:
    await hold(shop, await make_coupon(shop))
    shop.later(minutes=30)

    await complete(shop)

    assert [use.state for use in await uses(shop)] == ["held"]


async def test_a_redeemed_coupon_comes_back_with_its_order(shop: Shop) -> None:
    ann = await shop.customer()
    await award(shop.database, ann.id, 100, at=shop.now)
    async with shop.database.transaction() as session:
        await customers.lock(session, [ann.id], skip_locked=False)
        row = await redeem(session, ann.id, "tenner", shop.now)
    assert row.code is not None
    await hold(shop, row.code)
    await complete(shop)
    assert [each.state for each in await redemptions_of(shop.database)] == ["fulfilled"]

    await complete(shop, "Order Cancelled")

    assert [each.state for each in await redemptions_of(shop.database)] == ["issued"]
