"""Events earn points through the router, refunds take them back, whatever comes late, twice, at once or first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from sqlalchemy import select

from database import earnings, points
from database.earnings import Earning
from database.session import Database
from domain.events import EventKind, NewEvent
from domain.points import Balance, Debit, DebitKind
from tests.programmes import publish_programme
from tests.triggers.shop import Shop
from triggers.live import JourneyCache
from triggers.routing import Routing

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


async def test_an_order_earns_and_the_decision_is_kept_with_its_inputs(shop: Shop) -> None:
    await open_programme(shop, {**PURCHASE, "multiply": [{"by": 1.5}], "pending": "14d"})

    await buy(shop, "o-1", 19.90)

    [decision] = await decided(shop)
    assert (decision.rule, decision.version, decision.occasion) == ("purchase", 1, "o-1")
    assert (decision.points, decision.wanted, decision.reason, decision.basis) == (29, 29, None, 1_990)  # 29.85
    assert decision.inputs["exact"] == "597/20"
    assert decision.inputs["factors"] == [{"place": "/earn/0/multiply/0", "by": "3/2"}]
    assert (await balance(shop)).pending == 29
    shop.later(days=14)
    assert (await balance(shop)).available == 29


async def test_without_a_programme_nothing_is_earned(shop: Shop) -> None:
    await buy(shop, "o-1", 19.90)

    assert await decided(shop) == []


async def test_an_order_that_is_told_twice_earns_once(shop: Shop) -> None:
    """A webhook delivered twice credits twice elsewhere: saleor/apps 339, wasp open-saas 688 (R21)."""
    await open_programme(shop)

    for _ in range(2):
        await buy(shop, "o-1", 20)
    await buy(shop, "o-1", 50, user_id="u-2")

    assert [each.points for each in await decided(shop)] == [20]
    assert (await balance(shop)).available == 20


async def test_two_routers_that_route_one_order_of_two_customers_pay_once(database: Database, shop: Shop) -> None:
    await open_programme(shop)
    await shop.post(*(bought(shop, f"o-{n}", 20, user_id=user) for n in range(8) for user in (f"a-{n}", f"b-{n}")))

    async def route() -> None:
        async with database.transaction() as session:
            await Routing(JourneyCache()).route(session, shop.now, 5)

    for _ in range(8):
        await asyncio.gather(route(), route(), return_exceptions=True)
    await shop.route()

    assert [each.points for each in await decided(shop)] == [20] * 8
    assert {each.occasion for each in await decided(shop)} == {f"o-{n}" for n in range(8)}


async def test_a_browser_earns_nothing_and_takes_no_natural_key(shop: Shop) -> None:
    await open_programme(shop)

    await buy(shop, "o-1", 999, trusted=False)
    await buy(shop, "o-1", 20)

    assert [each.points for each in await decided(shop)] == [20]


async def test_imported_history_earns_only_where_the_rule_says_so(shop: Shop) -> None:
    await open_programme(shop, PURCHASE, {**PURCHASE, "rule": "history", "imports": True})

    await buy(shop, "o-1", 20, source="import", timestamp=shop.now - timedelta(days=400))

    [decision] = await decided(shop)
    assert (decision.rule, decision.points, decision.is_late) == ("history", 20, True)


async def test_a_replay_never_decides_again(shop: Shop) -> None:
    await open_programme(shop)
    await buy(shop, "o-1", 20)
    [event] = await shop.events_of((await shop.customer()).id)
    async with shop.database.transaction() as session:
        row = await session.get(type(event), event.id)
        assert row is not None
        row.status = "pending"
    await open_programme(shop, {**PURCHASE, "multiply": [{"by": 9}]})

    await shop.route()

    assert [each.points for each in await decided(shop)] == [20]


async def test_another_currency_is_kept_as_a_decision_that_pays_nothing(shop: Shop) -> None:
    await open_programme(shop)

    await buy(shop, "o-1", 20, properties={"currency": "USD"})

    assert [(each.points, each.reason) for each in await decided(shop)] == [(0, "currency_mismatch")]


# The customer as before the event ------------------------------------------------------------------------


TIERS = {
    "measure": {"points": "earned", "window": {"rolling": "12mo"}},
    "levels": [{"tier": "bronze", "from": 0}, {"tier": "gold", "from": 100, "multiply": 2}],
}


async def test_the_tier_that_counts_is_that_before_the_event(shop: Shop) -> None:
    """The order that lifts to gold earns as bronze; the next one earns twice."""
    await open_programme(shop, tiers=TIERS)

    await buy(shop, "o-1", 100)
    shop.later(hours=1)
    await buy(shop, "o-2", 100)

    assert [(each.tier, each.points) for each in await decided(shop)] == [("bronze", 100), ("gold", 200)]


async def test_a_condition_on_the_tier_is_judged_before_the_event(shop: Shop) -> None:
    levels = [{"tier": "bronze", "from": 0}, {"tier": "gold", "from": 100}]
    triple = {"if": {"tier": {"at_least": "gold"}}, "by": 3}
    await open_programme(shop, {**PURCHASE, "multiply": [triple]}, tiers={**TIERS, "levels": levels})

    for n in range(2):
        await buy(shop, f"o-{n}", 100)
        shop.later(hours=1)

    assert [each.points for each in await decided(shop)] == [100, 300]


async def test_conditions_see_what_came_before_in_the_same_batch(shop: Shop) -> None:
    third = {"did": ORDER, "at_least": 3}
    await open_programme(shop, {**PURCHASE, "multiply": [{"if": third, "by": 10}]})

    await shop.post(*(bought(shop, f"o-{n}", 10) for n in range(4)))
    await shop.route()

    assert [each.points for each in await decided(shop)] == [10, 10, 100, 100]


async def test_the_version_that_counts_is_the_one_at_the_event(shop: Shop) -> None:
    await open_programme(shop)
    before = shop.now
    shop.later(hours=2)
    tripled = [{**PURCHASE, "multiply": [{"by": 3}]}]
    await publish_programme(shop.database, shop.now - timedelta(hours=1), earn=tripled, tiers=None)

    await buy(shop, "o-1", 10, timestamp=before)
    await buy(shop, "o-2", 10)

    assert [(each.version, each.points) for each in await decided(shop)] == [(1, 10), (2, 30)]


# Late and out of order -----------------------------------------------------------------------------------


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

    [decision] = await decided(shop)
    assert (decision.message_id, decision.points) == ("first", 20)
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
        _refund(shop, "o-0", 20, start + timedelta(hours=6)),
        _refund(shop, "o-0", 10, start + timedelta(hours=7)),
        bought(shop, "o-2", 42, name="Order Cancelled", timestamp=start + timedelta(hours=8)),
        *(shop.event("Product Reviewed", timestamp=start + timedelta(hours=n)) for n in range(4)),
    ]
    Random(seed).shuffle(events)

    for event in events:
        await shop.post(event)
        await shop.route()

    # 40 + 41 + 42 and 27 of 43 fill the 150; o-0 gives 30 of 40 back, o-2 all 42: 10 + 41 + 0 + 27, and 10 for reviews
    assert {each.occasion: each.points for each in await decided(shop) if each.order_id} == {
        "o-0": 40,
        "o-1": 41,
        "o-2": 42,
        "o-3": 27,
        "o-4": 0,
    }
    assert (await balance(shop)).available == 88


_TWICE = {"per_customer": 2, "per": "1d", "over": "reject"}


def _refund(shop: Shop, order_id: str, total: float, at: datetime | None = None, **given: Any) -> NewEvent:
    properties = {"order_id": order_id, "total": total, "currency": "EUR", **given.pop("properties", {})}
    return shop.event("Order Refunded", properties=properties, timestamp=at or shop.now, **given)


# Refunds -------------------------------------------------------------------------------------------------


async def test_a_partial_refund_takes_back_its_part(shop: Shop) -> None:
    await open_programme(shop)
    await buy(shop, "o-1", 100)

    await shop.post(_refund(shop, "o-1", 33.33))
    await shop.route()

    now = await balance(shop)
    assert (now.available, now.reversed) == (67, 33)


async def test_points_that_still_wait_are_taken_back_too(shop: Shop) -> None:
    """Open Loyalty 3 takes back active points only, so that locked ones mature later (R2)."""
    await open_programme(shop, {**PURCHASE, "pending": "14d"})
    await buy(shop, "o-1", 100)

    await shop.post(_refund(shop, "o-1", 100))
    await shop.route()
    shop.later(days=15)

    assert await balance(shop) == Balance(earned=100, reversed=100)


async def test_seven_partial_refunds_take_back_exactly_what_was_earned(shop: Shop) -> None:
    """Open Loyalty 3 takes 100.03 points back for seven returns of a seventh (R3)."""
    await open_programme(shop, {**PURCHASE, "amount": {"points": 100}})
    await buy(shop, "o-1", 7)

    found = []
    for _ in range(7):
        await shop.post(_refund(shop, "o-1", 1))
        await shop.route()
        found.append((await balance(shop)).reversed)

    assert found == [14, 28, 42, 57, 71, 85, 100]


async def test_more_refunds_than_the_order_take_back_no_more_than_it_earned(shop: Shop) -> None:
    """Two returns of 60 percent took back 120 percent in Open Loyalty 3 (R3)."""
    await open_programme(shop)
    await buy(shop, "o-1", 100)

    await shop.post(_refund(shop, "o-1", 60), _refund(shop, "o-1", 60))
    await shop.route()

    assert (await balance(shop)).reversed == 100


async def test_a_refund_that_comes_before_its_order_takes_back_when_the_order_comes(shop: Shop) -> None:
    await open_programme(shop)

    await shop.post(_refund(shop, "o-1", 25))
    await shop.route()
    await buy(shop, "o-1", 100)

    assert (await balance(shop)).available == 75


async def test_returned_products_take_back_their_frozen_shares(shop: Shop) -> None:
    """30 euros of goods sold for 24 after a discount: the cups' share of 24 is a third, 8 points."""
    await open_programme(shop)
    lines = [{"product_id": "tea", "price": 10, "quantity": 2}, {"product_id": "cup", "price": 5, "quantity": 2}]
    await buy(shop, "o-1", 24, properties={"products": lines})

    cups = {"products": [{"product_id": "cup", "quantity": 2}], "total": None}
    await shop.post(_refund(shop, "o-1", 0, properties=cups))
    await shop.route()

    assert (await balance(shop)).available == 16


async def test_a_cancelled_order_keeps_nothing_and_a_refund_after_it_changes_nothing(shop: Shop) -> None:
    await open_programme(shop)
    await buy(shop, "o-1", 100)
    shop.later(minutes=1)

    await buy(shop, "o-1", 100, name="Order Cancelled")
    await shop.post(_refund(shop, "o-1", 100))
    await shop.route()

    assert (await balance(shop)).available == 0


async def test_a_clawback_never_reopens_a_limit(shop: Shop) -> None:
    await open_programme(shop, {**PURCHASE, "limit": {"per_customer": 100, "per": "1mo"}})
    await buy(shop, "o-1", 100)
    await shop.post(_refund(shop, "o-1", 100))
    await shop.route()

    await buy(shop, "o-2", 100)

    assert (await balance(shop)).available == 0


async def test_a_refund_of_a_clipped_order_is_proportional_to_what_was_paid(shop: Shop) -> None:
    await open_programme(shop, {**PURCHASE, "limit": {"per_customer": 50}})
    await buy(shop, "o-1", 200)

    await shop.post(_refund(shop, "o-1", 100))
    await shop.route()

    assert (await balance(shop)).available == 25


async def test_the_rule_as_it_was_decides_about_a_refund(shop: Shop) -> None:
    await open_programme(shop)
    await buy(shop, "o-1", 100)
    kept = [{**PURCHASE, "amount": {"points": 7}, "clawback": "keep"}]
    await publish_programme(shop.database, shop.now, earn=kept, tiers=None)

    await shop.post(_refund(shop, "o-1", 50))
    await shop.route()

    assert (await balance(shop)).available == 50


async def test_where_customers_may_keep_them_refunds_take_nothing_back(shop: Shop) -> None:
    await open_programme(shop, {**PURCHASE, "clawback": "keep"})
    await buy(shop, "o-1", 100)

    await shop.post(_refund(shop, "o-1", 100))
    await shop.route()

    assert (await balance(shop)).available == 100


async def test_spent_points_are_owed_or_forgiven_as_the_programme_says(shop: Shop) -> None:
    """Open Loyalty 3 drops what it cannot find (R1); here it is a deficit, unless the programme says otherwise."""
    mild = {**PURCHASE, "rule": "mild", "clawback": "available"}
    await open_programme(shop, PURCHASE, mild)
    await buy(shop, "o-1", 100)
    customer = await shop.customer()
    async with shop.database.transaction() as session:
        spent = Debit(customer.id, "spent", 150, DebitKind.DEDUCT, "counter")
        await points.post(session, "main", [spent], shop.now)

    await shop.post(_refund(shop, "o-1", 100))
    await shop.route()

    # 50 are left of 200: the first rule takes its 100 and owes 50 of them, the second finds nothing and owes nothing
    now = await balance(shop)
    assert (now.available, now.reversed) == (-50, 100)


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

    await shop.post(_refund(shop, "o-1", 40))
    await shop.route()

    assert (await balance(shop)).available == 60


async def test_a_refund_told_by_a_browser_takes_nothing_back(shop: Shop) -> None:
    await open_programme(shop)
    await buy(shop, "o-1", 100)

    await shop.post(_refund(shop, "o-1", 100, trusted=False))
    await shop.route()

    assert (await balance(shop)).available == 100


# Guests and merges ---------------------------------------------------------------------------------------


async def test_a_guests_order_earns_once_we_know_who_it_was(shop: Shop) -> None:
    await open_programme(shop)
    await shop.track(ORDER, {"order_id": "o-1", "subtotal": 20, "currency": "EUR"}, anonymous_id="visitor")
    assert [(each.points, each.reason) for each in await decided(shop)] == [(0, "guest")]

    shop.later(days=3)
    await shop.identify({"name": "Ann"}, user_id="u-1", anonymous_id="visitor")

    [decision] = await decided(shop)
    assert (decision.points, decision.reason, decision.is_late) == (20, None, True)
    assert (await balance(shop)).available == 20


async def test_a_guests_order_that_was_refunded_meanwhile_earns_what_is_left(shop: Shop) -> None:
    await open_programme(shop)
    order = {"order_id": "o-1", "subtotal": 20, "currency": "EUR"}
    await shop.track(ORDER, order, anonymous_id="visitor")
    await shop.track("Order Refunded", {"order_id": "o-1", "total": 5, "currency": "EUR"}, anonymous_id="visitor")

    await shop.identify({}, user_id="u-1", anonymous_id="visitor")

    assert (await balance(shop)).available == 15


async def test_guests_may_be_left_out(shop: Shop) -> None:
    await open_programme(shop, guests="forfeit")
    await shop.track(ORDER, {"order_id": "o-1", "subtotal": 20, "currency": "EUR"}, anonymous_id="visitor")

    await shop.identify({}, user_id="u-1", anonymous_id="visitor")

    assert (await balance(shop)).available == 0


async def test_two_customers_who_are_one_share_the_limit_and_refunds_follow_them(shop: Shop) -> None:
    await open_programme(shop, {**PURCHASE, "limit": {"per_customer": 150}})
    await buy(shop, "o-1", 100, user_id="u-1")
    await buy(shop, "o-2", 100, user_id="u-2")

    await shop.post(shop.event(kind=EventKind.ALIAS, user_id="u-1", previous_id="u-2"))
    await shop.route()
    assert (await balance(shop)).available == 200
    await buy(shop, "o-3", 100, user_id="u-1")
    await shop.post(_refund(shop, "o-2", 50, user_id="u-2"))
    await shop.route()

    assert (await balance(shop)).available == 150


# Temporary multipliers -----------------------------------------------------------------------------------


async def test_a_temporary_multiplier_is_raised_once_and_ends(shop: Shop) -> None:
    await open_programme(shop)
    await shop.identify({}, user_id="u-1")
    customer = await shop.customer()
    for _ in range(2):
        async with shop.database.transaction() as session:
            end = shop.now + timedelta(days=1)
            await earnings.raise_multiplier(session, customer.id, key="step/run/1", by=2, start=shop.now, end=end)

    await buy(shop, "o-1", 10)
    shop.later(days=1)
    await buy(shop, "o-2", 10)

    assert [each.points for each in await decided(shop)] == [20, 10]
