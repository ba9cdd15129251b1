"""G9: a run may last for years; no history of its executions reaches 5,000 events."""

from __future__ import annotations

import asyncio

import pytest
from temporalio.client import WorkflowHistory

from domain.ids import new_id
from tests.workflows.conftest import Entered, Stage
from tests.workflows.journeys import journey

FIVE_YEARS = 5 * 365


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_five_years_of_days_and_bursts_stay_under_5000_events(stage: Stage) -> None:
    await stage.publish(
        journey(
            {"wait": {"for": "1d"}, "id": "day"},
            {"goto": {"step": "day", "visits": FIVE_YEARS - 1}, "id": "again"},
            {"send": {"template": "t"}, "id": "anniversary"},
            max_days=3_650,
        )
    )
    run = await stage.enter("welcome")
    await run.stands_at("day")
    for _ in range(8):
        await asyncio.gather(*(run.handle.signal("wake") for _ in range(250)))

    ended = await run.ends()

    histories = await executions(run)
    assert ended.state == "completed"
    assert stage.outbox.sent == [("anniversary", 1)]
    assert (await run.step("day", FIVE_YEARS)) is not None
    assert len(histories) > 2
    assert max(len(history.events) for history in histories) < 5_000


@pytest.mark.slow
async def test_a_run_that_continues_as_new_in_the_middle_of_a_wait_goes_on_where_it_stood(
    stage: Stage,
) -> None:
    steps = [
        {"send": {"template": "t"}, "id": "first"},
        {"wait_for": {"any": [{"event": "Order Completed"}], "timeout": "3d"}, "id": "order"},
        {"send": {"template": "t"}, "id": "second"},
    ]
    await stage.publish(journey(*steps))
    run = await stage.enter("welcome")
    await run.stands_at("order")
    for _ in range(18):
        await asyncio.gather(*(run.handle.signal("wake") for _ in range(200)))

    await run.ends()

    assert stage.outbox.sent == [("first", 1), ("second", 1)]
    assert len(await run.log()) == 3
    assert len(await executions(run)) > 1


@pytest.mark.slow
async def test_a_run_that_continues_as_new_hears_every_order_and_thanks_for_each_once(
    stage: Stage,
) -> None:
    orders = 10
    await stage.publish(
        journey(
            {"wait_for": {"any": [{"event": "Order Completed"}], "timeout": "300d"}, "id": "order"},
            {"send": {"template": "t"}, "id": "thanks"},
            {"goto": {"step": "order", "visits": orders - 1}, "id": "again"},
            max_days=3_650,
        )
    )
    run = await stage.enter("welcome")
    for visit in range(1, orders + 1):
        await stands_at_visit(run, "order", visit)
        before, after = (asyncio.gather(*(run.handle.signal("wake") for _ in range(200))) for _ in range(2))
        await asyncio.gather(before, run.met("order", 0, new_id(), visit), after)

    ended = await run.ends()

    histories = await executions(run)
    assert ended.state == "completed"
    assert len(histories) > 1
    assert max(len(history.events) for history in histories) < 5_000
    assert [(await run.wait_row("order", visit)).status for visit in range(1, orders + 1)] == ["met"] * orders
    assert stage.outbox.sent == [("thanks", visit) for visit in range(1, orders + 1)]
    assert sorted((step, visit) for step, visit, _, _ in await run.log() if step != "again") == sorted(
        (step, visit) for step in ("order", "thanks") for visit in range(1, orders + 1)
    )


async def stands_at_visit(run: Entered, step: str, visit: int) -> None:
    """Wait until the run waits at a step for that time; the clock does not skip meanwhile."""
    async with asyncio.timeout(60):
        while (found := await run.step(step, visit)) is None or found.outcome != "waiting":
            await asyncio.sleep(0.02)


async def executions(run: Entered) -> list[WorkflowHistory]:
    """The histories of a run's executions, the first first."""
    histories = []
    row = await run.row()
    execution: str | None = row.first_run_id
    while execution:
        handle = run.stage.client.get_workflow_handle(run.handle.id, run_id=execution)
        history = await handle.fetch_history()
        histories.append(history)
        last = history.events[-1]
        execution = last.workflow_execution_continued_as_new_event_attributes.new_execution_run_id
    return histories
