"""Tiers follow from what customers do, in the transaction of their events."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from activities.tiers import close_tier_periods
from database import points
from database.customers import lock
from database.events import Event
from database.session import Database
from database.tier_weighing import weigh
from database.tiers import TierMembership, ladder_of, memberships_of, tiers_before, tiers_of
from domain.events import EventKind
from domain.points import Clawback, Credit, CreditKind, Debit, DebitKind
from tests.programmes import publish_programme, tiers
from tests.triggers.shop import Shop
from triggers.live import LiveCache
from triggers.routing import Routing

ORDER = "Order Completed"
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


def order(number: int, total: float) -> dict[str, Any]:
    return {"order_id": f"o-{number}", "total": total, "currency": "EUR"}


async def history(shop: Shop, user_id: str = "u-1") -> list[tuple[str | None, str]]:
    """The stored tiers of a customer with their reasons, the oldest first."""
    customer = await shop.customer(user_id)
    async with shop.database.read() as session:
        rows = await memberships_of(session, "main", [customer.id])
    assert [row.until_at for row in rows] == [*(row.from_at for row in rows[1:]), None][: len(rows)]
    return [(row.tier, row.reason) for row in rows]


async def tier(shop: Shop, user_id: str = "u-1", at: datetime | None = None) -> str | None:
    customer = await shop.customer(user_id)
    async with shop.database.read() as session:
        return (await tiers_of(session, [customer.id], at or shop.now))[customer.id]


async def told(shop: Shop, user_id: str = "u-1") -> list[tuple[str, dict[str, Any]]]:
    """What was announced about a customer's tiers."""
    customer = await shop.customer(user_id)
    found = [event for event in await shop.events_of(customer.id) if event.name.startswith("Tier ")]
    return [(event.name, {key: event.properties.get(key) for key in ("tier", "from", "to")}) for event in found]


async def weigh_now(shop: Shop, user_id: str = "u-1") -> None:
    """What the nightly job does for one customer."""
    customer = await shop.customer(user_id)
    async with shop.database.transaction() as session:
        await lock(session, [customer.id], skip_locked=False)
        ladder = await ladder_of(session)
        assert ladder is not None
        await weigh(session, ladder, [customer.id], shop.now)


async def test_an_order_lifts_its_customer_at_once_and_journeys_hear_of_it(shop: Shop) -> None:
    await publish_programme(shop.database, BEGUN)
    await shop.track(ORDER, order(1, 6.00))
    assert await tier(shop) == "silver"
    assert await history(shop) == [("silver", "qualified")]
    assert await told(shop) == [("Tier Reached", {"tier": "silver", "from": "bronze", "to": None})]


async def test_without_a_programme_nobody_has_a_tier(shop: Shop) -> None:
    await shop.track(ORDER, order(1, 6.00))
    assert await tier(shop) is None


async def test_two_levels_at_once_are_told_as_one(shop: Shop) -> None:
    await publish_programme(shop.database, BEGUN)
    await shop.track(ORDER, order(1, 25.00))
    assert await told(shop) == [("Tier Reached", {"tier": "gold", "from": "bronze", "to": None})]


async def test_a_refund_takes_the_tier_back_at_once(shop: Shop) -> None:
    await publish_programme(shop.database, BEGUN)
    await shop.track(ORDER, order(1, 6.00))
    shop.later(days=3)
    await shop.track("Order Refunded", {"order_id": "o-1", "total": 2.00, "currency": "EUR"})
    assert await history(shop) == [("silver", "qualified"), ("bronze", "taken_back")]
    assert (await told(shop))[1:] == [("Tier Left", {"tier": "silver", "from": None, "to": "bronze"})]


async def test_a_refund_that_leaves_enough_changes_nothing(shop: Shop) -> None:
    await publish_programme(shop.database, BEGUN)
    await shop.track(ORDER, order(1, 6.00))
    await shop.track(ORDER, order(2, 5.00))
    shop.later(days=3)
    await shop.track("Order Refunded", {"order_id": "o-1", "total": 6.00, "currency": "EUR"})
    assert await history(shop) == [("silver", "qualified")]


async def test_a_cancelled_order_counts_no_more(shop: Shop) -> None:
    measure = {"orders": "completed", "window": {"lifetime": True}}
    levels = [{"tier": "guest", "from": 0}, {"tier": "regular", "from": 2}]
    await publish_programme(shop.database, BEGUN, tiers=tiers(measure, levels=levels))
    await shop.track(ORDER, order(1, 6.00))
    await shop.track(ORDER, order(2, 6.00))
    assert await tier(shop) == "regular"
    shop.later(days=1)
    await shop.track("Order Cancelled", order(2, 6.00))
    assert await history(shop) == [("regular", "qualified"), ("guest", "taken_back")]


async def test_orders_in_another_currency_do_not_count_as_spend(shop: Shop) -> None:
    await publish_programme(shop.database, BEGUN)
    await shop.track(ORDER, order(1, 900.00) | {"currency": "JPY"})
    assert await tier(shop) == "bronze"


async def test_a_browser_lifts_nobody(shop: Shop) -> None:
    await publish_programme(shop.database, BEGUN)
    await shop.track(ORDER, order(1, 6.00), trusted=False)
    assert await tier(shop) == "bronze"


async def test_imported_orders_count_but_nothing_is_told(shop: Shop) -> None:
    await publish_programme(shop.database, BEGUN)
    await shop.track(ORDER, order(1, 6.00), is_history=True, timestamp=shop.now - timedelta(days=30))
    assert await tier(shop) == "silver"
    assert await told(shop) == []


async def test_a_late_event_corrects_the_past(shop: Shop) -> None:
    """Buttondown 2912 lets an out-of-order event resolve to a lower tier."""
    await publish_programme(shop.database, BEGUN)
    await shop.track(ORDER, order(1, 3.00), timestamp=shop.now - timedelta(days=1))
    await shop.track(ORDER, order(2, 3.00))
    assert await tier(shop, at=shop.now - timedelta(hours=1)) == "bronze"
    await shop.track(ORDER, order(3, 3.00), timestamp=shop.now - timedelta(hours=12))
    assert await tier(shop, at=shop.now - timedelta(hours=1)) == "silver"
    assert await history(shop) == [("silver", "qualified")]
    assert len(await told(shop)) == 1


async def test_a_period_that_has_ended_counts_as_ended_though_nobody_has_looked(shop: Shop) -> None:
    await publish_programme(shop.database, BEGUN)
    await shop.track(ORDER, order(1, 25.00))
    reached = shop.now
    shop.now = reached.replace(year=2027) + timedelta(days=29)
    assert await tier(shop) == "gold"  # the grace lasts
    shop.later(days=1)
    assert await tier(shop) == "silver"
    assert await history(shop) == [("gold", "qualified")]  # only read


async def test_any_event_after_a_period_has_ended_settles_it(shop: Shop) -> None:
    await publish_programme(shop.database, BEGUN)
    await shop.track(ORDER, order(1, 25.00))
    shop.later(days=396)
    await shop.track("Product Viewed")
    assert await history(shop) == [("gold", "qualified"), ("silver", "period_ended")]
    assert (await told(shop))[1:] == [("Tier Left", {"tier": "gold", "from": None, "to": "silver"})]


async def test_the_tier_before_an_event_is_the_one_without_it(shop: Shop) -> None:
    await publish_programme(shop.database, BEGUN)
    await shop.track(ORDER, order(1, 6.00))
    customer = await shop.customer()
    async with shop.database.read() as session:
        before = (customer.id, shop.now)
        assert await tiers_before(session, await ladder_of(session), [before]) == {before: "bronze"}
        assert await tiers_of(session, [customer.id], shop.now) == {customer.id: "silver"}


async def test_one_person_has_the_tier_of_what_both_customers_bought(shop: Shop) -> None:
    await publish_programme(shop.database, BEGUN)
    await shop.track(ORDER, order(1, 3.00), user_id="old")
    await shop.track(ORDER, order(2, 25.00), user_id="new")
    await shop.track(ORDER, order(3, 1.00), user_id="new")
    shop.later(days=1)
    await shop.post(shop.event(kind=EventKind.ALIAS, user_id="new", previous_id="old"))
    await shop.route()
    assert await tier(shop, "new") == "gold"
    assert await history(shop, "new") == [("gold", "qualified")]
    async with shop.database.read() as session:
        assert len((await session.execute(select(TierMembership))).scalars().all()) == 1


async def test_merging_lifts_where_only_the_sum_is_enough(shop: Shop) -> None:
    await publish_programme(shop.database, BEGUN)
    await shop.track(ORDER, order(1, 3.00), user_id="old")
    await shop.track(ORDER, order(2, 3.00), user_id="new")
    shop.later(days=1)
    await shop.post(shop.event(kind=EventKind.ALIAS, user_id="new", previous_id="old"))
    await shop.route()
    assert await tier(shop, "new") == "silver"
    assert [name for name, _ in await told(shop, "new")] == ["Tier Reached"]


# By points ----------------------------------------------------------------------------------------------

BY_POINTS = {"points": "earned", "window": {"rolling": "12mo"}}


async def _earn(shop: Shop, key: str, count: int, kind: CreditKind = CreditKind.EARN) -> UUID:
    customer = await shop.customer()
    async with shop.database.transaction() as session:
        await lock(session, [customer.id], skip_locked=False)
        credit = Credit(customer.id, key, count, kind, shop.now, "purchase")
        await points.post(session, "main", [credit], shop.now)
    return customer.id


async def test_points_that_rules_paid_count_and_gifts_do_not(shop: Shop) -> None:
    await publish_programme(shop.database, BEGUN, tiers=tiers(BY_POINTS))
    await shop.track("Page Viewed")
    await _earn(shop, "api/1", 5_000, CreditKind.AWARD)
    await _earn(shop, "earn/purchase/o-1", 500)
    await weigh_now(shop)
    assert await tier(shop) == "silver"


async def test_spending_points_never_lowers_a_tier(shop: Shop) -> None:
    """Open Loyalty 131 and Voucherify's support text 587: a tier by balance is lost the moment points are redeemed."""
    await publish_programme(shop.database, BEGUN, tiers=tiers(BY_POINTS))
    await shop.track("Page Viewed")
    account = await _earn(shop, "earn/purchase/o-1", 500)
    await weigh_now(shop)
    async with shop.database.transaction() as session:
        await lock(session, [account], skip_locked=False)
        debits = [Debit(account, "api/2", 499, kind, "api") for kind in (DebitKind.REDEEM,)]
        await points.post(session, "main", debits, shop.now)
    shop.later(days=1)
    await weigh_now(shop)
    assert await history(shop) == [("silver", "qualified")]


async def test_a_manual_deduction_does_not_lower_what_was_earned(shop: Shop) -> None:
    """Yotpo lowers the total earned, and with it the tier; we say which: it does not."""
    await publish_programme(shop.database, BEGUN, tiers=tiers(BY_POINTS))
    await shop.track("Page Viewed")
    account = await _earn(shop, "earn/purchase/o-1", 500)
    async with shop.database.transaction() as session:
        await lock(session, [account], skip_locked=False)
        await points.post(session, "main", [Debit(account, "api/2", 400, DebitKind.ADJUST, "api")], shop.now)
    await weigh_now(shop)
    assert await tier(shop) == "silver"


async def test_points_clawed_back_count_at_the_date_they_were_earned(shop: Shop) -> None:
    await publish_programme(shop.database, BEGUN, tiers=tiers(BY_POINTS))
    await shop.track("Page Viewed")
    account = await _earn(shop, "earn/purchase/o-1", 500)
    await weigh_now(shop)
    shop.later(days=5)
    async with shop.database.transaction() as session:
        await lock(session, [account], skip_locked=False)
        back = Clawback(account, "back/1", of="earn/purchase/o-1", target=1)
        await points.post(session, "main", [back], shop.now)
    await weigh_now(shop)
    assert await history(shop) == [("silver", "qualified"), ("bronze", "taken_back")]


# Whatever the order -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
async def test_the_same_events_in_any_order_end_in_the_same_tiers(
    shop: Shop, other_database: Database, seed: int
) -> None:
    """Invariant 12, over the router: arrival in order, one by one, against a shuffle in one batch."""
    random, other = Random(seed), Shop(other_database)
    events = [
        shop.event(ORDER, properties=order(n, random.randrange(1, 1_500) / 100), timestamp=_day(random.randrange(600)))
        for n in range(8)
    ]
    events += [
        shop.event(
            "Order Refunded",
            properties={"order_id": f"o-{n}", "total": random.randrange(1, 900) / 100, "currency": "EUR"},
            timestamp=_day(600 + n),
        )
        for n in range(3)
    ]
    shuffled = random.sample(events, len(events))
    for each, posted in ((shop, events), (other, shuffled)):
        await publish_programme(each.database, _day(0))
        each.now = _day(620)
        if each is shop:
            for event in sorted(posted, key=lambda event: event.timestamp):
                await each.post(event)
                await each.route()
        else:
            await each.post(*posted)
            await each.route()
    assert await history(shop) == await history(other)


def _day(number: int) -> datetime:
    return BEGUN + timedelta(days=number)


async def test_two_routers_at_once_make_one_history(shop: Shop) -> None:
    await publish_programme(shop.database, BEGUN)
    await shop.post(*(shop.event(ORDER, properties=order(n, 1.00)) for n in range(30)))
    routers = [Shop(shop.database, routing=Routing(LiveCache())) for _ in range(3)]
    await asyncio.gather(*(router.route(limit=5) for router in routers))
    await shop.route()
    assert await history(shop) == [("gold", "qualified")] or await history(shop) == [
        ("silver", "qualified"),
        ("gold", "qualified"),
    ]
    async with shop.database.read() as session:
        told_of = (await session.execute(select(Event.properties).where(Event.name == "Tier Reached"))).scalars().all()
    assert [each["tier"] for each in told_of].count("gold") == 1


# In the hourly pass -------------------------------------------------------------------------------------


async def test_the_hourly_pass_ends_periods_of_customers_who_do_nothing(shop: Shop) -> None:
    await publish_programme(shop.database, BEGUN)
    await shop.track(ORDER, order(1, 25.00))
    shop.later(days=396)
    assert await close_tier_periods(shop.database, shop.now, lambda: None) == 1
    assert await history(shop) == [("gold", "qualified"), ("silver", "period_ended")]
    assert await close_tier_periods(shop.database, shop.now, lambda: None) == 0
    await shop.route()
    assert [name for name, _ in await told(shop)] == ["Tier Reached", "Tier Left"]


async def test_customers_from_before_the_programme_are_weighed_when_it_begins(shop: Shop) -> None:
    await shop.track(ORDER, order(1, 6.00))
    shop.later(days=1)
    await publish_programme(shop.database, shop.now)
    shop.later(minutes=1)
    await close_tier_periods(shop.database, shop.now, lambda: None)
    assert await history(shop) == [("silver", "qualified")]


async def test_lower_thresholds_lift_people_in_the_next_pass(shop: Shop) -> None:
    await publish_programme(shop.database, BEGUN)
    await shop.track(ORDER, order(1, 4.00))
    shop.later(days=1)
    levels = [{"tier": "bronze", "from": 0}, {"tier": "silver", "from": 300}]
    await publish_programme(shop.database, shop.now, tiers=tiers(levels=levels))
    await close_tier_periods(shop.database, shop.now, lambda: None)
    assert await history(shop) == [("silver", "rules_changed")]


# Journeys -----------------------------------------------------------------------------------------------


async def test_a_journey_starts_for_whoever_reaches_its_tier(shop: Shop) -> None:
    await publish_programme(shop.database, BEGUN)
    await shop.publish(_journey({"tier": "gold", "reached": True}))
    await shop.track(ORDER, order(1, 6.00))
    assert await shop.runs() == []
    await shop.track(ORDER, order(2, 20.00))
    [run] = await shop.runs()
    assert (run.entry["properties"]["tier"], run.entry["properties"]["from"]) == ("gold", "silver")


async def test_a_journey_starts_for_whoever_loses_any_tier(shop: Shop) -> None:
    await publish_programme(shop.database, BEGUN)
    await shop.publish(_journey({"tier": "any", "left": True}))
    await shop.track(ORDER, order(1, 6.00))
    shop.later(days=1)
    await shop.track("Order Refunded", {"order_id": "o-1"})
    assert len(await shop.runs()) == 1


async def test_nobody_reaches_a_tier_by_saying_so(shop: Shop) -> None:
    await publish_programme(shop.database, BEGUN)
    await shop.publish(_journey({"tier": "gold", "reached": True}))
    await shop.track("Tier Reached", {"tier": "gold"}, trusted=False)
    assert await shop.runs() == []


def _journey(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "journey": "welcome-to-tier",
        "purpose": "transactional",
        "enter": {"on": entry},
        "steps": [{"wait": {"id": "pause", "for": "1d"}}],
    }
