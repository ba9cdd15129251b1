"""G5, G34: points of people who turn out to be one, or another, are what they had been from the start, for a day."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from sqlalchemy import select

from database import points
from database.customers import Customer
from database.orders import Order
from database.session import Database
from database.shop_settings import save_shop_settings
from database.tiers import TierMembership, tiers_of
from domain.events import EventKind, NewEvent
from domain.points import Balance
from domain.shop_settings import ShopSettings
from tests.triggers.earning import ORDER, PURCHASE, balance, bought, buy, decided, open_programme, refunded
from tests.triggers.shop import NOON, Shop
from tests.triggers.test_late_earning import BY_SPEND, RISING
from tests.triggers.test_statement_counts import counted

FIRST = {"did": ORDER, "at_most": 1}


def alias(shop: Shop, user_id: str = "u-1", previous_id: str = "u-2", **given: Any) -> NewEvent:
    return shop.event(kind=EventKind.ALIAS, user_id=user_id, previous_id=previous_id, **given)


def link(shop: Shop, user_id: str, browser: str, **given: Any) -> NewEvent:
    return shop.event(kind=EventKind.IDENTIFY, user_id=user_id, anonymous_id=browser, **given)


async def take_in(shop: Shop, events: Sequence[NewEvent], at_once: int = 1) -> None:
    for start in range(0, len(events), at_once):
        await shop.post(*events[start : start + at_once])
        assert (await shop.route()).failed == 0


async def paid(shop: Shop) -> dict[str, int]:
    return {each.occasion: each.points for each in await decided(shop) if each.points}


# One rule, in whatever order ------------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=lambda each: "".join(map(str, each)))
async def test_two_orders_and_a_merge_pay_the_same_in_every_order(shop: Shop, order: Sequence[int]) -> None:
    """The limit has room for 150: the earlier order is paid whole, whoever is known to be whom by then."""
    await open_programme(shop, {**PURCHASE, "limit": {"per_customer": 150}})
    shop.later(hours=3)
    events = [
        bought(shop, "o-1", 100, user_id="u-1", timestamp=NOON),
        bought(shop, "o-2", 100, user_id="u-2", timestamp=NOON + timedelta(hours=1)),
        alias(shop, timestamp=NOON + timedelta(hours=2)),
    ]
    await take_in(shop, [events[place] for place in order])
    assert await paid(shop) == {"o-1": 100, "o-2": 50}
    now = await balance(shop)
    assert (now.available, now.earned, now.reversed) == (150, 150, 0)


async def test_what_is_older_than_a_day_stays_paid_when_two_customers_become_one(shop: Shop) -> None:
    await open_programme(shop, {**PURCHASE, "limit": {"per_customer": 150}})
    await buy(shop, "o-1", 100)
    await buy(shop, "o-2", 100, user_id="u-2")
    shop.later(hours=24, seconds=1)
    await buy(shop, "o-3", 40, user_id="u-2")
    await take_in(shop, [alias(shop)])
    assert await paid(shop) == {"o-1": 100, "o-2": 100}  # the limit is full for what came within the day


async def test_a_merge_that_comes_late_reopens_what_may_have_come_after_it(shop: Shop) -> None:
    """It happened ten hours ago. An order of a day before that could have been a day late, and come after it."""
    await open_programme(shop, {**PURCHASE, "limit": {"per_customer": 150}})
    await buy(shop, "o-1", 100)
    await buy(shop, "o-2", 100, user_id="u-2")
    shop.later(hours=30)
    await take_in(shop, [alias(shop, timestamp=shop.now - timedelta(hours=10))])
    assert await paid(shop) == {"o-1": 100, "o-2": 50}


async def test_a_merge_that_is_more_than_a_day_late_counts_as_of_now(shop: Shop) -> None:
    await open_programme(shop, {**PURCHASE, "limit": {"per_customer": 150}})
    await buy(shop, "o-1", 100)
    await buy(shop, "o-2", 100, user_id="u-2")
    shop.later(hours=30)
    await take_in(shop, [alias(shop, timestamp=NOON)])
    assert await paid(shop) == {"o-1": 100, "o-2": 100}


async def test_a_bonus_for_the_first_order_is_paid_once_to_two_who_are_one(shop: Shop) -> None:
    first = {"rule": "first", "on": {"event": ORDER}, "amount": {"points": 50}, "if": FIRST}
    await open_programme(shop, first)
    for hour, user in enumerate(("u-1", "u-2")):
        await buy(shop, f"o-{hour}", 1, user_id=user, timestamp=NOON + timedelta(hours=hour))
    assert await paid(shop) == {"o-0": 50, "o-1": 50}
    await take_in(shop, [alias(shop, timestamp=NOON + timedelta(hours=2))])
    assert await paid(shop) == {"o-0": 50}


async def test_a_late_event_does_not_take_the_bonus_of_the_first_order_because_others_followed(shop: Shop) -> None:
    first = {"rule": "first", "on": {"event": ORDER}, "amount": {"points": 50}, "if": FIRST}
    await open_programme(shop, first, {"rule": "review", "on": {"event": "Reviewed"}, "amount": {"points": 1}})
    for hour in (1, 2):
        await buy(shop, f"o-{hour}", 1, timestamp=NOON + timedelta(hours=hour))
    await shop.track("Reviewed", timestamp=NOON)
    assert (await balance(shop)).available == 51


async def test_an_occasion_that_only_one_of_two_had_goes_to_the_earlier_once_they_are_one(shop: Shop) -> None:
    welcome = {"rule": "welcome", "on": {"event": "Signed Up"}, "amount": {"points": 10}, "once_per": "customer"}
    await open_programme(shop, welcome)
    for hour, user in ((2, "u-1"), (1, "u-2")):
        await shop.track("Signed Up", user_id=user, timestamp=NOON + timedelta(hours=hour))
    await take_in(shop, [alias(shop, timestamp=NOON + timedelta(hours=3))])
    [kept] = [each for each in await decided(shop) if each.points]
    assert (kept.at, (await balance(shop)).available) == (NOON + timedelta(hours=1), 10)


async def test_an_order_that_both_told_of_pays_by_the_earlier_word_once_they_are_one(shop: Shop) -> None:
    await open_programme(shop)
    await buy(shop, "o-1", 50, user_id="u-1", timestamp=NOON + timedelta(hours=1))
    await buy(shop, "o-1", 20, user_id="u-2", timestamp=NOON)
    await take_in(shop, [alias(shop, timestamp=NOON + timedelta(hours=2))])
    assert await paid(shop) == {"o-1": 20}
    assert (await balance(shop)).available == 20


async def test_a_tier_reached_together_lifts_what_was_earned_after_it(shop: Shop) -> None:
    await open_programme(shop, tiers=RISING)
    for hour, user in enumerate(("u-1", "u-2", "u-1")):
        await buy(shop, f"o-{hour}", 60, user_id=user, timestamp=NOON + timedelta(hours=hour))
    await take_in(shop, [alias(shop, timestamp=NOON + timedelta(hours=3))])
    assert await paid(shop) == {"o-0": 60, "o-1": 60, "o-2": 120}


async def test_a_tier_by_spend_reached_together_lifts_what_was_earned_after_it(shop: Shop) -> None:
    await open_programme(shop, tiers=BY_SPEND)
    for hour, user in enumerate(("u-1", "u-2", "u-1")):
        order = {"properties": {"total": 12}, "user_id": user}
        await buy(shop, f"o-{hour}", 12, **order, timestamp=NOON + timedelta(hours=hour))
    await take_in(shop, [alias(shop, timestamp=NOON + timedelta(hours=3))])
    assert await paid(shop) == {"o-0": 12, "o-1": 12, "o-2": 24}


async def test_a_rule_that_asks_for_points_earned_is_decided_again_by_what_was_earned_then(shop: Shop) -> None:
    doubled = {**PURCHASE, "multiply": [{"if": {"points": "earned", "gte": 100}, "by": 2}]}
    await open_programme(shop, doubled)
    for hour, user in enumerate(("u-1", "u-2", "u-1")):
        await buy(shop, f"o-{hour}", 60, user_id=user, timestamp=NOON + timedelta(hours=hour))
    await take_in(shop, [alias(shop, timestamp=NOON + timedelta(hours=3))])
    assert await paid(shop) == {"o-0": 60, "o-1": 60, "o-2": 120}


async def test_who_loses_an_anonymous_history_gets_the_room_that_it_took_of_a_limit(shop: Shop) -> None:
    await open_programme(shop, {**PURCHASE, "limit": {"per_customer": 100}})
    await buy(shop, "guest", 80, anonymous_id="a", timestamp=NOON)
    shop.later(hours=3)
    await take_in(shop, [link(shop, "u-1", "a", timestamp=NOON + timedelta(hours=2))])
    await buy(shop, "own", 50, user_id="u-1")
    assert await paid(shop) == {"guest": 80, "own": 20}
    await take_in(shop, [link(shop, "ann", "a", timestamp=NOON + timedelta(hours=1))])
    assert await paid(shop) == {"guest": 80, "own": 50}
    assert [(await balance(shop, user)).available for user in ("u-1", "ann")] == [50, 80]


async def test_points_for_a_history_that_moves_after_more_than_a_day_stay_where_they_are(shop: Shop) -> None:
    await open_programme(shop)
    await buy(shop, "guest", 80, anonymous_id="a", timestamp=NOON)
    await take_in(shop, [link(shop, "u-1", "a", timestamp=NOON + timedelta(hours=2))])
    shop.later(hours=30)
    await take_in(shop, [link(shop, "ann", "a", timestamp=NOON + timedelta(hours=1))])
    assert [(await balance(shop, user)).available for user in ("u-1", "ann")] == [80, 0]


async def test_waves_without_merges_ask_nothing_of_decisions_made_again(shop: Shop) -> None:
    await open_programme(shop)
    await buy(shop, "o-1", 5)
    with counted(shop) as statements:
        await buy(shop, "o-2", 5)
    assert not [each for each in statements if "opened (customer_id, since)" in each]


async def test_a_trait_that_has_changed_since_takes_nothing_away_when_a_late_event_or_a_merge_comes(shop: Shop) -> None:
    vip = {"trait": "vip", "eq": True}
    rule = {**PURCHASE, "if": vip, "multiply": [{"if": {"trait": "plan", "eq": "gold"}, "by": 2}]}
    await open_programme(shop, rule, multiply=[{"if": {"trait": "plan", "eq": "gold"}, "by": 3}])
    await shop.identify({"vip": True, "plan": "gold"}, timestamp=NOON)
    shop.later(hours=3)
    await buy(shop, "o-1", 10, timestamp=NOON + timedelta(hours=2))
    await shop.identify({"vip": False, "plan": "none"})
    await buy(shop, "late", 10, timestamp=NOON + timedelta(hours=1))
    await take_in(shop, [shop.event("Seen", user_id="u-2"), alias(shop)])
    assert await paid(shop) == {"o-1": 60}


# A day of everything --------------------------------------------------------------------------------------

USERS = ("ann", "bob", "cy", "dee")
BROWSERS = ("home", "work")
RULES: tuple[dict[str, Any], ...] = (
    {
        **PURCHASE,
        "limit": {"per_customer": 400, "per": "1mo", "over": "clip"},
        "multiply": [{"if": {"points": "earned", "gte": 150}, "by": 1.5}, {"if": {"tier": "gold"}, "by": 1.1}],
    },
    {"rule": "first", "on": {"event": ORDER}, "amount": {"points": 50}, "if": FIRST},
    {"rule": "keen", "on": {"event": "Reviewed"}, "amount": {"points": 3}, "if": {"did": "Seen", "at_least": 2}},
    {"rule": "welcome", "on": {"event": "Signed Up"}, "amount": {"points": 7}, "once_per": "customer"},
    {
        "rule": "review",
        "on": {"event": "Reviewed"},
        "amount": {"points": 5},
        "limit": {"per_customer": 3, "per": "1d", "over": "reject"},
    },
)


def day(chance: random.Random, shop: Shop) -> list[NewEvent]:
    """Twenty hours of four people at two browsers: orders, some told twice, reviews, returns, links and merges."""
    events = []
    for step in range(28):
        at = NOON + timedelta(minutes=41 * (step - step % 2))
        who: dict[str, Any] = chance.choice(
            [{"user_id": chance.choice(USERS)}] * 3 + [{"anonymous_id": chance.choice(BROWSERS)}]
        )
        events.append(something(chance, shop, {**who, "timestamp": at, "received_at": at + timedelta(minutes=1)}))
    return events


def something(chance: random.Random, shop: Shop, given: dict[str, Any]) -> NewEvent:
    order, kind = f"{given.get('user_id') or given['anonymous_id']}-{chance.randrange(3)}", chance.randrange(14)
    named = {**given, "user_id": chance.choice(USERS)}
    named.pop("anonymous_id", None)
    if kind < 6:
        worth = chance.choice([20, 60, 110])
        return bought(shop, order, worth, properties={"total": worth}, **given)
    if kind == 6:
        return shop.event("Signed Up", **given)
    if kind >= 12:
        return shop.event("Seen", **given)
    if kind < 9:
        return shop.event("Reviewed", **given)
    if kind == 9:
        return refunded(shop, order, 20, at=given.pop("timestamp"), **given)
    if kind == 10:
        return alias(shop, previous_id=chance.choice(USERS), **named)
    return link(shop, named.pop("user_id"), chance.choice(BROWSERS), trusted=chance.random() < 0.7, **named)


@pytest.fixture
async def without_brakes(shop: Shop, other_database: Database) -> None:
    """What the limit of merges refuses depends on the order of routing."""
    for database in (shop.database, other_database):
        async with database.transaction() as session:
            await save_shop_settings(session, ShopSettings(merge_limit=100), NOON)


@pytest.mark.usefixtures("without_brakes")
@pytest.mark.parametrize("measure", [RISING, BY_SPEND], ids=["by points", "by spend"])
@pytest.mark.parametrize("seed", range(6))
async def test_a_day_with_merges_ends_in_the_same_points_tiers_and_orders_in_every_order(
    shop: Shop, other_database: Database, seed: int, measure: dict[str, Any]
) -> None:
    chance = random.Random(seed)
    other = Shop(other_database)
    for each in (shop, other):
        await open_programme(each, *RULES, tiers=measure)
        each.later(hours=20)
    events = day(chance, shop)
    await take_in(shop, events)
    await take_in(other, chance.sample(events, len(events)), chance.choice([1, 1, 3, 8]))
    assert await story(shop) == await story(other)


def _what_is_left(has: Balance) -> tuple[int, ...]:
    """What was returned of points that turned out never to have been earned may stand in both figures, or in none."""
    return has.available, has.pending, has.held, has.spent, has.earned - has.reversed


async def story(shop: Shop) -> dict[str, Any]:
    """What everybody has in the end, by the id that they go by."""
    async with shop.database.read() as session:
        people = (await session.execute(select(Customer).where(Customer.merged_into.is_(None)))).scalars().all()
        ids = [each.id for each in people]
        has = await points.balances(session, "main", ids, shop.now)
        tiers = await tiers_of(session, ids, shop.now)
        rows = (await session.execute(select(TierMembership).order_by(TierMembership.from_at))).scalars().all()
        orders = (await session.execute(select(Order))).scalars().all()
    goes_by = {each.id: each.external_id or str(each.first_seen) for each in people}
    return {
        "balances": {goes_by[id_]: _what_is_left(has[id_]) for id_ in ids},
        "tiers": {goes_by[id_]: tiers[id_] for id_ in ids},
        "was": sorted((row.from_at, goes_by[row.customer_id], str(row.tier)) for row in rows),
        "orders": sorted((each.order_id, goes_by[each.customer_id], each.total, each.refunded) for each in orders),
        "paid": sorted(
            (each.rule, each.occasion, goes_by[each.customer_id], each.points)
            for each in await decided(shop)
            if each.points
        ),
    }
