"""Challenges through the router: what customers do moves them, completes once, pays in the same transaction."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import delete, select

from database import documents
from database.challenge_errands import ChallengeErrand, find_errands, recount, run_errand
from database.challenge_progress import ChallengeCompletion, ChallengeProgress
from database.events import Event
from database.leaderboards import LeaderboardRank, final_ranks, running_ranks
from database.points import balances
from database.session import Database
from domain.documents import DocumentState
from domain.events import EventKind
from domain.points import Balance
from tests.triggers.shop import Shop
from triggers.live import JourneyCache
from triggers.routing import Routing

PROGRAMME = {"programme": "main", "earn": []}
TWO_ORDERS: dict[str, Any] = {
    "challenge": "two-orders",
    "metric": {"count": "Order Completed"},
    "levels": [{"level": "done", "at": 2, "points": 50, "badge": {"badge": "regular", "name": "Regular"}}],
}


async def put_live(
    shop: Shop, kind: str, document: Mapping[str, Any], state: DocumentState = DocumentState.LIVE
) -> int:
    """Publish a document, as the API does; answers its version."""
    key = document[kind]
    async with shop.database.transaction() as session:
        row = await documents.lock(session, kind, key)
        row = row or await documents.save_draft(session, kind, key, document, shop.now)
        return await documents.add_version(session, row, document=document, state=state, as_of=shop.now, by="test")


@pytest.fixture
async def loyal_shop(shop: Shop) -> Shop:
    """A shop with a programme, and a challenge to order twice."""
    await put_live(shop, "programme", PROGRAMME)
    await put_live(shop, "challenge", TWO_ORDERS)
    return shop


async def order(shop: Shop, order_id: str, *, total: float = 10, **given: Any) -> None:
    await shop.track("Order Completed", {"order_id": order_id, "total": total, "currency": "EUR"}, **given)


async def completions(shop: Shop) -> list[ChallengeCompletion]:
    statement = select(ChallengeCompletion).order_by(ChallengeCompletion.completed_at, ChallengeCompletion.reached_at)
    async with shop.database.read() as session:
        return list((await session.execute(statement)).scalars())


async def progress(shop: Shop) -> dict[tuple[str, str], Decimal]:
    """(challenge, period) -> figure, summed over customers."""
    found: dict[tuple[str, str], Decimal] = {}
    async with shop.database.read() as session:
        for row in (await session.execute(select(ChallengeProgress))).scalars():
            found[row.challenge, row.period] = found.get((row.challenge, row.period), Decimal()) + row.figure
    return found


async def balance(shop: Shop, user_id: str = "u-1") -> Balance:
    customer = await shop.customer(user_id)
    async with shop.database.read() as session:
        return (await balances(session, "main", [customer.id], shop.now))[customer.id]


async def told(shop: Shop, name: str) -> list[dict[str, Any]]:
    """The properties of our own events of one name, the oldest first."""
    async with shop.database.read() as session:
        statement = select(Event.properties).where(Event.name == name).order_by(Event.id)
        return list((await session.execute(statement)).scalars())


async def run_errands(shop: Shop) -> None:
    """What the hourly job does, and what the router then routes."""
    async with shop.database.transaction() as session:
        await find_errands(session, shop.now)
    more = True
    while more:
        async with shop.database.transaction() as session:
            more = await run_errand(session, shop.now)
    await shop.route()


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


# Refunds -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "figure", "points", "is_revoked"),
    [("ignore", 2, 50, False), ("uncount", 1, 50, False), ("revoke", 1, 0, True)],
)
async def test_a_cancelled_order_after_the_completion_follows_the_policy(
    shop: Shop, policy: str, figure: int, points: int, *, is_revoked: bool
) -> None:
    """Talon.One `allow_rollback_after_completion`: each definition says what a return does."""
    await put_live(shop, "programme", PROGRAMME)
    await put_live(shop, "challenge", TWO_ORDERS | {"refunds": policy})
    await order(shop, "o-1")
    await order(shop, "o-2")

    shop.later(days=1)
    await shop.track("Order Cancelled", {"order_id": "o-1"})

    assert await progress(shop) == {("two-orders", "ever"): figure}
    assert (await balance(shop)).available == points
    [done] = await completions(shop)
    assert (done.revoked_at is not None) is is_revoked


async def test_what_was_revoked_can_be_completed_again_and_is_paid_again_once(shop: Shop) -> None:
    await put_live(shop, "programme", PROGRAMME)
    await put_live(shop, "challenge", TWO_ORDERS | {"refunds": "revoke"})
    await order(shop, "o-1")
    await order(shop, "o-2")
    shop.later(days=1)
    await shop.track("Order Refunded", {"order_id": "o-1", "total": 10, "currency": "EUR"})
    assert (await balance(shop)).available == 0

    await order(shop, "o-3")
    await order(shop, "o-4")

    [done] = await completions(shop)
    assert (done.revoked_at, done.times) == (None, 2)
    assert (await balance(shop)).available == 50


async def test_a_refund_before_the_completion_takes_the_order_out_of_the_count(loyal_shop: Shop) -> None:
    await order(loyal_shop, "o-1")
    await loyal_shop.track("Order Refunded", {"order_id": "o-1", "total": 10, "currency": "EUR"})

    await order(loyal_shop, "o-2")

    assert await completions(loyal_shop) == []


async def test_half_a_return_takes_half_of_the_sum(loyal_shop: Shop) -> None:
    spent = {"sum": "properties.total", "over": "Order Completed", "currency": "EUR"}
    levels = [{"level": "done", "at": 1_000, "points": 5}]
    await put_live(loyal_shop, "challenge", {"challenge": "spender", "metric": spent, "levels": levels})

    await order(loyal_shop, "o-1", total=9.99)
    await loyal_shop.track("Order Refunded", {"order_id": "o-1", "total": 5, "currency": "EUR"})

    assert (await progress(loyal_shop))["spender", "ever"] == 499


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
    others = [Routing(JourneyCache()) for _ in range(4)]
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


# Together and against each other -----------------------------------------------------------------


async def test_a_community_reaches_its_goal_together_and_whoever_gave_is_paid_once(shop: Shop) -> None:
    await put_live(shop, "programme", PROGRAMME)
    trees = {"challenge": "trees", "metric": {"count": "Order Completed"}, "community": {"contribute": 2}}
    await put_live(shop, "challenge", trees | {"levels": [{"level": "wood", "at": 5, "points": 20}]})
    for number, user in enumerate(["u-1", "u-1", "u-2", "u-2", "u-3"]):
        await order(shop, f"o-{number}", user_id=user)

    await run_errands(shop)
    await run_errands(shop)

    assert [(await balance(shop, user)).available for user in ("u-1", "u-2", "u-3")] == [20, 20, 0]


RACE = {
    "challenge": "race",
    "metric": {"count": "Store Visited"},
    "window": {"every": "month"},
    "leaderboard": {"prizes": [{"to_rank": 1, "points": 100}, {"to_rank": 2, "points": 10}]},
}


async def visit(shop: Shop, *users: str) -> None:
    for user in users:
        shop.later(minutes=1)
        await shop.track("Store Visited", user_id=user)


@pytest.mark.parametrize(
    ("ties", "ranks"), [("first", [1, 2, 3, 4]), ("shared", [1, 2, 2, 4]), ("dense", [1, 2, 2, 3])]
)
async def test_ties_are_ranked_by_the_published_rule(shop: Shop, ties: Any, ranks: list[int]) -> None:
    """agoragames/leaderboard #25, ProjectLighthouse #418: what a tie means was left open."""
    await put_live(shop, "challenge", RACE | {"leaderboard": {"ties": ties}})
    await visit(shop, "ann", "ann", "ann", "cem", "cem", "bob", "bob", "dora")

    async with shop.database.read() as session:
        board = await running_ranks(session, "race", "2026-05", ties, after=0, limit=10)

    assert [line.customer_id for line in board] == ["ann", "cem", "bob", "dora"]
    assert [line.rank for line in board] == ranks


async def test_a_finished_month_is_final_whatever_comes_later_and_pays_from_the_snapshot(shop: Shop) -> None:
    await put_live(shop, "programme", PROGRAMME)
    await put_live(shop, "challenge", RACE)
    await visit(shop, "ann", "ann", "bob")
    in_may = shop.now
    shop.later(days=31)

    await run_errands(shop)
    for _ in range(5):
        await shop.track("Store Visited", user_id="bob", timestamp=in_may)
    await run_errands(shop)

    async with shop.database.read() as session:
        final = await final_ranks(session, "race", "2026-05", after=0, limit=10)
    assert [(line.rank, line.customer_id, int(line.figure)) for line in final] == [(1, "ann", 2), (2, "bob", 1)]
    assert [(await balance(shop, user)).available for user in ("ann", "bob")] == [100, 10]


async def test_a_running_month_and_its_day_of_grace_are_not_final(shop: Shop) -> None:
    await put_live(shop, "challenge", RACE)
    await visit(shop, "ann")
    shop.now = shop.now.replace(month=6, day=1, hour=23)

    await run_errands(shop)

    async with shop.database.read() as session:
        assert (await session.execute(select(LeaderboardRank))).all() == []


async def test_whoever_opted_out_has_no_rank_and_leaves_no_gap(shop: Shop) -> None:
    await put_live(shop, "challenge", RACE)
    await visit(shop, "ann", "ann", "bob")
    await shop.identify({"leaderboard_opt_out": True}, user_id="ann")

    async with shop.database.read() as session:
        board = await running_ranks(session, "race", "2026-05", "first", after=0, limit=10)

    assert [(line.rank, line.customer_id) for line in board] == [(1, "bob")]


async def test_an_errand_is_told_page_by_page_and_ends(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("database.challenge_errands.MEMBERS_AT_ONCE", 2)
    await visit(shop, "ann", "bob", "cem", "dora", "eve")
    await put_live(shop, "challenge", RACE | {"from": "2026-01-01"})
    async with shop.database.transaction() as session:
        await recount(session, "race", 1, shop.now)

    await run_errands(shop)

    assert await progress(shop) == {("race", "2026-05"): 5}
    async with shop.database.read() as session:
        assert [
            errand.done_at is not None for errand in (await session.execute(select(ChallengeErrand))).scalars()
        ] == [True]
