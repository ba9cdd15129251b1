"""Temporal Schedules that a deployment has one of for ever, kept by whichever process starts first."""

from __future__ import annotations

from temporalio.client import Client, Schedule, ScheduleAlreadyRunningError, ScheduleUpdate, ScheduleUpdateInput


async def keep_schedule(client: Client, schedule_id: str, wanted: Schedule) -> None:
    """Create the schedule and run it at once, or bring it to what this release wants; whether ops have paused it stays
    as it is. Repeatable, from several processes at once.
    """

    def update(found: ScheduleUpdateInput) -> ScheduleUpdate:
        wanted.state = found.description.schedule.state
        return ScheduleUpdate(wanted)

    try:
        await client.create_schedule(schedule_id, wanted, trigger_immediately=True)
    except ScheduleAlreadyRunningError:
        await client.get_schedule_handle(schedule_id).update(update)
