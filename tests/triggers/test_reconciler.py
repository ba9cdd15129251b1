"""The reconciler beside a Temporal that is there: what was lost with its power, what ops ended, who has the turn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import update
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from activities.executions import delete_execution
from database.marks import Mark, last_mark
from database.runs import Run
from database.schedule_fires import parse, take_fire
from database.session import Database
from database.undertakings import NewUndertaking, conclude, undertake
from domain.documents import DocumentState
from tests.triggers.shop import Shop
from tests.triggers.test_time_entries import birthday, weekly
from triggers.reconciler import Reconciler
from triggers.recovery import Recovered
from triggers.relay import Relay
from triggers.schedules import DATES_SCHEDULE

LONG_AGO = datetime(2026, 5, 4, 9, tzinfo=UTC)
ENTRY = "entry/weekly/0"


async def nothing(_: Client) -> None:
    """The namespaces of tests have their search attributes."""


@pytest.fixture
def shop(database: Database) -> Shop:
    return Shop(database, datetime.now(UTC))


@pytest.fixture
def look(database: Database, temporal_client: Client) -> Callable[[], Awaitable[Recovered | None]]:
    """One turn of a router that has just begun."""

    async def look() -> Recovered | None:
        every = timedelta(0)
        return await Reconciler(database, temporal_client, prepare=nothing, every=every).look()

    return look


async def forgotten(client: Client, workflow_id: str) -> None:
    """Temporal loses a workflow."""
    found = await client.get_workflow_handle(workflow_id).describe()
    await delete_execution(client, found.id, found.run_id)
    while await status(client, workflow_id):
        pass


async def status(client: Client, workflow_id: str) -> WorkflowExecutionStatus | None:
    try:
        return (await client.get_workflow_handle(workflow_id).describe()).status
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return None


async def test_what_began_just_before_a_power_cut_is_started_again_though_the_mark_is_there(
    shop: Shop, temporal_client: Client, look: Callable[[], Awaitable[Recovered | None]]
) -> None:
    await look()
    await shop.publish({"journey": "cart", "enter": {"on": {"event": "Started"}}, "steps": [{"wait": {"for": "1d"}}]})
    await shop.track("Started", user_id="ann")
    await shop.track("Started", user_id="bob")
    await Relay(shop.database, temporal_client).relay_once()
    ann, bob = [run.workflow_id for run in await shop.runs("cart")]
    await forgotten(temporal_client, ann)

    done = await look()

    assert done is not None
    assert (done.runs, done.deleted) == (1, 0)
    assert await status(temporal_client, ann) is await status(temporal_client, bob) is WorkflowExecutionStatus.RUNNING
    assert (await look()) == Recovered()


async def test_a_run_that_ops_did_not_end_keeps_the_execution_that_it_is_bound_to(
    shop: Shop, temporal_client: Client, look: Callable[[], Awaitable[Recovered | None]]
) -> None:
    await look()
    await shop.publish({"journey": "cart", "enter": {"on": {"event": "Started"}}, "steps": [{"wait": {"for": "1d"}}]})
    await shop.track("Started", user_id="ann")
    await Relay(shop.database, temporal_client).relay_once()
    async with shop.database.transaction() as session:
        await session.execute(update(Run).values(first_run_id="first", execution_id="now"))

    await look()

    [run] = await shop.runs("cart")
    assert (run.first_run_id, run.execution_id) == ("first", "now")


async def test_what_ops_end_by_mistake_is_begun_again_until_it_is_done(
    database: Database, temporal_client: Client, look: Callable[[], Awaitable[Recovered | None]]
) -> None:
    await look()
    hold = NewUndertaking("referral/r-1/1", "ReferralHold", {}, LONG_AGO)
    async with database.transaction() as session:
        await undertake(session, [hold], LONG_AGO)
    await Relay(database, temporal_client).relay_once()
    await temporal_client.get_workflow_handle(hold.workflow_id).terminate()

    done = await look()

    assert done is not None
    assert done.undertakings == 1
    assert await status(temporal_client, hold.workflow_id) is WorkflowExecutionStatus.RUNNING
    await temporal_client.get_workflow_handle(hold.workflow_id).terminate()
    async with database.transaction() as session:
        await conclude(session, [hold.workflow_id], LONG_AGO)
    assert (await look()) == Recovered()


async def test_schedules_that_were_changed_deleted_or_left_over_are_put_right(
    shop: Shop, temporal_client: Client, look: Callable[[], Awaitable[Recovered | None]]
) -> None:
    await shop.publish(weekly())
    await shop.publish(birthday())
    await look()
    assert set(await schedules(temporal_client)) == {ENTRY, DATES_SCHEDULE, "upkeep", "loyalty"}

    await temporal_client.get_schedule_handle(DATES_SCHEDULE).delete()
    await shop.publish(weekly("0 10 * * 1"))
    done = await look()

    assert done is not None
    assert done.schedules == 2
    described = await temporal_client.get_schedule_handle(ENTRY).describe()
    assert [calendar.hour[0].start for calendar in described.schedule.spec.calendars] == [10]
    await shop.publish(weekly("0 10 * * 1"), DocumentState.ARCHIVED)
    assert (await look()) == Recovered(schedules=1)
    assert (await look()) == Recovered()
    assert ENTRY not in await schedules(temporal_client)


async def test_an_audience_that_had_not_entered_whole_goes_on_under_the_time_it_is_for(
    shop: Shop, temporal_client: Client, look: Callable[[], Awaitable[Recovered | None]]
) -> None:
    await look()
    async with shop.database.transaction() as session:
        fire = await take_fire(session, "weekly", 0, LONG_AGO)
        workflow_id = fire.workflow_id
    assert workflow_id == f"{ENTRY}-2026-05-04T09:00:00Z"
    assert parse(workflow_id) == ("weekly", 0, LONG_AGO)

    done = await look()

    assert done is not None
    assert done.undertakings == 1
    assert await status(temporal_client, workflow_id) is WorkflowExecutionStatus.RUNNING
    assert (await look()) == Recovered()


async def test_one_that_temporal_refuses_does_not_keep_the_others_from_coming_back(
    database: Database, temporal_client: Client, look: Callable[[], Awaitable[Recovered | None]]
) -> None:
    kinds = ("ReferralHold", "ReferralHold", "much too long" * 200)
    some = [NewUndertaking(f"referral/r-{number}/1", kind, {}, LONG_AGO) for number, kind in enumerate(kinds)]
    async with database.transaction() as session:
        await undertake(session, some, LONG_AGO)

    done = await look()

    assert done is not None
    assert (done.undertakings, done.refused) == (2, 1)
    assert await status(temporal_client, "referral/r-1/1") is WorkflowExecutionStatus.RUNNING


async def test_of_several_routers_one_looks(database: Database, temporal_client: Client) -> None:
    first, second = (Reconciler(database, temporal_client, prepare=nothing) for _ in range(2))

    assert await first.look() is not None
    assert await second.look() is None
    assert await first.look() is not None


async def test_a_mark_leaves_one_line_in_temporals_list(database: Database, temporal_client: Client) -> None:
    now = [datetime.now(UTC)]
    reconciler = Reconciler(database, temporal_client, prepare=nothing, now=lambda: now[0])
    marks = []
    for _ in range(3):
        await reconciler.look()
        async with database.read() as session:
            mark = await last_mark(session)
        marks.append(str(mark and mark.workflow_id))
        now[0] += timedelta(minutes=1)

    assert len(set(marks)) == 3
    for workflow_id in marks[:-1]:
        while await status(temporal_client, workflow_id):
            pass
    assert await status(temporal_client, marks[-1])


async def test_the_age_of_the_mark_grows_while_temporal_is_away(database: Database, temporal_client: Client) -> None:
    now = [datetime.now(UTC)]
    another, reconciler = (Reconciler(database, temporal_client, prepare=nothing, now=lambda: now[0]) for _ in range(2))
    await reconciler.look()
    young = REGISTRY.get_sample_value("perennial_temporal_mark_seconds")

    now[0] += timedelta(minutes=7)  # and nobody looks

    assert (young, REGISTRY.get_sample_value("perennial_temporal_mark_seconds")) == (0, 420)
    await another.look()
    assert await reconciler.look() is None  # it sees what the other has set
    assert REGISTRY.get_sample_value("perennial_temporal_mark_seconds") == 0


async def schedules(client: Client) -> list[str]:
    return [each.id async for each in await client.list_schedules()]


async def looked_before(shop: Shop, since: datetime) -> None:
    """Routers have compared schedules' times with rows from then on."""
    async with shop.database.transaction() as session:
        await session.execute(update(Mark).values(schedules_since=since))


def every_ten_minutes(since: datetime, until: datetime) -> list[str]:
    """Ids of the workflows for those times."""
    first = since.replace(minute=since.minute // 10 * 10, second=0, microsecond=0) + timedelta(minutes=10)
    times = [first + number * timedelta(minutes=10) for number in range(20)]
    return [f"{ENTRY}-{time:%Y-%m-%dT%H:%M:%SZ}" for time in times if time <= until]


async def test_times_that_came_while_a_schedule_was_gone_are_entered_once(
    shop: Shop, temporal_client: Client, look: Callable[[], Awaitable[Recovered | None]]
) -> None:
    now = shop.now
    shop.now = now - timedelta(hours=3)
    await shop.publish(weekly("*/10 * * * *"))
    await look()
    assert (await look()) == Recovered()  # what an earlier release entered has no row: nothing before the first look
    await looked_before(shop, now - timedelta(minutes=45))
    entered, *missed = every_ten_minutes(now - timedelta(minutes=45), now - timedelta(minutes=3))
    async with shop.database.transaction() as session:
        (await take_fire(session, *(parse(entered) or ("", 0, now)))).done_at = now

    await temporal_client.get_schedule_handle(ENTRY).delete()
    done = await look()

    assert done is not None
    assert done.schedules == 1
    assert done.undertakings >= len(missed) >= 3
    assert {await status(temporal_client, each) for each in missed} == {WorkflowExecutionStatus.RUNNING}
    assert await status(temporal_client, entered) is None
    assert await status(temporal_client, every_ten_minutes(now - timedelta(hours=1), now)[0]) is None
    assert (await look()) == Recovered()


@pytest.mark.parametrize("kept", ["paused", "paused in Temporal", "published just now", "another calendar until now"])
async def test_times_that_were_not_to_come_are_not_made_up_for(
    shop: Shop, temporal_client: Client, look: Callable[[], Awaitable[Recovered | None]], kept: str
) -> None:
    now = shop.now
    shop.now = now if kept == "published just now" else now - timedelta(hours=3)
    state = DocumentState.PAUSED if kept == "paused" else DocumentState.LIVE
    await shop.publish(weekly("0 9 1 1 *" if kept == "another calendar until now" else "*/10 * * * *"), state)
    await look()
    if kept == "paused in Temporal":
        await temporal_client.get_schedule_handle(ENTRY).pause()
    if kept == "another calendar until now":
        shop.now = now
        await shop.publish(weekly("*/10 * * * *"))
    await looked_before(shop, now - timedelta(minutes=45))

    done = await look()

    assert done is not None
    assert done.undertakings == 0


async def test_a_version_that_leaves_the_calendar_as_it_is_forgets_no_time(
    shop: Shop, look: Callable[[], Awaitable[Recovered | None]]
) -> None:
    now = shop.now
    shop.now = now - timedelta(hours=3)
    await shop.publish(weekly("*/10 * * * *"))
    shop.now = now
    await shop.publish({**weekly("*/10 * * * *"), "name": "Every ten minutes"})
    await look()
    await looked_before(shop, now - timedelta(minutes=45))

    done = await look()

    assert done is not None
    assert done.undertakings >= 4
