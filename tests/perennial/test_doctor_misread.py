"""The doctor names what shops state of orders, carts and refunds and does not count."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from prometheus_client import REGISTRY

from database.session import Database
from perennial.doctor import examine
from tests.triggers.shop import Shop

REFUNDS: dict[str, dict[str, Any]] = {
    "o-1": {"total": "10,00"},
    "o-2": {"total": 10, "currency": "USD"},
    "o-3": {"products": [{"product_id": "kettle"}]},
    "o-4": {"total": 10},
    "o-5": {"products": [{"product_id": "tea"}]},
}
DOUBTS = {"o-1": "refund_unreadable", "o-2": "refund_currency", "o-3": "refund_unmatched"}


async def named(shop: Shop) -> list[str]:
    verdicts = await examine(shop.database, shop.now, email_per_second=2, provider="smtp")
    [verdict] = [each for each in verdicts if each.guarantee == "refunds"]
    assert verdict.is_kept
    return list(verdict.offenders)


async def test_refunds_that_do_not_count_as_stated_are_named_and_counted(database: Database) -> None:
    shop = Shop(database)
    before = {doubt: uncounted(doubt) for doubt in DOUBTS.values()}
    for order_id in REFUNDS:
        order = {"order_id": order_id, "total": 50, "currency": "EUR", "products": [{"product_id": "tea", "price": 50}]}
        await shop.track("Order Completed", order)
    assert await named(shop) == []
    for order_id, refund in REFUNDS.items():
        shop.later(minutes=1)
        await shop.track("Order Refunded", {"order_id": order_id, **refund})

    found = await named(shop)
    assert [each.split(",")[0] for each in found] == ["order o-3", "order o-2", "order o-1"]
    assert [each.rpartition(" ")[2] for each in found] == [DOUBTS[order_id] for order_id in ("o-3", "o-2", "o-1")]
    assert {doubt: uncounted(doubt) - before[doubt] for doubt in before} == dict.fromkeys(DOUBTS.values(), 1)
    await shop.track("Order Refunded", {"order_id": "o-9", "total": 10})
    assert (await named(shop))[0].endswith(": refund_order_unknown")
    await shop.track("Order Completed", {"order_id": "o-9", "total": 50})
    assert not any("o-9" in each for each in await named(shop))
    shop.now += timedelta(days=31)
    assert await named(shop) == []


async def misread(shop: Shop) -> list[str]:
    verdicts = await examine(shop.database, shop.now, email_per_second=2, provider="smtp")
    [verdict] = [each for each in verdicts if each.guarantee == "events"]
    assert verdict.is_kept
    return list(verdict.offenders)


async def test_what_nobody_can_read_of_orders_and_carts_is_named_by_source_with_what_to_write(
    database: Database,
) -> None:
    shop = Shop(database)
    await shop.track("Order Completed", {"order_id": "o-1", "total": 50, "currency": "EUR"})
    await shop.track("Newsletter Read", {"total": "10,00"})
    assert await misread(shop) == []
    for total in ("10,00", "12,00"):
        await shop.track("Order Completed", {"order_id": "o-2", "total": total})
    await shop.track("Product Added", {"product_id": "tea", "currency": "$"}, source="web")

    shown = [each.split(", last ") for each in await misread(shop)]
    assert [kind for kind, _ in shown] == ["shop: amount_unreadable, 2 times", "web: currency_unreadable, 1 times"]
    assert [words.partition(": ")[2] for _, words in shown] == [
        "total: write an amount such as 49.90, with a point and no currency",
        "currency: write an ISO 4217 code such as EUR",
    ]
    shop.now += timedelta(days=31)
    assert await misread(shop) == []


def uncounted(doubt: str) -> float:
    return REGISTRY.get_sample_value("perennial_refunds_uncounted_total", {"reason": doubt}) or 0
