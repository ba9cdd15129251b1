"""An `Order Updated` gives an order another amount, and what the order earned follows for a while (G31)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from sqlalchemy import select

from database.orders import Order
from database.shop_settings import save_shop_settings
from domain.events import NewEvent
from domain.shop_settings import ShopSettings
from tests.triggers.earning import PER_EURO, balance, bought, buy, decided, open_programme, refunded
from tests.triggers.shop import NOON, Shop
from tests.triggers.test_decided_again import AT_500, BY_SPEND, DOUBLED, minutes, paid, take_in

THREE = list(permutations(range(3)))
AGAIN = [(0, 1, 2, 3), (3, 2, 1, 0), (0, 3, 1, 2), (1, 3, 0, 2), (2, 1, 3, 0), (0, 2, 3, 1)]


def edited(shop: Shop, order_id: str, subtotal: float, **given: Any) -> NewEvent:
    """An update that says no currency, as most do."""
    properties = {"order_id": order_id, "subtotal": subtotal, "total": subtotal}
    return shop.event("Order Updated", properties=properties, **given)


async def page_of(shop: Shop, order_id: str) -> Order:
    async with shop.database.read() as session:
        return (await session.execute(select(Order).where(Order.order_id == order_id))).scalar_one()


async def reasons(shop: Shop) -> list[str]:
    return [each.reason for each in await decided(shop) if each.reason]


@pytest.mark.parametrize("order", THREE, ids=lambda each: "".join(map(str, each)))
async def test_an_order_that_is_updated_to_half_earns_half_and_a_refund_is_measured_by_that(
    shop: Shop, order: Sequence[int]
) -> None:
    await open_programme(shop)
    shop.later(hours=1)
    events = [
        bought(shop, "a", 100, timestamp=NOON, properties={"total": 100}),
        edited(shop, "a", 50, timestamp=NOON + minutes(1)),
        refunded(shop, "a", 25, NOON + minutes(2)),
    ]
    await take_in(shop, [events[place] for place in order])
    assert await paid(shop) == {("purchase", "a"): 50}
    now = await balance(shop)
    assert (now.available, now.earned) == (25, 50)
    page = await page_of(shop, "a")
    assert (page.total, page.refunded, page.returned) == (5_000, 2_500, "1/2")


@pytest.mark.parametrize("tiers", [AT_500, BY_SPEND], ids=["by points", "by spend"])
@pytest.mark.parametrize("order", THREE[::2], ids=lambda each: "".join(map(str, each)))
async def test_what_followed_is_decided_again_where_an_order_is_updated_within_a_day(
    shop: Shop, order: Sequence[int], tiers: dict[str, Any]
) -> None:
    """600 lift what follows to gold; the shop corrects them to 400 after the next order."""
    await open_programme(shop, DOUBLED, tiers=tiers)
    shop.later(hours=1)
    events = [
        bought(shop, "a", 600, timestamp=NOON),
        bought(shop, "b", 100, timestamp=NOON + minutes(1)),
        edited(shop, "a", 400, timestamp=NOON + minutes(2)),
    ]
    await take_in(shop, [events[place] for place in order])
    assert await paid(shop) == {("purchase", "a"): 400, ("purchase", "b"): 100}
    assert (await balance(shop)).available == 500


async def test_after_a_day_an_update_changes_its_own_order_alone_by_the_tier_and_the_limit_as_they_were(
    shop: Shop,
) -> None:
    await open_programme(shop, {**DOUBLED, "limit": {"per_customer": 1_000, "per": "1mo"}}, tiers=AT_500)
    await buy(shop, "a", 600)
    shop.later(minutes=1)
    await buy(shop, "b", 100)  # gold: 200
    shop.later(minutes=1)
    await buy(shop, "c", 100)
    shop.later(days=3)
    await take_in(shop, [edited(shop, "a", 100), edited(shop, "b", 50), edited(shop, "c", 300)])
    # b keeps its factor of gold although 100 would not reach it; c has the room that 600 and 200 had left.
    assert await paid(shop) == {("purchase", "a"): 100, ("purchase", "b"): 100, ("purchase", "c"): 200}
    assert (await balance(shop)).available == 400
    shop.later(minutes=1)
    await buy(shop, "d", 100)  # nothing of the limit is open again
    assert (await paid(shop)).get(("purchase", "d")) is None


async def test_a_late_update_counts_for_tiers_from_its_own_time(shop: Shop) -> None:
    await open_programme(shop, DOUBLED, tiers=AT_500)
    await buy(shop, "a", 600)
    shop.later(days=3)
    update, before = edited(shop, "a", 100), bought(shop, "b", 100, timestamp=shop.now - minutes(1))
    after = bought(shop, "c", 100, timestamp=shop.now + minutes(1))
    shop.later(hours=1)
    await take_in(shop, [update, before, after])
    assert await paid(shop) == {("purchase", "a"): 100, ("purchase", "b"): 200, ("purchase", "c"): 100}


async def test_an_update_to_nothing_leaves_nothing_and_opens_the_order_for_nobody(shop: Shop) -> None:
    await open_programme(shop)
    await buy(shop, "a", 100)
    shop.later(days=2)
    await take_in(shop, [edited(shop, "a", 0), bought(shop, "a", 100, user_id="u-2")])
    assert (await balance(shop)).available == 0
    assert sorted(await reasons(shop)) == ["already_earned", "edited"]


@pytest.mark.parametrize(("edits", "day"), [("30d", 31), ("5d", 6)])
async def test_an_update_after_the_window_is_among_the_earnings_and_changes_nothing(
    shop: Shop, edits: str, day: int
) -> None:
    await open_programme(shop, edits=edits)
    await buy(shop, "a", 100)
    shop.later(days=day)
    await take_in(shop, [edited(shop, "a", 50)])
    rows = [(each.reason, each.points, each.order_id) for each in await decided(shop)]
    assert rows == [(None, 100, "a"), ("edit_window_over", 0, "a")]
    assert (await balance(shop)).available == 100
    await take_in(shop, [bought(shop, "b", 10, timestamp=NOON + timedelta(days=day, hours=-1))])
    assert await reasons(shop) == ["edit_window_over"]


async def test_an_update_by_the_till_counts_and_one_of_a_stranger_with_the_same_number_does_not(shop: Shop) -> None:
    await open_programme(shop)
    await take_in(shop, [bought(shop, "a", 100), bought(shop, "b", 100), bought(shop, "b", 30, user_id="u-2")])
    shop.later(minutes=1)
    await take_in(shop, [edited(shop, "a", 50, user_id="till"), edited(shop, "b", 50, user_id="u-2")])
    await shop.route()  # what the owner hears of it
    assert await paid(shop) == {("purchase", "a"): 50, ("purchase", "b"): 100}


async def test_an_update_without_a_currency_earns_in_that_of_its_order(shop: Shop) -> None:
    async with shop.database.transaction() as session:
        await save_shop_settings(session, ShopSettings(currency="USD"), NOON)
    await open_programme(shop, {"rule": "update", "on": {"event": "Order Updated"}, "amount": PER_EURO})
    await buy(shop, "a", 100)
    shop.later(minutes=1)
    await take_in(shop, [edited(shop, "a", 70)])
    assert await paid(shop) == {("update", "a"): 70}


@pytest.mark.parametrize("order", AGAIN, ids=lambda each: "".join(map(str, each)))
async def test_an_order_that_stands_again_after_its_cancellation_counts_as_if_it_always_had(
    shop: Shop, order: Sequence[int]
) -> None:
    await open_programme(shop, DOUBLED, tiers=AT_500)
    shop.later(hours=1)
    events = [
        bought(shop, "a", 600, timestamp=NOON),
        bought(shop, "a", 600, name="Order Cancelled", timestamp=NOON + minutes(1)),
        bought(shop, "b", 100, timestamp=NOON + minutes(2)),
        bought(shop, "a", 600, timestamp=NOON + minutes(3)),
    ]
    await take_in(shop, [events[place] for place in order])
    assert await paid(shop) == {("purchase", "a"): 600, ("purchase", "b"): 200}
    assert (await balance(shop)).available == 800
    assert (await page_of(shop, "a")).state == "completed"
