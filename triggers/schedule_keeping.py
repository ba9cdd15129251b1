"""Temporal's schedules beside those that the database wants: what is missing or differs is put again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from temporalio.client import (
    Client,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionStartWorkflow,
)
from temporalio.service import RPCError, RPCStatusCode

from activities.executions import lacks_namespace
from database.session import Database
from database.undertakings import awaiting_schedule
from triggers.commands import DIGEST, PATIENCE, digest, put_schedule
from triggers.schedules import WantedSchedules, wanted_schedules


@dataclass(frozen=True, slots=True)
class Differences:
    """Ids of schedules that are missing, that are not as they should be, and that should not be there."""

    missing: list[str]
    differing: list[str]
    unwanted: list[str]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.missing) + len(self.differing) + len(self.unwanted)


async def compare_schedules(database: Database, client: Client) -> tuple[WantedSchedules, Differences]:
    """What differs now, but for what the relay has yet to send."""
    # Temporal first: a schedule that is there was published before, so the database knows whether it is wanted.
    listed = [each.id async for each in await client.list_schedules(rpc_timeout=PATIENCE)]
    async with database.read() as session:
        wanted = await wanted_schedules(session)
    seen = {id_: await _digest_of(client, id_) for id_ in wanted.by_id}
    missing = [id_ for id_, found in seen.items() if found is None]
    differing = [id_ for id_, found in seen.items() if found is not None and found != digest(wanted.by_id[id_])]
    unwanted = [id_ for id_ in listed if wanted.is_unwanted(id_)]
    async with database.read() as session:
        pending = await awaiting_schedule(session, [*missing, *differing, *unwanted])
    return wanted, Differences(*(_without(ids, pending) for ids in (missing, differing, unwanted)))


async def keep_schedules(database: Database, client: Client) -> tuple[WantedSchedules, Differences]:
    """Put again what is missing or differs, and take away what nobody wants. Answers what is wanted, and that."""
    wanted, found = await compare_schedules(database, client)
    for id_ in (*found.missing, *found.differing):
        await put_schedule(client, id_, wanted.by_id[id_])
    for id_ in found.unwanted:
        await _delete(client, id_)
    return wanted, found


async def recent_times(database: Database, client: Client) -> dict[str, datetime]:
    """The last times at which Temporal had journeys' schedules come round, by the id of what each started."""
    async with database.read() as session:
        wanted = await wanted_schedules(session)
    found: dict[str, datetime] = {}
    for id_ in wanted.by_id:
        if not id_.startswith("entry/"):
            continue
        try:
            described = await client.get_schedule_handle(id_).describe(rpc_timeout=PATIENCE)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND and not lacks_namespace(error):
                continue
            raise
        for each in described.info.recent_actions:
            if isinstance(each.action, ScheduleActionExecutionStartWorkflow):
                found[each.action.workflow_id] = each.scheduled_at
    return found


async def _digest_of(client: Client, schedule: str) -> str | None:
    """The digest of what the schedule starts, "" if it carries none; None if there is no such schedule."""
    try:
        described = await client.get_schedule_handle(schedule).describe(rpc_timeout=PATIENCE)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND and not lacks_namespace(error):
            return None
        raise
    action = described.schedule.action
    payload = (action.memo or {}).get(DIGEST) if isinstance(action, ScheduleActionStartWorkflow) else None
    if payload is None:
        return ""
    [found] = await client.data_converter.decode([payload])
    return str(found)


async def _delete(client: Client, schedule: str) -> None:
    try:
        await client.get_schedule_handle(schedule).delete(rpc_timeout=PATIENCE)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND or lacks_namespace(error):
            raise


def _without(ids: Iterable[str], pending: set[str]) -> list[str]:
    return [id_ for id_ in ids if id_ not in pending]
