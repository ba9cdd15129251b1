"""Times of journeys' schedules that came while nobody fired them: Temporal was away, lost or older, or the schedule
was gone. What should have come round is asked of Temporal's own calendar, what has come round of our rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.workflowservice.v1 import ListScheduleMatchingTimesRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.executions import lacks_namespace
from database import schedule_fires
from database.session import Database
from database.undertakings import NewUndertaking
from triggers.commands import CATCH_UP, PATIENCE
from triggers.schedules import WantedSchedules, times_in_force


async def missed_times(
    database: Database, client: Client, wanted: WantedSchedules, *, since: datetime, until: datetime
) -> list[NewUndertaking]:
    """What enters the audiences of times after `since`, an hour back at most, that have no row. A time is entered under
    one id and one row, so one that Temporal fires as well is entered once.
    """
    since = max(since, until - CATCH_UP)
    async with database.read() as session:
        began = await times_in_force(session, wanted, at_least=since)
    due: list[NewUndertaking] = []
    for schedule, start in began.items():
        times = await _times(client, schedule, start, until) if start < until else []
        async with database.read() as session:
            due += await schedule_fires.unknown(session, schedule, times)
    return due


async def _times(client: Client, schedule: str, since: datetime, until: datetime) -> Sequence[datetime]:
    """By Temporal's calendar, after `since`; none of a schedule that it lacks, or that ops have paused there."""
    handle = client.get_schedule_handle(schedule)
    asked = ListScheduleMatchingTimesRequest(
        namespace=client.namespace, schedule_id=schedule, start_time=_stamp(since), end_time=_stamp(until)
    )
    try:
        answer = await client.workflow_service.list_schedule_matching_times(asked, timeout=PATIENCE)
        times = [each.ToDatetime(tzinfo=UTC) for each in answer.start_time]
        is_paused = bool(times) and (await handle.describe(rpc_timeout=PATIENCE)).schedule.state.paused
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND or lacks_namespace(error):
            raise
        return []
    return [] if is_paused else [time for time in times if since < time <= until]


def _stamp(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
