"""The Temporal Schedule of the deployment's upkeep (workflows/upkeep.py): one, whoever starts first."""

from __future__ import annotations

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)

from workflows.upkeep import LASTS, UPKEEP, UpkeepWorkflow

SCHEDULE_ID = "upkeep"


async def schedule_upkeep(client: Client, *, task_queue: str) -> None:
    """Create the schedule, or bring it to what this release wants. Repeatable, from several processes at once."""
    wanted = _schedule(task_queue)
    try:
        await client.create_schedule(SCHEDULE_ID, wanted, trigger_immediately=True)
    except ScheduleAlreadyRunningError:
        await client.get_schedule_handle(SCHEDULE_ID).update(lambda found: _updated(found, wanted))


def _schedule(task_queue: str) -> Schedule:
    action = ScheduleActionStartWorkflow(
        UpkeepWorkflow.run,
        id=UPKEEP.lower(),
        task_queue=task_queue,
        static_summary="Upkeep: runs beside their workflows, messages left half sent",
        execution_timeout=LASTS * 3,
    )
    # Whatever keeps one workflow too long (a slow pass, no worker), the next starts the moment it ends.
    return Schedule(
        action=action,
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=LASTS)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.BUFFER_ONE),
    )


def _updated(found: ScheduleUpdateInput, wanted: Schedule) -> ScheduleUpdate:
    """Whether ops have paused it stays as it is."""
    wanted.state = found.description.schedule.state
    return ScheduleUpdate(wanted)
