"""The doctor names orders that figures may be wrong by."""

from __future__ import annotations

from datetime import timedelta

from database.session import Database
from database.shop_settings import save_shop_settings
from domain.shop_settings import ShopSettings
from perennial.doctor import examine
from tests.triggers.earning import buy, open_programme
from tests.triggers.shop import Shop


async def named(shop: Shop) -> list[str]:
    verdicts = await examine(shop.database, shop.now, email_per_second=2, provider="smtp")
    [verdict] = [each for each in verdicts if each.guarantee == "orders"]
    assert verdict.is_kept
    return list(verdict.offenders)


async def test_orders_without_an_id_are_counted_by_their_event(database: Database) -> None:
    shop = Shop(database)
    await shop.track("Order Completed", {"order_id": 1001.0, "total": 10})
    assert await named(shop) == []

    await shop.track("Order Completed", {"total": 10})
    await shop.track("Order Refunded", {"order_id": None, "total": 10})
    await shop.track("Order Refunded", {"order_id": "", "total": 10})
    await shop.track("Order Refunded", {"order_id": " NaN", "total": 10})
    await shop.track("Order Completed", {"total": 10}, trusted=False)

    told = [each.split(", ")[0] for each in await named(shop)]
    assert told == ["1 events 'Order Completed' without an order_id", "3 events 'Order Refunded' without an order_id"]
    shop.now += timedelta(days=31)
    assert await named(shop) == []


async def test_an_order_above_what_the_shop_says_is_named(database: Database) -> None:
    shop = Shop(database)
    for order_id, total in (("o-1", 5_000), ("o-2", 5_000.01)):
        await shop.track("Order Completed", {"order_id": order_id, "total": total, "currency": "EUR"})
    assert await named(shop) == []

    async with database.transaction() as session:
        await save_shop_settings(session, ShopSettings(largest_order=500_000), shop.now)

    assert await named(shop) == ["order o-2: 500001 minor units of EUR, above 500000"]


async def test_an_order_id_that_two_customers_use_is_named(database: Database) -> None:
    shop = Shop(database)
    await open_programme(shop)
    for user in ("u-1", "u-1"):
        await buy(shop, "o-1", 100, user_id=user)
    assert await named(shop) == []

    await buy(shop, "o-1", 50, user_id="u-2")

    assert await named(shop) == ["order o-1: reported for two customers; only the first earned points"]
