"""Prizes that are won while no programme is live: their points wait, and publishing a programme wakes them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from temporalio.testing import ActivityEnvironment

from activities.settling import SettlingActivities, SettlingStep
from api.dependencies import ApiDependencies
from database.challenge_progress import completions_of
from database.outbox import Command
from database.points import balances
from database.session import Database
from database.waiting_prizes import WaitingPrize, pay_waiting
from domain.events import EventKind
from tests.challenging import order, put_live
from tests.triggers.shop import Shop

CONTEST: dict[str, Any] = {
    "contest": "summer",
    "closes": "2026-05-04",
    "entries": [{"rule": "form"}],
    "prizes": [{"to_place": 1, "points": 500, "expires": "30d"}],
}
TREES: dict[str, Any] = {
    "challenge": "trees",
    "metric": {"count": "Order Completed"},
    "community": {"contribute": 1},
    "levels": [{"level": "wood", "at": 1, "points": 20, "badge": {"badge": "planter"}}],
}
RACE: dict[str, Any] = {
    "challenge": "race",
    "metric": {"count": "Order Completed"},
    "window": {"every": "day"},
    "leaderboard": {"prizes": [{"to_rank": 1, "points": 7}]},
}
PROGRAMME: dict[str, Any] = {"programme": "main", "earn": []}


@pytest.fixture
def shop(database: Database) -> Shop:
    return Shop(database)


@pytest.fixture
def api_dependencies(database: Database, shop: Shop) -> ApiDependencies:
    """An API whose clock is the shop's."""
    return ApiDependencies(database=database, now=lambda: shop.now)


async def publish(client: httpx.AsyncClient, path: str, document: dict[str, Any]) -> None:
    assert (await client.put(f"/v1/{path}", json=document)).status_code == 200
    published = await client.post(f"/v1/{path}/publish", json={})
    assert published.status_code == 200, published.text


async def hourly_pass(shop: Shop) -> None:
    step = SettlingStep(since=shop.now - timedelta(hours=1), as_of=shop.now)
    await ActivityEnvironment().run(SettlingActivities(shop.database).close_challenges, step)
    await shop.route()


async def points(shop: Shop, user: str = "u-1") -> int:
    id_ = (await shop.customer(user)).id
    async with shop.database.read() as session:
        return (await balances(session, "main", [id_], shop.now))[id_].available


async def waiting(shop: Shop) -> int:
    async with shop.database.read() as session:
        return sum((await session.execute(select(WaitingPrize.points))).scalars())


async def win_everything(client: httpx.AsyncClient, shop: Shop) -> None:
    """A contest, what a community reached, and the first rank of a day, without a programme."""
    await publish(client, "contests/summer", CONTEST)
    await put_live(shop, "challenge", TREES)
    await put_live(shop, "challenge", RACE)
    await order(shop, "o-1")
    await client.post("/v1/contests/summer/enter", json={"customer_id": "u-1"})
    shop.later(days=3)
    assert (await client.post("/v1/contests/summer/draw", json={})).status_code == 200
    await hourly_pass(shop)


async def test_what_was_won_without_a_programme_is_paid_once_when_one_is_published(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    await win_everything(client, shop)
    await hourly_pass(shop)
    assert await waiting(shop) == 527

    await publish(client, "programmes/main", PROGRAMME)
    async with shop.database.read() as session:
        woken = (await session.execute(select(Command).where(Command.workflow_id == "loyalty/main/1"))).scalar_one()
    assert (woken.kind, woken.payload["workflow"]) == ("start", "Loyalty")
    for _ in range(2):
        await hourly_pass(shop)

    assert (await points(shop), await waiting(shop)) == (527, 0)
    shop.later(days=31)
    assert await points(shop) == 27  # the contest's points last 30 days from when they are paid


async def test_a_completion_says_that_its_points_wait_and_then_that_they_came(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    await win_everything(client, shop)
    customer = await shop.customer()

    async def wood() -> tuple[Any, ...]:
        async with shop.database.read() as session:
            [done] = await completions_of(session, {customer.id}, {"trees"})
        return done.points, done.not_given, (done.badge or {}).get("badge")

    assert await wood() == (None, {"points": "no_programme"}, "planter")
    await publish(client, "programmes/main", PROGRAMME)
    await hourly_pass(shop)
    assert await wood() == (20, None, "planter")


async def test_the_contest_and_challenges_may_be_archived_before_the_programme_comes(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    """What is due later is what was decided."""
    await win_everything(client, shop)
    for path in ("contests/summer", "challenges/trees", "challenges/race"):
        assert (await client.post(f"/v1/{path}/archive")).status_code == 200

    await publish(client, "programmes/main", PROGRAMME)
    await hourly_pass(shop)

    assert await points(shop) == 527


async def test_what_was_paid_later_is_taken_back_when_the_order_is_cancelled(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    """The programme that pays was published after the level was completed, and another one may be live since."""
    await put_live(shop, "challenge", TREES | {"refunds": "revoke"})
    await order(shop, "o-1")
    await hourly_pass(shop)
    shop.later(days=1)
    await publish(client, "programmes/main", PROGRAMME)
    await hourly_pass(shop)
    assert await points(shop) == 20
    await client.post("/v1/programmes/main/archive")
    await publish(client, "programmes/other", PROGRAMME | {"programme": "other"})

    await shop.track("Order Cancelled", {"order_id": "o-1"})

    assert await points(shop) == 0


async def test_points_that_wait_are_those_of_the_customer_as_merged(client: httpx.AsyncClient, shop: Shop) -> None:
    await win_everything(client, shop)
    await shop.post(shop.event(kind=EventKind.ALIAS, user_id="u-2", previous_id="u-1"))
    await shop.route()

    await publish(client, "programmes/main", PROGRAMME)
    await hourly_pass(shop)

    assert await points(shop, "u-2") == 527


async def test_whoever_is_restricted_holds_up_nobody_who_waits_behind(client: httpx.AsyncClient, shop: Shop) -> None:
    await publish(client, "contests/summer", CONTEST | {"winners": 2, "prizes": [{"to_place": 2, "points": 5}]})
    for user in ("u-1", "u-2"):
        await order(shop, f"o-{user}", user_id=user)
        await client.post("/v1/contests/summer/enter", json={"customer_id": user})
    shop.later(days=3)
    assert (await client.post("/v1/contests/summer/draw", json={})).status_code == 200
    await hourly_pass(shop)
    async with shop.database.read() as session:
        rows = await session.execute(
            select(WaitingPrize.customer_id).order_by(WaitingPrize.waits_since, WaitingPrize.key)
        )
        oldest = next(iter(rows.scalars()))
    users = {(await shop.customer(user)).id: user for user in ("u-1", "u-2")}
    first = users.pop(oldest)
    assert await waiting(shop) == 10
    assert (await client.put(f"/v1/customers/{first}/restriction", json={"reason": "accuracy"})).status_code == 200
    await publish(client, "programmes/main", PROGRAMME)

    async with shop.database.transaction() as session:
        assert await pay_waiting(session, shop.now, at_once=1) == 1

    assert (await points(shop, first), await points(shop, *users.values())) == (0, 5)


async def test_a_programme_that_is_published_again_pays_nothing_again(client: httpx.AsyncClient, shop: Shop) -> None:
    await win_everything(client, shop)
    await publish(client, "programmes/main", PROGRAMME)
    await hourly_pass(shop)
    await client.post("/v1/programmes/main/archive")
    await publish(client, "programmes/other", PROGRAMME | {"programme": "other"})
    await hourly_pass(shop)

    id_ = (await shop.customer()).id
    async with shop.database.read() as session:
        paid = [(await balances(session, key, [id_], shop.now))[id_].available for key in ("main", "other")]
    assert paid == [527, 0]
