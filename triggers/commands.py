"""How each command becomes one call to Temporal, and which answers mean that it is done. Shapes of payloads are here.

- `start`: `{"workflow", "input", "queue"?, "attributes"?, "summary"?, "details"?, "is_first"?}`
- `wake`, `cancel`, `terminate`: `{}`, and `{"reason"}` for `terminate`
- `schedule`: `{"workflow", "input", "summary"?}` with `"cron", "zone", "paused"`, or for schedules of our own `"every",
  "lasts"`, both in seconds, `"each"?` (missed times one by one) and `"catch_up"?` seconds; `unschedule`: `{}`
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, assert_never

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.common import (
    Priority,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.executions import lacks_namespace
from database.outbox import CommandKind, PendingCommand

QUEUE = "journeys"
WAKE = "wake"
_FIRST = Priority(priority_key=1)  # of five; what has no priority is in the middle
PATIENCE: Final = timedelta(seconds=5)
"""How long one call to Temporal may take before Temporal counts as away."""
CATCH_UP: Final = timedelta(hours=1)
"""How late a schedule may still fire after Temporal was away."""
DIGEST: Final = "digest"

_OUTAGES = (
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,  # what the SDK says when a call has had no answer within its `rpc_timeout`
    RPCStatusCode.RESOURCE_EXHAUSTED,
)


def coalesced(commands: Sequence[PendingCommand]) -> list[list[PendingCommand]]:
    """A workflow's commands as calls: wakes that follow one another are one call."""
    calls: list[list[PendingCommand]] = []
    for command in commands:
        if calls and command.kind is CommandKind.WAKE and calls[-1][-1].kind is CommandKind.WAKE:
            calls[-1].append(command)
        else:
            calls.append([command])
    return calls


def is_outage(error: Exception) -> bool:
    """Whether Temporal could not be asked at all: nothing is wrong with the command, later is fine."""
    if isinstance(error, RPCError):
        return error.status in _OUTAGES or lacks_namespace(error)
    return isinstance(error, RuntimeError | OSError | TimeoutError)  # a client that could not connect


async def carry_out(client: Client, command: PendingCommand, patience: timedelta = PATIENCE) -> None:
    """Tell Temporal. Repeating a command does no harm, and what is over already counts as done. Raises RPCError, also
    when a call takes longer than our patience.
    """
    match command.kind:
        case CommandKind.START:
            await _start(client, command, patience)
        case CommandKind.SCHEDULE:
            await put_schedule(client, command.workflow_id, command.payload, patience)
        case CommandKind.WAKE | CommandKind.CANCEL | CommandKind.TERMINATE | CommandKind.UNSCHEDULE:
            await _unless_gone(client, command, patience)
        case _:
            assert_never(command.kind)


async def _start(client: Client, command: PendingCommand, patience: timedelta) -> None:
    """Start once, ever: a running workflow of that id is used, a closed one is never started again."""
    await start_workflow(client, command.workflow_id, command.payload, patience)


async def start_workflow(
    client: Client,
    workflow_id: str,
    told: Mapping[str, Any],
    patience: timedelta = PATIENCE,
    *,
    again: bool = False,
) -> bool:
    """Whether there is a new execution: none where one is under way, nor, but for `again`, where one has ended."""
    try:
        await client.start_workflow(
            told["workflow"],
            told["input"],
            id=workflow_id,
            task_queue=told.get("queue", QUEUE),
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE if again else WorkflowIDReusePolicy.REJECT_DUPLICATE,
            search_attributes=_attributes(told.get("attributes", {})),
            static_summary=told.get("summary"),
            static_details=told.get("details"),
            priority=_FIRST if told.get("is_first") else Priority.default,
            rpc_timeout=patience,
        )
    except WorkflowAlreadyStartedError:
        return False
    return True


def _attributes(told: Mapping[str, Any]) -> TypedSearchAttributes:
    pairs: list[SearchAttributePair[Any]] = [
        SearchAttributePair(SearchAttributeKey.for_int(name), value)
        if isinstance(value, int)
        else SearchAttributePair(SearchAttributeKey.for_keyword(name), value)
        for name, value in told.items()
    ]
    return TypedSearchAttributes(pairs)


async def _unless_gone(client: Client, command: PendingCommand, patience: timedelta) -> None:
    """Reach a workflow or schedule; one that has ended, or is forgotten, needs it no more."""
    try:
        await _reach(client, command, patience)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND or lacks_namespace(error):
            raise


async def _reach(client: Client, command: PendingCommand, patience: timedelta) -> None:
    if command.kind is CommandKind.UNSCHEDULE:
        await client.get_schedule_handle(command.workflow_id).delete(rpc_timeout=patience)
        return
    handle = client.get_workflow_handle(command.workflow_id)
    if command.kind is CommandKind.WAKE:
        await handle.signal(WAKE, rpc_timeout=patience)
    elif command.kind is CommandKind.CANCEL:
        await handle.cancel(rpc_timeout=patience)
    else:
        await handle.terminate(reason=command.payload.get("reason"), rpc_timeout=patience)


async def put_schedule(
    client: Client, schedule_id: str, told: Mapping[str, Any], patience: timedelta = PATIENCE
) -> bool:
    """Create the schedule, or make the one that is there like this; whether it is new.

    A schedule that says nothing of `paused` is ours forever: it begins at once, and whether ops have paused it stays.
    """
    schedule, is_ours = _schedule_of(schedule_id, told), "paused" not in told
    try:
        await client.create_schedule(schedule_id, schedule, trigger_immediately=is_ours, rpc_timeout=patience)
    except ScheduleAlreadyRunningError:

        def replace(found: ScheduleUpdateInput) -> ScheduleUpdate:
            if is_ours:
                schedule.state = found.description.schedule.state
            return ScheduleUpdate(schedule)

        await client.get_schedule_handle(schedule_id).update(replace, rpc_timeout=patience)
        return False
    return True


def digest(told: Mapping[str, Any]) -> str:
    """What tells whether a schedule is still as it was told: kept in the memo of what it starts."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _schedule_of(schedule_id: str, told: Mapping[str, Any]) -> Schedule:
    lasts = told.get("lasts")
    action = ScheduleActionStartWorkflow(
        told["workflow"],
        args=[] if told["input"] is None else [told["input"]],
        id=schedule_id,
        task_queue=told.get("queue", QUEUE),
        static_summary=told.get("summary"),
        execution_timeout=None if lasts is None else timedelta(seconds=lasts),
        memo={DIGEST: digest(told)},
    )
    return Schedule(
        action=action,
        spec=_spec_of(told),
        policy=SchedulePolicy(
            overlap=ScheduleOverlapPolicy.BUFFER_ALL if told.get("each") else ScheduleOverlapPolicy.BUFFER_ONE,
            catchup_window=timedelta(seconds=told.get("catch_up", CATCH_UP.total_seconds())),
        ),
        state=ScheduleState(paused=told.get("paused", False)),
    )


def _spec_of(told: Mapping[str, Any]) -> ScheduleSpec:
    if "every" in told:
        return ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(seconds=told["every"]))])
    return ScheduleSpec(cron_expressions=[told["cron"]], time_zone_name=told["zone"])
