"""Events earn points through the router, whatever comes twice, at once, from a browser or from a guest."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from database import point_boosts
from database.session import Database
from domain.events import EventKind
from tests.programmes import publish_programme
from tests.triggers.earning import ORDER, PURCHASE, balance, bought, buy, decided, open_programme, refunded
from tests.triggers.shop import Shop
from triggers.batch import Wave
from triggers.live import LiveCache
from triggers.routing import Routing


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

    assert [(each.points, each.reason) for each in await decided(shop)] == [
        (20, None),
        (0, "already_earned"),
        (0, "already_earned"),
    ]
    assert (await balance(shop)).available == 20


async def test_two_routers_that_route_one_order_of_two_customers_pay_once(database: Database, shop: Shop) -> None:
    await open_programme(shop)
    await shop.post(*(bought(shop, f"o-{n}", 20, user_id=user) for n in range(8) for user in (f"a-{n}", f"b-{n}")))

    async def route() -> None:
        async with database.transaction() as session:
            await Routing(LiveCache()).route(session, shop.now, 5)

    for _ in range(8):
        await asyncio.gather(route(), route(), return_exceptions=True)
    await shop.route()

    assert [each.points for each in await decided(shop) if each.reason is None] == [20] * 8
    assert {each.occasion for each in await decided(shop)} == {f"o-{n}" for n in range(8)}


async def test_of_two_routers_that_meet_over_one_receipt_the_second_leaves_why_it_paid_nothing(shop: Shop) -> None:
    rule = {"rule": "receipt", "on": {"event": "Receipt Scanned"}, "amount": {"points": 10}}
    await open_programme(shop, {**rule, "once_per": "properties.receipt_id"})
    receipts = [shop.event("Receipt Scanned", user_id=user, properties={"receipt_id": "r-1"}) for user in ("a", "b")]
    blocked = text("SELECT count(*) FROM pg_locks WHERE NOT granted")

    async def route() -> None:
        async with shop.database.transaction() as session:
            await Routing(LiveCache()).route(session, shop.now, 5)

    async with shop.database.transaction() as first:
        await shop.post(receipts[0])
        await shop.routing.route(first, shop.now, 5)
        await shop.post(receipts[1])
        second = asyncio.create_task(route())
        async with asyncio.timeout(30):
            while not second.done() and not await first.scalar(blocked):
                await asyncio.sleep(0.01)
    await second

    paid = sorted((each.points, each.wanted, each.reason) for each in await decided(shop))
    assert paid == [(0, 10, "already_earned"), (10, 10, None)]
    assert (await balance(shop, "b")).available == 0


async def test_a_browser_earns_nothing_and_takes_no_natural_key(shop: Shop) -> None:
    await open_programme(shop)

    await buy(shop, "o-1", 999, trusted=False)
    await buy(shop, "o-1", 20)

    assert [each.points for each in await decided(shop)] == [20]


async def test_imported_history_earns_only_where_the_rule_says_so(shop: Shop) -> None:
    await open_programme(shop, PURCHASE, {**PURCHASE, "rule": "history", "imports": True})

    await buy(shop, "o-1", 20, is_history=True, timestamp=shop.now - timedelta(days=400))

    [decision] = await decided(shop)
    assert (decision.rule, decision.points, decision.is_late) == ("history", 20, True)


@pytest.mark.parametrize(("rule", "waves"), [({}, [3]), ({"if": {"points": "available", "lt": 30}}, [1, 1, 1])])
async def test_orders_of_one_customer_wait_for_each_other_only_where_a_rule_asks_for_points(
    shop: Shop, rule: Mapping[str, Any], waves: list[int]
) -> None:
    await open_programme(shop, {**PURCHASE, **rule})
    await shop.post(*(bought(shop, f"o-{n}", 20) for n in range(3)))
    seen: list[int] = []

    async def count(wave: Wave) -> None:
        seen.append(len(wave.events))

    async with shop.database.transaction() as session:
        await Routing(LiveCache(), [count]).route(session, shop.now, 10)

    assert seen == waves


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


async def test_dollars_that_may_be_anybodys_are_never_taken_for_the_shops_euros(shop: Shop) -> None:
    await open_programme(shop)

    await buy(shop, "o-1", 20, properties={"currency": "$"})
    shop.later(minutes=1)
    await buy(shop, "o-2", 20, properties={"currency": "Euro"})

    assert [(each.points, each.reason) for each in await decided(shop)] == [(0, "currency_mismatch"), (20, None)]


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


# Guests and merges ---------------------------------------------------------------------------------------


async def test_a_guests_order_earns_once_we_know_who_it_was(shop: Shop) -> None:
    await open_programme(shop)
    await shop.track(ORDER, {"order_id": "o-1", "subtotal": 20, "currency": "EUR"}, anonymous_id="visitor-1")
    assert [(each.points, each.reason) for each in await decided(shop)] == [(0, "guest")]

    shop.later(days=3)
    await shop.identify({"name": "Ann"}, user_id="u-1", anonymous_id="visitor-1")

    [decision] = await decided(shop)
    assert (decision.points, decision.reason, decision.is_late) == (20, None, True)
    assert (await balance(shop)).available == 20


async def test_a_guests_order_that_was_refunded_meanwhile_earns_what_is_left(shop: Shop) -> None:
    await open_programme(shop)
    order = {"order_id": "o-1", "subtotal": 20, "currency": "EUR"}
    await shop.track(ORDER, order, anonymous_id="visitor-1")
    await shop.track("Order Refunded", {"order_id": "o-1", "total": 5, "currency": "EUR"}, anonymous_id="visitor-1")

    await shop.identify({}, user_id="u-1", anonymous_id="visitor-1")

    assert (await balance(shop)).available == 15


async def test_guests_may_be_left_out(shop: Shop) -> None:
    await open_programme(shop, guests="forfeit")
    await shop.track(ORDER, {"order_id": "o-1", "subtotal": 20, "currency": "EUR"}, anonymous_id="visitor-1")

    await shop.identify({}, user_id="u-1", anonymous_id="visitor-1")

    assert (await balance(shop)).available == 0


async def test_two_customers_who_are_one_share_the_limit_and_refunds_follow_them(shop: Shop) -> None:
    """What they were paid before stays theirs."""
    await open_programme(shop, {**PURCHASE, "limit": {"per_customer": 150}})
    await buy(shop, "o-1", 100, user_id="u-1")
    await buy(shop, "o-2", 100, user_id="u-2")
    shop.later(hours=25)

    await shop.post(shop.event(kind=EventKind.ALIAS, user_id="u-1", previous_id="u-2"))
    await shop.route()
    assert (await balance(shop)).available == 200
    await buy(shop, "o-3", 100, user_id="u-1")
    await shop.post(refunded(shop, "o-2", 50, user_id="u-2"))
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
            await point_boosts.raise_multiplier(session, customer.id, key="step/run/1", by=2, start=shop.now, end=end)

    await buy(shop, "o-1", 10)
    shop.later(days=1)
    await buy(shop, "o-2", 10)

    assert [each.points for each in await decided(shop)] == [20, 10]
