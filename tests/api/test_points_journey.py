"""Journeys that thresholds of points enter: any move that crosses one starts one run, whoever makes it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import select

from api.dependencies import ApiDependencies
from database.journeys import EntryDecision
from database.outbox import Command
from database.points import merge_accounts
from database.runs import Run
from database.session import Database
from database.settling import due_accounts, settle_accounts
from tests.api.clock import Clock
from tests.api.test_points import post
from tests.factories import NOON, make_customer
from tests.programmes import publish_programme
from triggers.live import LiveCache
from triggers.routing import Routing

DAY = timedelta(days=1)
EARNING = [{"rule": "buy", "on": {"event": "Order Completed"}, "amount": {"points": 300}}]


class Town:
    """A shop over HTTP, with customers, its router and its nightly job."""

    def __init__(self, client: httpx.AsyncClient, database: Database, clock: Clock) -> None:
        self.client, self.database, self.clock = client, database, clock
        self._routing = Routing(LiveCache())

    async def publish(self, on: dict[str, Any], key: str = "thanks") -> None:
        """A journey that enters by this, whatever other runs there are."""
        document = {"enter": {"on": on, "again": {"while_active": True}}, "steps": [{"wait": {"for": "1d"}}]}
        saved = await self.client.put(f"/v1/journeys/{key}", json=document)
        assert [each for each in saved.json()["findings"] if each["severity"] == "error"] == []
        assert (await post(self.client, f"journeys/{key}/publish")).status_code == 200

    async def move(self, what: str, points: int, who: str = "ann", **body: Any) -> None:
        """One move by the shop, repeated as the answer says while the database is too busy."""
        wish = {"points": points, "reason": "test", **body}
        await self._repeatable(f"/v1/customers/{who}/points/{what}", wish, str(uuid4()))

    async def repeat(self, key: str) -> None:
        """Award 50 points under a key."""
        await self._repeatable("/v1/customers/ann/points/award", {"points": 50, "reason": "test"}, key)

    async def _repeatable(self, path: str, body: dict[str, Any], key: str) -> None:
        async with asyncio.timeout(120):
            while (answer := await self.client.post(path, json=body, headers={"Idempotency-Key": key})).is_server_error:
                await asyncio.sleep(0.1)
        assert answer.status_code == 200, answer.text

    async def entered(self, journey: str = "thanks") -> list[tuple[int, int]]:
        """Route what there is; from how many points to how many each run was entered by, the oldest first."""
        async with self.database.transaction() as session:
            await self._routing.route(session, self.clock.now, 500)
        statement = select(Run.entry).where(Run.journey == journey).order_by(Run.entered_at, Run.id)
        async with self.database.read() as session:
            entries = [entry["properties"] for entry in await session.scalars(statement)]
        return [(entry["from"], entry["points"]) for entry in entries]

    async def night(self) -> None:
        """The nightly job over everybody."""
        async with self.database.transaction() as session:
            due = await due_accounts(session, self.clock.now, after=None, limit=100)
            await settle_accounts(session, due, self.clock.now)


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def api_dependencies(database: Database, clock: Clock) -> ApiDependencies:
    return ApiDependencies(database=database, now=clock)


@pytest.fixture
async def ann(database: Database) -> UUID:
    await publish_programme(database, NOON - DAY, earn=EARNING)
    return await make_customer(database, "ann")


@pytest.fixture
def town(client: httpx.AsyncClient, database: Database, clock: Clock, ann: UUID) -> Town:
    return Town(client, database, clock)


async def test_the_move_that_reaches_the_threshold_starts_one_run(town: Town, ann: UUID) -> None:
    await town.publish({"points": "available", "reaches": 500})
    await town.move("award", 499)
    assert await town.entered() == []

    await town.move("award", 1)
    await town.move("award", 100)

    assert await town.entered() == [(499, 500)]
    async with town.database.read() as session:
        (run,) = await session.scalars(select(Run))
        started = list(await session.scalars(select(Command.workflow_id)))
    assert (run.customer_id, run.entry["event"]) == (ann, "Points Reached")
    assert run.workflow_id in started
    assert {key: run.entry["properties"][key] for key in ("programme", "figure", "threshold")} == {
        "programme": "main",
        "figure": "available",
        "threshold": 500,
    }


async def test_every_further_crossing_enters_again_and_nothing_between_them(town: Town) -> None:
    await town.publish({"points": "available", "reaches": 500})
    for what, points in (("award", 600), ("deduct", 100), ("award", 100), ("deduct", 150), ("award", 50)):
        await town.move(what, points)

    assert await town.entered() == [(0, 600), (450, 500)]


async def test_falling_below_enters_by_spending_correcting_and_expiring(town: Town) -> None:
    await town.publish({"points": "available", "falls_below": 100})
    await town.move("award", 150, expires_at=(NOON + 9 * DAY).isoformat())
    await town.move("deduct", 60)
    await town.move("award", 60, expires_at=(NOON + 9 * DAY).isoformat())
    await town.move("adjust", -60)
    assert await town.entered() == [(150, 90), (150, 90)]

    await town.move("award", 60, expires_at=(NOON + 9 * DAY).isoformat())
    town.clock.now = NOON + 10 * DAY
    await town.night()

    assert (await town.entered())[2:] == [(120, 60)]  # lots of 30, 60 and 60 lapse one after the other


async def test_points_that_are_earned_and_mature_enter_when_they_can_be_used(town: Town) -> None:
    await publish_programme(town.database, NOON - DAY, earn=[{**EARNING[0], "pending": "14d"}])
    await town.publish({"points": "available", "reaches": 300})
    await town.publish({"points": "pending", "reaches": 300}, key="soon")
    order = {"userId": "ann", "event": "Order Completed", "messageId": "m-1", "properties": {"order_id": "o-1"}}
    assert (await town.client.post("/v1/track", json=order)).status_code == 200
    assert await town.entered() == []
    assert await town.entered("soon") == [(0, 300)]

    town.clock.now = NOON + 15 * DAY
    await town.night()

    assert await town.entered() == [(0, 300)]


async def test_what_was_earned_in_all_and_what_was_spent_are_thresholds_too(town: Town) -> None:
    """What the shop gives is not earned, so it takes two orders of 300 points to come to 500."""
    await town.publish({"any": [{"points": "earned", "reaches": 500}, {"points": "spent", "reaches": 200}]})
    await town.move("award", 900)
    await town.move("deduct", 200)
    for number in (1, 2):
        order = {"event": "Order Completed", "messageId": f"m-{number}", "properties": {"order_id": f"o-{number}"}}
        assert (await town.client.post("/v1/track", json={"userId": "ann", **order})).status_code == 200
        await town.entered()
        await town.move("award", 1)

    assert await town.entered() == [(0, 200), (300, 600)]


async def test_moves_at_once_and_repeated_requests_cross_once(town: Town) -> None:
    await town.publish({"points": "available", "reaches": 500})
    await town.move("award", 450)

    await asyncio.gather(*(town.move("award", 50) for _ in range(5)), *(town.repeat("k-1") for _ in range(5)))

    assert await town.entered() == [(450, 500)]


async def test_a_paused_journey_says_so_and_one_that_is_archived_or_changed_is_not_told(town: Town) -> None:
    await town.publish({"points": "available", "reaches": 50})
    await town.publish({"points": "available", "reaches": 100})
    await post(town.client, "journeys/thanks/pause")
    await town.move("award", 100)
    assert await town.entered() == []
    async with town.database.read() as session:
        assert list(await session.scalars(select(EntryDecision.reason))) == ["paused"]

    await post(town.client, "journeys/thanks/archive")
    await town.move("deduct", 100)
    await town.move("award", 100)

    assert await town.entered() == []
    async with town.database.read() as session:
        assert len(list(await session.scalars(select(EntryDecision.reason)))) == 1


async def test_an_event_of_that_name_from_outside_enters_nobody(town: Town) -> None:
    await town.publish({"points": "available", "reaches": 100})
    forged = {"figure": "available", "threshold": 100}
    told = {"userId": "ann", "event": "Points Reached", "messageId": "m-1", "properties": forged}
    assert (await town.client.post("/v1/track", json=told)).status_code == 200

    assert await town.entered() == []


async def test_merging_crosses_only_what_neither_had_reached(town: Town, ann: UUID) -> None:
    await town.publish({"any": [{"points": "available", "reaches": n} for n in (300, 700)]})
    old = await make_customer(town.database, "old-ann")
    await town.move("award", 400)
    await town.move("award", 400, who="old-ann")
    assert len(await town.entered()) == 2

    async with town.database.transaction() as session:
        await merge_accounts(session, old, ann, NOON)

    assert (await town.entered())[2:] == [(400, 800)]
