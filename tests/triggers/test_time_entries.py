"""Date and schedule entries: kept by the router, brought by Temporal, enrolled by the router."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment
from temporalio.worker import Worker

from activities.audiences import AudienceActivities
from database.journeys import DateDue
from database.schedule_fires import open_fires
from domain.audiences import AudiencePage, BackfillPage, DueDatesInput, schedule_id
from domain.journeys.definition import JourneyDefinition
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
        async with asyncio.timeout(30):
            while not await shop.runs("weekly"):
                await shop.route()
                await asyncio.sleep(0.1)
