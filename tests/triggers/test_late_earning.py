"""Late events take their place: what was decided after them is decided again, and the difference is posted."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any

import pytest

from tests.triggers.earning import ORDER, PURCHASE, balance, bought, buy, decided, open_programme, refunded
from tests.triggers.shop import Shop
from tests.triggers.test_tiers import history

RISING = {
    "measure": {"points": "earned", "window": {"rolling": "12mo"}},
    "levels": [
        {"tier": "bronze", "from": 0},
        {"tier": "gold", "from": 100, "multiply": 2},
        {"tier": "platinum", "from": 300, "multiply": 3},
    ],
}
BY_SPEND = {
    "measure": {"spend": "total", "window": {"rolling": "12mo"}},
    "levels": [{"tier": "bronze", "from": 0}, {"tier": "gold", "from": 2_000, "multiply": 2}],
}
REVIEW = {"rule": "review", "on": {"event": "Product Reviewed"}, "amount": {"points": 10}}


async def test_a_late_event_takes_its_place_and_the_later_ones_pay_the_difference(shop: Shop) -> None:
    """The month has room for 100 points: 60 and 40 of 60. An order of 30 from before takes 30 of the second's 40."""
    await open_programme(shop, {**PURCHASE, "limit": {"per_customer": 100, "per": "1mo"}})
    first = shop.now
    shop.later(hours=2)
    for n, subtotal in enumerate((60, 60)):
        await buy(shop, f"o-{n}", subtotal, timestamp=first + timedelta(minutes=30 + n))
    assert [each.points for each in await decided(shop)] == [60, 40]

    await buy(shop, "late", 30, timestamp=first)

    found = await decided(shop)
    assert [(each.occasion, each.points, each.reason) for each in found] == [
        ("late", 30, None),
        ("o-0", 60, None),
        ("o-1", 10, "clipped"),
    ]
    assert (await balance(shop)).available == 100


async def test_what_comes_more_than_a_day_late_counts_as_of_now_and_is_marked(shop: Shop) -> None:
    await open_programme(shop, {**PURCHASE, "limit": {"per_customer": 100, "per": "1mo"}})
    await buy(shop, "o-0", 90)

    await buy(shop, "late", 30, timestamp=shop.now - timedelta(hours=24, seconds=1))

    late = (await decided(shop))[-1]
    assert (late.occasion, late.is_late, late.at, late.points) == ("late", True, shop.now, 10)


async def test_an_earlier_word_about_an_order_takes_the_place_of_a_later_one(shop: Shop) -> None:
    await open_programme(shop)
    await buy(shop, "o-1", 50, message_id="second")

    await buy(shop, "o-1", 20, message_id="first", timestamp=shop.now - timedelta(hours=1))

    found = [(each.message_id, each.points, each.reason) for each in await decided(shop)]
    assert found == [("first", 20, None), ("second", 0, "already_earned")]
    assert (await balance(shop)).available == 20


@pytest.mark.parametrize("seed", range(6))
async def test_balances_do_not_depend_on_the_order_in_which_events_come(shop: Shop, seed: int) -> None:
    """Orders with a clipped limit, one told twice, refunds and a cancellation, in any order, end the same."""
    await open_programme(
        shop,
        {**PURCHASE, "limit": {"per_customer": 150, "per": "1d"}},
        {"rule": "review", "on": {"event": "Product Reviewed"}, "amount": {"points": 5}, "limit": _TWICE},
    )
    shop.later(hours=20)
    start = shop.now - timedelta(hours=18)
    events = [
        *(bought(shop, f"o-{n}", 40 + n, timestamp=start + timedelta(hours=n)) for n in range(5)),
        bought(shop, "o-1", 999, timestamp=start + timedelta(hours=9)),
        refunded(shop, "o-0", 20, start + timedelta(hours=6)),
        refunded(shop, "o-0", 10, start + timedelta(hours=7)),
        bought(shop, "o-2", 42, name="Order Cancelled", timestamp=start + timedelta(hours=8)),
        *(shop.event("Product Reviewed", timestamp=start + timedelta(hours=n)) for n in range(4)),
    ]
    Random(seed).shuffle(events)

    for event in events:
        await shop.post(event)
        await shop.route()

    # 40 + 41 + 42 and 27 of 43 fill the 150; o-0 gives 30 of 40 back, o-2 all 42: 10 + 41 + 0 + 27, and 10 for reviews
    paid = [each for each in await decided(shop) if each.order_id and each.reason != "already_earned"]
    assert {each.occasion: each.points for each in paid} == {
        "o-0": 40,
        "o-1": 41,
        "o-2": 42,
        "o-3": 27,
        "o-4": 0,
    }
    assert (await balance(shop)).available == 88


_TWICE = {"per_customer": 2, "per": "1d", "over": "reject"}


async def test_a_late_order_that_lifts_a_tier_lifts_what_the_later_orders_earn(shop: Shop) -> None:
    """Before: 60 and 50 as bronze (110: gold), 2 * 40 and 2 * 10 as gold. The late 70 makes it gold after the first 60
    (130), so the 50 pay 100 (230), the 40 pay 80 (310: platinum), and the 10 pay 30."""
    await open_programme(shop, tiers=RISING)
    first = shop.now
    shop.later(hours=4)
    for n, subtotal in enumerate((60, 50, 40, 10)):
        await buy(shop, f"o-{n}", subtotal, timestamp=first + timedelta(minutes=30 * (n + 1)))
    assert [(each.tier, each.points) for each in await decided(shop)] == [
        *(("bronze", 60), ("bronze", 50)),
        *(("gold", 80), ("gold", 20)),
    ]

    await buy(shop, "late", 70, timestamp=first)

    assert [(each.tier, each.points) for each in await decided(shop)] == [
        *(("bronze", 70), ("bronze", 60), ("gold", 100)),
        *(("gold", 80), ("platinum", 30)),
    ]
    assert (await balance(shop)).available == 340
    assert await history(shop) == [("gold", "qualified"), ("platinum", "qualified")]


async def test_a_late_order_that_earns_nothing_lifts_what_is_earned_after_it_all_the_same(shop: Shop) -> None:
    await open_programme(shop, REVIEW, tiers=BY_SPEND)
    await shop.track("Product Reviewed")

    late = {"order_id": "o-1", "total": 20, "currency": "EUR"}
    await shop.track(ORDER, late, timestamp=shop.now - timedelta(hours=1))

    assert [(each.rule, each.tier, each.points) for each in await decided(shop)] == [("review", "gold", 20)]
    assert (await balance(shop)).available == 20


async def test_what_a_rule_counts_may_come_late_and_is_paid_for_all_the_same(shop: Shop) -> None:
    """The sign-up happened before the review, and came after it."""
    await open_programme(shop, {**REVIEW, "if": {"did": "Signed Up"}})
    await shop.track("Product Reviewed")
    assert (await balance(shop)).available == 0

    await shop.track("Signed Up", timestamp=shop.now - timedelta(hours=1))

    assert (await balance(shop)).available == 10


async def test_each_order_of_a_guest_counts_for_the_next_one(shop: Shop) -> None:
    """100 as bronze reach gold, so the second 50 are doubled."""
    await open_programme(shop, tiers=RISING)
    for n, subtotal in enumerate((100, 50)):
        order = {"order_id": f"o-{n}", "subtotal": subtotal, "currency": "EUR"}
        await shop.track(ORDER, order, anonymous_id="visitor-1", timestamp=shop.now - timedelta(hours=2 - n))

    await shop.identify({}, user_id="u-1", anonymous_id="visitor-1")

    assert [(each.tier, each.points) for each in await decided(shop)] == [("bronze", 100), ("gold", 100)]
    assert (await balance(shop)).available == 200


async def test_what_was_verified_stays_verified_when_a_late_event_comes_before_it(shop: Shop) -> None:
    shared = {"rule": "share", "on": {"event": "Product Shared"}, "amount": {"points": 10}, "verify": "click_back"}
    await open_programme(shop, PURCHASE, shared)
    await shop.identify({}, user_id="u-1")
    verified: dict[str, Any] = {"verified_by": "click_back"}
    await shop.track("Product Shared", verified, own=True)

    await buy(shop, "late", 30, timestamp=shop.now - timedelta(hours=1))

    assert (await balance(shop)).available == 40
