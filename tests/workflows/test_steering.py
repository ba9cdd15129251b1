"""What ops see and do in Temporal, on the real development server: search, details, cancel, terminate, reset."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, update
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from activities.executions import delete_execution
from activities.reconciliation import ReconcileInput, ReconciliationActivities
from activities.retention import RetentionActivities
from database.marks import Mark
from database.runs import Run
from database.session import Database
from domain.ids import new_id
from domain.upkeep import MARK
from tests.workflows.conftest import Entered, Stage, staged
from tests.workflows.journeys import journey
from triggers.commands import put_schedule
from triggers.standing_schedules import STANDING, UPKEEP_SCHEDULE
from workflows.sandbox import sandbox
from workflows.upkeep import UpkeepWorkflow

WAITING = journey(
    {"wait": {"for": "10m"}, "id": "pause"},
    {"wait_for": {"any": [{"event": "Order Completed"}], "timeout": "2d"}, "id": "order"},
)


@pytest.fixture
async def stage(database: Database, temporal_client: Client) -> AsyncIterator[Stage]:
    """A stage on the development server, in real time."""
    async with staged(database, temporal_client, datetime.now(UTC)) as built:
        await built.publish(WAITING)
        await mark(built)
        yield built


async def mark(stage: Stage) -> None:
    """The router's mark, without a router."""
    handle = await stage.client.start_workflow(MARK, id=f"mark/{new_id()}", task_queue="nobody")
    async with stage.database.transaction() as session:
        await session.execute(delete(Mark))
        session.add(Mark(id=1, workflow_id=handle.id, execution_id=handle.result_run_id, marked_at=stage.now))


async def reconcile(stage: Stage) -> None:
    """One pass of upkeep, now."""
    now = datetime.now(UTC)
    asked = ReconcileInput(since=now - timedelta(minutes=1), as_of=now)
    await ReconciliationActivities(stage.database, stage.client).reconcile_runs(asked)


async def shows(run: Entered, **wanted: Any) -> None:
    """Reconcile until the run's row shows this; visibility lags by a moment."""
    async with asyncio.timeout(60):
        while True:
            await reconcile(run.stage)
            row = await run.row()
            if all(getattr(row, name) == value for name, value in wanted.items()):
                return
            await asyncio.sleep(0.2)


async def listed(client: Client, query: str) -> list[str]:
    return [execution.id async for execution in client.list_workflows(query)]


async def found(client: Client, query: str, count: int) -> list[str]:
    """The workflows that a query finds, once visibility has caught up."""
    async with asyncio.timeout(60):
        while len(ids := await listed(client, query)) != count:
            await asyncio.sleep(0.2)
    return ids


async def test_ops_find_runs_by_customer_and_by_the_step_they_stand_at(stage: Stage) -> None:
    run = await stage.enter("welcome")
    other = await stage.enter("welcome")
    await run.stands_at("pause")
    await other.stands_at("pause")

    assert await found(stage.client, f'CustomerId="{run.customer_id}"', 1) == [run.handle.id]
    standing = await found(stage.client, 'Journey="welcome" AND JourneyVersion=1 AND Step="pause"', 2)
    assert set(standing) == {run.handle.id, other.handle.id}
    assert await found(stage.client, 'WorkflowType="welcome" AND RunState="active"', 2)


async def test_the_details_say_what_a_run_waits_for(stage: Stage) -> None:
    run = await stage.enter("welcome", await stage.customer(zone="Europe/Berlin"))
    await run.stands_at("pause")

    description = await run.handle.describe()
    metadata = await run.handle.query("__temporal_workflow_metadata")

    assert await description.static_summary() == "welcome, version 1"
    assert "waiting until " in str(metadata)
    assert "Europe/Berlin" in str(metadata)


async def test_a_cancelled_run_exits_cancelled(stage: Stage) -> None:
    run = await stage.enter("welcome")
    await run.stands_at("pause")

    await run.handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await run.handle.result()

    row = await run.row()
    assert (row.state, row.reason) == ("exited", "cancelled")
    assert (await run.log())[0][2] == "cancelled"
    assert (await run.handle.describe()).status == WorkflowExecutionStatus.CANCELED


async def test_a_terminated_run_shows_in_its_row(stage: Stage) -> None:
    run = await stage.enter("welcome")
    await run.stands_at("pause")

    await run.handle.terminate(reason="ops said so")

    await shows(run, state="exited", reason="terminated")


async def test_a_reset_of_a_terminated_run_sets_it_going_again(stage: Stage) -> None:
    run = await stage.enter("welcome")
    await run.stands_at("pause")
    await first_task(run)  # the row is a moment ahead of the history
    await run.handle.terminate(reason="a mistake")
    await shows(run, state="exited", reason="terminated")

    fresh = await reset(run)

    await shows(run, state="active", execution_id=fresh)
    await run.stands_at("pause")
    assert (await run.wait_row("pause")).status == "waiting"


async def test_a_reset_of_a_standing_run_is_bound_to_its_new_execution(stage: Stage) -> None:
    run = await stage.enter("welcome")
    await run.stands_at("pause")
    before = (await run.row()).execution_id

    fresh = await reset(run)

    await shows(run, state="active", execution_id=fresh)
    assert fresh != before
    assert len(await run.log()) == 1


async def test_a_run_whose_workflow_is_gone_is_started_again(stage: Stage) -> None:
    run = await stage.enter("welcome", entered_at=datetime.now(UTC) - timedelta(minutes=5), started=False)

    await reconcile(stage)

    [command] = await stage.commands()
    assert (command.kind, command.workflow_id) == ("start", (await run.row()).workflow_id)
    await reconcile(stage)
    assert len(await stage.commands()) == 1


async def first_task(run: Entered) -> int:
    """The event that completes the first workflow task, as soon as there is one."""
    async with asyncio.timeout(60):
        while True:
            for event in (await run.handle.fetch_history()).events:
                if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
                    return event.event_id
            await asyncio.sleep(0.05)


async def reset(run: Entered) -> str:
    """Reset to the first workflow task, as the UI does; answers the new execution's id."""
    client = run.stage.client
    answer = await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=run.handle.id),
            reason="test",
            workflow_task_finish_event_id=await first_task(run),
            request_id=f"{run.run_id}",
        )
    )
    return answer.run_id


async def test_the_schedule_of_upkeep_shows_a_termination_within_a_minute(stage: Stage) -> None:
    run = await stage.enter("welcome")
    await run.stands_at("pause")
    reconciliation = ReconciliationActivities(stage.database, stage.client)

    upkeep = Worker(
        stage.client,
        task_queue="upkeep",
        workflows=[UpkeepWorkflow],
        activities=[reconciliation.reconcile_runs, RetentionActivities(stage.database).forget_decisions],
        workflow_runner=sandbox(),
    )
    async with upkeep:
        await run.handle.terminate(reason="ops said so")
        for _ in range(2):
            await put_schedule(stage.client, UPKEEP_SCHEDULE, {**STANDING[UPKEEP_SCHEDULE], "queue": "upkeep"})
        async with asyncio.timeout(120):
            while (await run.row()).state == "active":
                await asyncio.sleep(0.2)

    assert (await run.row()).reason == "terminated"
    await stage.client.get_schedule_handle("upkeep").delete()


async def test_a_run_is_not_ended_by_an_execution_that_its_row_does_not_know(stage: Stage) -> None:
    run = await stage.enter("welcome")
    await run.stands_at("pause")
    await run.handle.terminate()
    async with stage.database.transaction() as session:
        await session.execute(update(Run).values(first_run_id="since", execution_id="since"))

    await shows(run, first_run_id=None, execution_id=None)

    assert (await run.row()).state == "active"
    assert [(each.kind, each.workflow_id) for each in await stage.commands()] == [("start", run.handle.id)]


async def test_a_run_passes_to_the_living_execution_that_its_row_does_not_know(stage: Stage) -> None:
    run = await stage.enter("welcome")
    await run.stands_at("pause")
    living = (await run.row()).first_run_id
    async with stage.database.transaction() as session:
        await session.execute(update(Run).values(first_run_id="since", execution_id="since"))

    await shows(run, first_run_id=living, execution_id=living)

    assert (await run.row()).state == "active"
    assert (await run.handle.describe()).status is WorkflowExecutionStatus.RUNNING


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_temporal_without_the_routers_mark_ends_no_run(stage: Stage, is_known: bool) -> None:
    run, other = await stage.enter("welcome"), await stage.enter("welcome")
    await run.stands_at("pause")
    await run.handle.terminate()
    await delete_execution(stage.client, other.handle.id, str(other.handle.result_run_id))
    async with stage.database.transaction() as session:
        await session.execute(update(Mark).values(execution_id=str(new_id()) if is_known else None))

    for _ in range(5):
        with pytest.raises(ApplicationError, match="mark"):
            await reconcile(stage)
        await asyncio.sleep(0.2)

    assert [(await each.row()).state for each in (run, other)] == ["active", "active"]
    assert await stage.commands() == []
    await mark(stage)
    await shows(run, state="exited", reason="terminated")


async def test_a_run_that_was_failed_for_another_execution_goes_on_when_ops_reset_its_workflow(stage: Stage) -> None:
    run = await stage.enter("welcome")
    await run.stands_at("pause")
    await first_task(run)  # the row is written within it; without it there is nothing to reset to
    await run.handle.terminate()
    values = {"first_run_id": "since", "execution_id": "since", "state": "failed", "reason": "workflow_closed"}
    async with stage.database.transaction() as session:
        await session.execute(update(Run).values(values))

    execution = await reset(run)

    await shows(run, state="active", reason=None, execution_id=execution)
    await asyncio.sleep(1)
    assert (await stage.client.get_workflow_handle(run.handle.id).describe()).status is WorkflowExecutionStatus.RUNNING
