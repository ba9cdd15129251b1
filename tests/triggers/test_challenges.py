"""Challenges through the router: what customers do moves them, completes once, pays in the same transaction."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select

from database.challenge_errands import recount
from database.challenge_progress import ChallengeProgress
from database.session import Database
from domain.documents import DocumentState
from domain.events import EventKind
from tests.challenging import PROGRAMME, TWO_ORDERS, balance, completions, order, progress, put_live, run_errands, told
from tests.triggers.shop import Shop
from triggers.live import LiveCache
from triggers.routing import Routing


async def test_the_second_order_completes_it_pays_the_points_gives_the_badge_and_says_so(loyal_shop: Shop) -> None:
    await order(loyal_shop, "o-1")
    assert await completions(loyal_shop) == []

    await order(loyal_shop, "o-2")
    await order(loyal_shop, "o-3")

    [done] = await completions(loyal_shop)
    assert (done.level, done.period, done.points, done.badge) == (
        "done", "ever", 50, {"badge": "regular", "name": "Regular"},
    )  # fmt: skip
    assert (await balance(loyal_shop)).available == 50
    [said] = await told(loyal_shop, "Challenge Completed")
    assert said == {
        "challenge": "two-orders", "level": "done", "period": "ever", "round": 1,
        "points": 50, "reward": None, "badge": "regular",
    }  # fmt: skip
    assert await progress(loyal_shop) == {("two-orders", "ever"): 3}


async def test_events_of_browsers_count_for_nothing(loyal_shop: Shop) -> None:
    for order_id in ("o-1", "o-2"):
        await order(loyal_shop, order_id, trusted=False)

    assert await progress(loyal_shop) == {}


async def test_a_journey_starts_on_the_completion(loyal_shop: Shop) -> None:
    steps = [{"wait": {"id": "pause", "for": "1h"}}]
    entry = {"on": {"event": "Challenge Completed", "where": [{"property": "challenge", "eq": "two-orders"}]}}
    await loyal_shop.publish({"journey": "congratulate", "purpose": "marketing", "enter": entry, "steps": steps})

    await order(loyal_shop, "o-1")
    await order(loyal_shop, "o-2")

    assert len(await loyal_shop.runs("congratulate")) == 1


async def test_a_new_version_does_not_pay_again_what_an_earlier_one_has_paid(loyal_shop: Shop) -> None:
    await order(loyal_shop, "o-1")
    await order(loyal_shop, "o-2")

    await put_live(loyal_shop, "challenge", TWO_ORDERS | {"name": "A typing error mended"})
    await order(loyal_shop, "o-3")

    assert len(await completions(loyal_shop)) == 1
    assert (await balance(loyal_shop)).available == 50


async def test_a_paused_challenge_counts_on_and_gives_what_was_reached_once_it_goes_on(loyal_shop: Shop) -> None:
    await order(loyal_shop, "o-1")
    await put_live(loyal_shop, "challenge", TWO_ORDERS, DocumentState.PAUSED)
    await order(loyal_shop, "o-2")
    assert await completions(loyal_shop) == []

    await put_live(loyal_shop, "challenge", TWO_ORDERS)
    async with loyal_shop.database.transaction() as session:
        await recount(session, "two-orders", 3, loyal_shop.now)
    await run_errands(loyal_shop)

    assert len(await completions(loyal_shop)) == 1


async def test_points_wait_for_a_live_programme_and_badges_do_not(shop: Shop) -> None:
    first = {"level": "first", "at": 1, "badge": {"badge": "first"}}
    await put_live(shop, "challenge", TWO_ORDERS | {"levels": [first, *TWO_ORDERS["levels"]]})
    await order(shop, "o-1")
    await order(shop, "o-2")
    assert [done.level for done in await completions(shop)] == ["first"]

    await put_live(shop, "programme", PROGRAMME)
    await order(shop, "o-3")

    assert [done.level for done in await completions(shop)] == ["first", "done"]


async def test_what_requires_another_challenge_waits_for_it(loyal_shop: Shop) -> None:
    """Meeds' prerequisites: the events count, the prize waits."""
    views = {"challenge": "window-shopper", "metric": {"count": "Product Viewed"}, "requires": ["two-orders"]}
    await put_live(loyal_shop, "challenge", views | {"levels": [{"level": "done", "at": 1, "points": 7}]})
    await loyal_shop.track("Product Viewed", {"product_id": "rose"})
    await order(loyal_shop, "o-1")
    assert await completions(loyal_shop) == []

    await order(loyal_shop, "o-2")

    assert {done.challenge for done in await completions(loyal_shop)} == {"two-orders", "window-shopper"}
    assert (await balance(loyal_shop)).available == 57


# Identity ----------------------------------------------------------------------------------------


async def test_what_a_visitor_did_counts_once_we_know_who_it_is(loyal_shop: Shop) -> None:
    for order_id in ("o-1", "o-2"):
        await order(loyal_shop, order_id, anonymous_id="a-1")
    assert await progress(loyal_shop) == {}

    await loyal_shop.identify({}, user_id="u-1", anonymous_id="a-1")

    assert (await balance(loyal_shop)).available == 50


async def test_two_customers_who_are_one_have_their_events_added_up_and_each_completion_once(loyal_shop: Shop) -> None:
    """Invariant 12: merging conserves totals, and completes nothing twice."""
    for user in ("u-1", "u-2"):
        for number in (1, 2):
            await order(loyal_shop, f"{user}/{number}", user_id=user)

    await loyal_shop.post(loyal_shop.event(kind=EventKind.ALIAS, user_id="u-1", previous_id="u-2"))
    await loyal_shop.route()

    assert await progress(loyal_shop) == {("two-orders", "ever"): 4}
    assert len(await completions(loyal_shop)) == 1


async def test_joined_customers_complete_what_neither_had(loyal_shop: Shop) -> None:
    await order(loyal_shop, "o-1", user_id="u-1")
    await order(loyal_shop, "o-2", user_id="u-2")

    await loyal_shop.post(loyal_shop.event(kind=EventKind.ALIAS, user_id="u-1", previous_id="u-2"))
    await loyal_shop.route()

    assert len(await completions(loyal_shop)) == 1
    assert (await balance(loyal_shop)).available == 50


# Races -------------------------------------------------------------------------------------------


async def test_two_routers_complete_it_once(loyal_shop: Shop) -> None:
    """Badges awarded twice under concurrency: whisper-money #1024, badgeos #396, atelier #818."""
    others = [Routing(LiveCache()) for _ in range(4)]
    customers = [f"u-{n}" for n in range(12)]
    events = [
        loyal_shop.event("Order Completed", user_id=user, properties={"order_id": f"{user}/{number}"})
        for number in range(4)
        for user in customers
    ]
    await loyal_shop.post(*events)

    async def route(routing: Routing) -> None:
        for _ in range(40):
            async with loyal_shop.database.transaction() as session:
                await routing.route(session, loyal_shop.now, 5)

    await asyncio.gather(*[route(routing) for routing in others])
    await loyal_shop.route()

    done = await completions(loyal_shop)
    assert len(done) == len(customers)
    assert [(await balance(loyal_shop, user)).available for user in customers] == [50] * len(customers)


# Derived, so that it can be derived again --------------------------------------------------------

MANY: list[dict[str, Any]] = [
    TWO_ORDERS | {"challenge": "monthly", "window": {"every": "month"}, "zone": "Europe/Berlin"},
    {
        "challenge": "weekly-spender",
        "metric": {"sum": "properties.total", "over": "Order Completed", "currency": "EUR"},
        "window": {"every": "week"},
        "levels": [{"level": "one", "at": 1_500, "points": 1}, {"level": "two", "at": 4_000, "points": 2}],
    },
    {
        "challenge": "streak",
        "metric": {"streak": "day", "over": ["Order Completed", "Store Visited"], "freezes": {"start": 1}},
        "levels": [{"level": "three", "at": 3, "points": 3}],
    },
    {
        "challenge": "again",
        "metric": {"count": "Store Visited"},
        "levels": [{"level": "done", "at": 2, "points": 4}],
        "repeat": {"most": 3},
    },
]


@pytest.mark.parametrize("seed", range(4))
async def test_a_recount_from_events_comes_to_what_the_router_has_kept(shop: Shop, seed: int) -> None:
    """Random customers, late and out of order, returns among them: the incremental state equals the rebuilt one."""
    chance = random.Random(seed)
    await put_live(shop, "programme", PROGRAMME)
    for document in MANY:
        await put_live(shop, "challenge", document | {"from": "2026-01-01"})
    events = []
    for number in range(60):
        user, at = chance.choice(["u-1", "u-2"]), shop.now - timedelta(hours=chance.randrange(24 * 60))
        name = chance.choice(["Order Completed", "Order Completed", "Store Visited", "Order Cancelled"])
        about = {"order_id": f"{user}/{chance.randrange(12)}", "total": chance.randrange(1, 30), "currency": "EUR"}
        events.append(shop.event(name, user_id=user, properties=about, timestamp=at, message_id=f"m-{number}"))
    chance.shuffle(events)
    while events:
        await shop.post(*[events.pop() for _ in range(min(len(events), chance.randrange(1, 8)))])
        await shop.route()
    kept = await _rows(shop.database)

    async with shop.database.transaction() as session:
        await session.execute(delete(ChallengeProgress))
        for document in MANY:
            await recount(session, document["challenge"], 1, shop.now)
    await run_errands(shop)

    assert kept
    assert await _rows(shop.database) == kept


async def _rows(database: Database) -> set[tuple[object, ...]]:
    columns = (
        *(ChallengeProgress.challenge, ChallengeProgress.period, ChallengeProgress.customer_id),
        *(ChallengeProgress.figure, ChallengeProgress.round, ChallengeProgress.last_at),
    )
    async with database.read() as session:
        return {tuple(row) for row in await session.execute(select(*columns))}
