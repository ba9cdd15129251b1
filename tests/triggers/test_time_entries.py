"""Date and schedule entries: kept by the router, brought by Temporal, enrolled by the router."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from temporalio import activity
from temporalio.client import Client, ScheduleBackfill, ScheduleOverlapPolicy
from temporalio.testing import ActivityEnvironment
from temporalio.worker import Worker

from activities.audiences import AudienceActivities
from database.journeys import DateDue
from database.schedule_fires import open_fires, take_fire
from database.session import Database
from domain.audiences import (
    ENTER_AUDIENCE,
    AudienceInput,
    AudiencePage,
    BackfillPage,
    DueDatesInput,
    Reached,
    schedule_id,
)
from domain.journeys.definition import JourneyDefinition
from perennial.doctor_temporal import ENTERED, examine_temporal
from tests.triggers.shop import Shop
from triggers.relay import Relay
from triggers.schedules import follow_archive, follow_publish
from workflows.audiences import BackfillDatesWorkflow, DueDatesWorkflow, EnterAudienceWorkflow
from workflows.sandbox import sandbox

STEPS: list[dict[str, Any]] = [{"wait": {"id": "pause", "for": "1d"}}]


def birthday(**date: Any) -> dict[str, Any]:
    rule = {"trait": "birthday", "offset": "-3d", "at": "09:00", "yearly": True, **date}
    return {"journey": "birthday", "enter": {"on": {"date": rule}}, "steps": STEPS}


def weekly(cron: str = "0 9 * * 1") -> dict[str, Any]:
    audience = {"trait": "plan", "eq": "gold"}
    on = {"schedule": {"cron": cron, "zone": "Europe/Rome", "audience": audience}}
    return {"journey": "weekly", "enter": {"on": on}, "steps": STEPS}


async def dues(shop: Shop) -> list[datetime]:
    async with shop.database.read() as session:
        return list((await session.execute(select(DateDue.due_at).order_by(DateDue.due_at))).scalars())


async def test_a_birthday_falls_due_in_the_customers_zone_and_follows_trait_and_zone(shop: Shop) -> None:
    await shop.publish(birthday())
    await shop.identify({"birthday": "1990-06-10", "timezone": "America/New_York"})
    assert await dues(shop) == [datetime(2026, 6, 7, 13, 0, tzinfo=UTC)]
    await shop.identify({"timezone": "Asia/Tokyo"})
    assert await dues(shop) == [datetime(2026, 6, 7, 0, 0, tzinfo=UTC)]
    await shop.identify({"birthday": "1990-05-05"})
    assert await dues(shop) == [datetime(2027, 5, 2, 0, 0, tzinfo=UTC)]
    await shop.identify({"birthday": None})
    assert await dues(shop) == []


async def test_a_date_that_means_never_falls_due_never_and_costs_the_event_nothing(shop: Shop) -> None:
    await shop.publish(birthday(trait="renews", at="23:00", offset="0d", yearly=False))
    await shop.identify({"renews": "9999-12-31", "timezone": "America/New_York", "name": "Ann"})
    assert (await shop.customer()).traits["name"] == "Ann"
    assert await dues(shop) == []


async def test_a_date_enters_once_and_the_next_year_follows(shop: Shop) -> None:
    await shop.publish(birthday())
    await shop.identify({"birthday": "1990-06-10"})
    activities = AudienceActivities(shop.database)
    shop.now = datetime(2026, 6, 7, 9, 0, 30, tzinfo=UTC)
    assert await activities.enter_due_dates(DueDatesInput(as_of=shop.now)) == 1
    assert await activities.enter_due_dates(DueDatesInput(as_of=shop.now)) == 0
    await shop.route()
    [run] = await shop.runs("birthday")
    assert run.entry["properties"] == {"date": "2026-06-07"}
    assert await dues(shop) == [datetime(2027, 6, 7, 9, 0, tzinfo=UTC)]


async def test_publishing_works_out_the_dates_of_customers_who_are_there(shop: Shop) -> None:
    await shop.identify({"birthday": "1990-06-10"})
    await shop.identify({"birthday": "no date"}, user_id="u-2")
    await shop.publish(birthday(yearly=False))
    page = BackfillPage(journey="birthday", as_of=datetime(1990, 1, 1, tzinfo=UTC))
    await ActivityEnvironment().run(AudienceActivities(shop.database).backfill_dates, page)
    assert await dues(shop) == [datetime(1990, 6, 7, 9, 0, tzinfo=UTC)]


async def test_a_schedule_enters_its_audience_once_however_often_the_activity_runs(shop: Shop) -> None:
    await shop.publish(weekly())
    for number in range(3):
        await shop.identify({"plan": "gold"}, user_id=f"gold-{number}")
    await shop.identify({"plan": "basic"}, user_id="basic")
    await shop.identify({"plan": "gold"}, anonymous_id="nobody")
    activities, page = AudienceActivities(shop.database), AudiencePage(journey="weekly", entry=0, fired=shop.now)
    for _ in range(2):
        await ActivityEnvironment().run(activities.enter_audience, page)
        await shop.route()
    assert len(await shop.runs("weekly")) == 3


async def test_a_time_whose_audience_has_entered_is_over_for_whoever_joins_the_audience_later(shop: Shop) -> None:
    await shop.publish(weekly())
    await shop.identify({"plan": "gold"})
    activities, page = AudienceActivities(shop.database), AudiencePage(journey="weekly", entry=0, fired=shop.now)
    await ActivityEnvironment().run(activities.enter_audience, page)
    await shop.identify({"plan": "gold"}, user_id="late")

    await ActivityEnvironment().run(activities.enter_audience, page)  # as after Temporal was lost

    await shop.route()
    assert len(await shop.runs("weekly")) == 1
    async with shop.database.read() as session:
        assert await open_fires(session, before=shop.now, limit=1) == []


async def test_publishing_makes_the_schedules_that_archiving_removes(shop: Shop, temporal_client: Client) -> None:
    definition = JourneyDefinition.model_validate(weekly("*/1 * * * *"))
    async with shop.database.transaction() as session:
        await follow_publish(session, definition, None, is_paused=False, as_of=shop.now)
    relay = Relay(shop.database, temporal_client)
    await relay.relay_once()
    handle = temporal_client.get_schedule_handle(schedule_id("weekly", 0))
    described = await handle.describe()
    assert described.schedule.spec.time_zone_name == "Europe/Rome"
    async with shop.database.transaction() as session:
        await follow_publish(session, definition, definition, is_paused=True, as_of=shop.now)
    await relay.relay_once()
    assert (await handle.describe()).schedule.state.paused
    async with shop.database.transaction() as session:
        await follow_archive(session, definition)
    assert (await relay.relay_once()).done == 1


async def test_a_schedule_that_fires_enters_the_audience_through_temporal(shop: Shop, temporal_client: Client) -> None:
    await shop.publish(weekly())
    await shop.identify({"plan": "gold"})
    definition = JourneyDefinition.model_validate(weekly())
    async with shop.database.transaction() as session:
        await follow_publish(session, definition, None, is_paused=False, as_of=shop.now)
    await Relay(shop.database, temporal_client).relay_once()
    activities = AudienceActivities(shop.database)
    async with Worker(
        temporal_client,
        task_queue="journeys",
        workflows=[DueDatesWorkflow, EnterAudienceWorkflow, BackfillDatesWorkflow],
        activities=[activities.enter_due_dates, activities.enter_audience, activities.backfill_dates],
        workflow_runner=sandbox(),
    ):
        await temporal_client.get_schedule_handle(schedule_id("weekly", 0)).trigger()
        async with asyncio.timeout(120):
            while not await shop.runs("weekly"):
                await shop.route()
                await asyncio.sleep(0.1)


async def test_a_schedule_whose_instant_finds_the_database_locked_enters_its_audience_afterwards(
    shop: Shop, temporal_client: Client
) -> None:
    await shop.publish(weekly())
    await shop.identify({"plan": "gold"})
    activities = Hindered(shop.database, times=3)
    asked = AudienceInput(journey="weekly", entry=0, fired=shop.now)
    async with Worker(
        temporal_client,
        task_queue="entering",
        workflows=[EnterAudienceWorkflow],
        activities=[activities.enter_audience],
        workflow_runner=sandbox(),
    ):
        await temporal_client.execute_workflow(ENTER_AUDIENCE, asked, id="entry/weekly/0-now", task_queue="entering")
    await shop.route()
    assert len(await shop.runs("weekly")) == 1


class Hindered(AudienceActivities):
    """Finds what it needs locked, so many times."""

    def __init__(self, database: Database, times: int) -> None:
        super().__init__(database)
        self._times = times

    @activity.defn(name="enter_audience")
    async def enter_audience(self, page: AudiencePage) -> Reached:
        self._times -= 1
        if self._times >= 0:
            raise OperationalError("LOCK", None, Exception("canceling statement due to lock timeout"))
        return await super().enter_audience(page)


async def test_the_doctor_names_a_schedules_time_that_entered_nobody(shop: Shop, temporal_client: Client) -> None:
    await shop.publish(weekly("0 * * * *"))
    definition = JourneyDefinition.model_validate(weekly("0 * * * *"))
    async with shop.database.transaction() as session:
        await follow_publish(session, definition, None, is_paused=False, as_of=shop.now)
    await Relay(shop.database, temporal_client).relay_once()
    handle, now = temporal_client.get_schedule_handle(schedule_id("weekly", 0)), datetime.now(UTC)
    await handle.backfill(ScheduleBackfill(now - timedelta(hours=3), now, overlap=ScheduleOverlapPolicy.ALLOW_ALL))
    while len(done := (await handle.describe()).info.recent_actions) < 3:
        await asyncio.sleep(0.1)
    entered, *missed = sorted(each.scheduled_at for each in done if each.scheduled_at < now - timedelta(hours=1))
    async with shop.database.transaction() as session:
        (await take_fire(session, "weekly", 0, entered)).done_at = now

    verdicts = await examine_temporal(shop.database, temporal_client, now)

    [verdict] = [each for each in verdicts if each.promise == ENTERED]
    assert verdict.offenders == [f"entry/weekly/0-{at:%Y-%m-%dT%H:%M:%SZ}" for at in missed]
    assert missed
