"""The Temporal Schedule of the deployment's upkeep (workflows/upkeep.py): one, whoever starts first."""

from __future__ import annotations

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
)

from triggers.standing_schedules import keep_schedule
from workflows.upkeep import LASTS, UPKEEP, UpkeepWorkflow

SCHEDULE_ID = "upkeep"


async def schedule_upkeep(client: Client, *, task_queue: str) -> None:
    """Keep the schedule. Repeatable, from several processes at once."""
    await keep_schedule(client, SCHEDULE_ID, _schedule(task_queue))


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
