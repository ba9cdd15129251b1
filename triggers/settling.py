"""The Temporal Schedule of the loyalty programme's time jobs (workflows/settling.py): one, whoever starts first."""

from __future__ import annotations

from datetime import timedelta

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
from workflows.settling import EVERY, SETTLING, SettlingInput, SettlingWorkflow

SCHEDULE_ID = "loyalty"
_CAUGHT_UP = timedelta(days=7)
"""Passes that were missed while Temporal was away run in order; what is older is due in the first of them."""


async def schedule_settling(client: Client, *, task_queue: str) -> None:
    """Keep the schedule. Repeatable, from several processes at once."""
    await keep_schedule(client, SCHEDULE_ID, _schedule(task_queue))


def _schedule(task_queue: str) -> Schedule:
    action = ScheduleActionStartWorkflow(
        SettlingWorkflow.run,
        SettlingInput(),
        id=SETTLING.lower(),
        task_queue=task_queue,
        static_summary="Loyalty: points that activate, expire or time out",
        execution_timeout=EVERY * 12,
    )
    return Schedule(
        action=action,
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=EVERY)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.BUFFER_ALL, catchup_window=_CAUGHT_UP),
    )
