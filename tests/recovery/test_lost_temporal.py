"""Temporal can be lost (G29): deleted, or restored from an older copy, under a running router and worker."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update
from temporalio.client import WorkflowExecutionStatus
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from activities.reconciliation import ReconcileInput, ReconciliationActivities
from database.marks import Mark, last_mark
from database.redemptions import workflow_of
from database.session import Database
from domain.audiences import ENTRY_DUE
from perennial.doctor_temporal import KNOWN, SCHEDULED, STARTED, WANTED, examine_temporal
from perennial.embedded.namespaces import make_namespace
from perennial.embedded.temporal import EmbeddedTemporal, binary
from perennial.temporal import connect, register_search_attributes
from tests.recovery.conftest import WAITING, World, until
from tests.rewarding import TENNER, award, balance_of, buy, publish_reward, redemptions_of
from tests.triggers.test_time_entries import birthday, weekly
from triggers.commands import is_outage
from triggers.reconciler import Reconciler
from triggers.schedules import DATES_SCHEDULE
from triggers.standing_schedules import SETTLING_SCHEDULE, UPKEEP_SCHEDULE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

RUNS = 20
SCHEDULES = {UPKEEP_SCHEDULE, SETTLING_SCHEDULE, DATES_SCHEDULE, "entry/weekly/0"}


async def test_everything_under_way_comes_back_when_temporals_database_is_deleted(world: World) -> None:
    shop = world.shop
    await shop.publish_programme()
    for journey in (WAITING, weekly(), birthday()):
        await shop.publish(journey)
    await world.enter(RUNS)
    await shop.sign_up("ann", "bob", "carl")
    await shop.claim("ann", "bob")
    await shop.order("bob")
    world.warehouse.statuses = [503] * 100  # the shop's own system is away
    await publish_reward(world.database, TENNER, fulfil={"url": world.warehouse.url})
    ann = (await shop.customer("ann")).id
    await award(world.database, ann, 100, at=datetime.now(UTC))
    redemption = await buy(world.database, ann, "tenner", datetime.now(UTC))
    await until(lambda: world.status(workflow_of(redemption.id)))
    [referral] = await shop.referrals()
    hold = f"referral/{referral.id}/{referral.rounds}"
    await until(lambda: world.status(hold))
    erasure = await world.erase("carl")
    await world.doctor_finds()
    lost_at = datetime.now(UTC)

    async with world.unattended():
        await world.lose()
        await world.doctor_finds(KNOWN, STARTED, SCHEDULED)
    done = await world.recovered_since(lost_at)

    assert done["runs"] == RUNS
    assert await world.schedules() >= SCHEDULES
    assert await world.status(hold) is WorkflowExecutionStatus.RUNNING
    assert {hold, workflow_of(redemption.id)} <= await world.open_executions()
    await until(lambda: world.erasure(erasure), lambda state: state == "completed")
    world.warehouse.statuses = []
    await world.go(RUNS)
    await until(world.states, lambda states: states == {"completed": RUNS})
    for event in ("Before", "After"):
        assert await world.told(event) == {f"u-{n}": 1 for n in range(RUNS)}
    await until(lambda: redemptions_of(world.database), lambda rows: [row.state for row in rows] == ["fulfilled"])
    balance = await balance_of(world.database, ann, datetime.now(UTC))
    assert (balance.available, balance.spent) == (0, 100)
    await world.doctor_finds()


async def test_an_older_copy_of_temporals_database_neither_loses_nor_revives_a_run(world: World) -> None:
    await world.shop.publish(WAITING)
    await world.enter(RUNS, "old")
    older = await world.back_up()
    await world.go(RUNS // 2, "old")
    await until(world.states, lambda states: states["completed"] == RUNS // 2)
    await world.enter(RUNS, "new")
    await world.erase("old-19")
    await world.mark_anew()
    lost_at = datetime.now(UTC)

    async with world.unattended():
        await world.lose(older=older)
        await world.doctor_finds(KNOWN, STARTED, WANTED)
    done = await world.recovered_since(lost_at)

    assert done["deleted"] >= RUNS // 2  # those that ended since the copy; the erased one may go by its erasure
    assert done["runs"] == RUNS  # those that began since
    await until(world.open_executions, lambda found: sum(id_.startswith("journey/") for id_ in found) == RUNS + 9)
    await world.go(RUNS, "new")
    await world.go(RUNS, "old")
    await until(world.states, lambda states: states == {"completed": 2 * RUNS - 1, "exited": 1})
    finished = {f"new-{n}" for n in range(RUNS)} | {f"old-{n}" for n in range(RUNS - 1)}
    assert await world.told("After") == dict.fromkeys(finished, 1)
    await world.doctor_finds()


async def test_a_schedules_times_that_fell_between_an_older_copy_and_its_return_enter_everybody_once(
    world: World,
) -> None:
    shop, names = world.shop, [f"u-{number}" for number in range(5)]
    shop.now = datetime.now(UTC) - timedelta(hours=2)
    await shop.publish(weekly("*/5 * * * *"))
    for name in names:
        await shop.identify({"plan": "gold"}, user_id=name)
    await until(world.schedules, lambda found: "entry/weekly/0" in found)
    older = await world.back_up()
    for _ in range(2):
        await world.mark_anew()
        lost_at = datetime.now(UTC)
        async with world.unattended():
            async with world.database.transaction() as session:
                await session.execute(update(Mark).values(schedules_since=lost_at - timedelta(minutes=31)))
            await world.lose(older=older)
        await world.recovered_since(lost_at)
        await until(
            lambda: world.told(ENTRY_DUE), lambda told: set(told.values()) <= {6, 7} and len(told) == len(names)
        )

    await world.doctor_finds()


async def test_an_older_copy_put_back_after_a_loss_that_was_mended_fails_no_run(world: World) -> None:
    await world.shop.publish(WAITING)
    await world.enter(RUNS)
    older = await world.back_up()
    lost_at = datetime.now(UTC)
    await world.lose()
    assert (await world.recovered_since(lost_at))["runs"] == RUNS
    await until(world.bound, lambda count: count == RUNS)  # else the older copy's would be taken for the new
    await world.mark_anew()
    lost_at = datetime.now(UTC)

    async with world.unattended():
        await world.lose(older=older)
        await world.go(RUNS // 2)  # wakes executions that the rows do not know
        asked = ReconcileInput(since=lost_at - timedelta(hours=1), as_of=datetime.now(UTC) + timedelta(minutes=2))
        for _ in range(5):
            with pytest.raises(ApplicationError, match="mark"):
                await ReconciliationActivities(world.database, world.client).reconcile_runs(asked)
            await asyncio.sleep(1)
        assert await world.states() == {"active": RUNS}
    await world.recovered_since(lost_at)

    await world.go(RUNS)
    await until(world.states, lambda states: states == {"completed": RUNS})
    assert await world.told("After") == {f"u-{n}": 1 for n in range(RUNS)}
    await world.doctor_finds()


async def test_a_temporal_that_cannot_be_reached_for_long_is_not_taken_for_lost(world: World) -> None:
    await world.shop.publish(WAITING)
    await world.enter(RUNS)
    async with world.database.read() as session:
        before = await last_mark(session)

    await world.server.stop()
    await world.go(RUNS)
    await asyncio.sleep(2)
    unasked = await examine_temporal(world.database, world.client, datetime.now(UTC))
    await world.server.start()
    await until(world.states, lambda states: states == {"completed": RUNS})

    async with world.database.read() as session:
        after = await last_mark(session)
    assert before is not None
    assert after is not None
    assert (after.lost_at, after.recovered) == (None, before.recovered)
    assert {verdict.skipped for verdict in unasked} == {"", "Temporal does not answer"}
    assert all(verdict.is_kept for verdict in unasked)


async def test_a_missing_namespace_is_an_outage_and_loses_nothing(
    database: Database, temporal_server: EmbeddedTemporal
) -> None:
    client = await connect(temporal_server.address, "nobody-has-made-it")
    reconciler = Reconciler(database, client, prepare=register_search_attributes)

    with pytest.raises(RPCError) as raised:
        await reconciler.look()

    assert is_outage(raised.value)
    named = [verdict for verdict in await examine_temporal(database, client, datetime.now(UTC)) if not verdict.is_kept]
    assert "nobody-has-made-it does not exist" in str(named[0].offenders)
    async with database.read() as session:
        mark = await last_mark(session)
    assert mark is not None
    assert (mark.lost_at, mark.execution_id, mark.leased_until) == (None, None, None)


@pytest.mark.prove  # the SDK takes most of a minute to try again
async def test_a_namespace_that_somebody_deleted_is_made_again_and_everything_comes_back(world: World) -> None:
    await world.shop.publish(WAITING)
    await world.enter(RUNS)
    lost_at = datetime.now(UTC)
    async with world.unattended():
        delete = ["operator", "namespace", "delete", "--yes", "--namespace", "default", "--address"]
        await asyncio.create_subprocess_exec(binary("temporal"), *delete, world.server.address)
        await until(lambda: asyncio.to_thread(make_namespace, world.server, "default"))

    done = await world.recovered_since(lost_at)

    assert done["runs"] == RUNS
    await world.go(RUNS)
    await until(world.states, lambda states: states == {"completed": RUNS})
    assert await world.told("After") == {f"u-{n}": 1 for n in range(RUNS)}
