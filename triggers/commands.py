"""How each command becomes one call to Temporal, and which answers mean that it is done. Shapes of payloads are here.

- `start`: `{"workflow", "input", "queue"?, "attributes"?, "summary"?, "details"?, "is_first"?}`
- `wake`, `cancel`, `terminate`: `{}`, and `{"reason"}` for `terminate`
- `schedule`: `{"workflow", "input", "cron", "zone", "paused", "summary"?}`; `unschedule`: `{}`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, assert_never

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
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

from database.outbox import CommandKind, PendingCommand

QUEUE = "journeys"
WAKE = "wake"
_FIRST = Priority(priority_key=1)  # of five; what has no priority is in the middle
PATIENCE: Final = timedelta(seconds=5)
"""How long one call to Temporal may take before Temporal counts as away."""
_CATCH_UP = timedelta(hours=1)
"""How late a schedule may still fire after Temporal was away."""

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
        return error.status in _OUTAGES or _lacks_namespace(error)
    return isinstance(error, RuntimeError | OSError | TimeoutError)  # a client that could not connect


def _lacks_namespace(error: RPCError) -> bool:
    return error.status is RPCStatusCode.NOT_FOUND and "amespace" in error.message


async def carry_out(client: Client, command: PendingCommand, patience: timedelta = PATIENCE) -> None:
    """Tell Temporal. Repeating a command does no harm, and what is over already counts as done. Raises RPCError, also
    when a call takes longer than our patience.
    """
    match command.kind:
        case CommandKind.START:
            await _start(client, command, patience)
        case CommandKind.SCHEDULE:
            await _schedule(client, command, patience)
        case CommandKind.WAKE | CommandKind.CANCEL | CommandKind.TERMINATE | CommandKind.UNSCHEDULE:
            await _unless_gone(client, command, patience)
        case _:
            assert_never(command.kind)


async def _start(client: Client, command: PendingCommand, patience: timedelta) -> None:
    """Start once, ever: a running workflow of that id is used, a closed one is never started again."""
    told = command.payload
    try:
        await client.start_workflow(
            told["workflow"],
            told["input"],
            id=command.workflow_id,
            task_queue=told.get("queue", QUEUE),
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            search_attributes=_attributes(told.get("attributes", {})),
            static_summary=told.get("summary"),
            static_details=told.get("details"),
            priority=_FIRST if told.get("is_first") else Priority.default,
            rpc_timeout=patience,
        )
    except WorkflowAlreadyStartedError:
        return


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
        if error.status is not RPCStatusCode.NOT_FOUND or _lacks_namespace(error):
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


async def _schedule(client: Client, command: PendingCommand, patience: timedelta) -> None:
    """Create the schedule, or make the one that is there like this."""
    schedule = _schedule_of(command)
    try:
        await client.create_schedule(command.workflow_id, schedule, rpc_timeout=patience)
    except ScheduleAlreadyRunningError:

        def replace(_: ScheduleUpdateInput) -> ScheduleUpdate:
            return ScheduleUpdate(schedule)

        await client.get_schedule_handle(command.workflow_id).update(replace, rpc_timeout=patience)


def _schedule_of(command: PendingCommand) -> Schedule:
    told = command.payload
    action = ScheduleActionStartWorkflow(
        told["workflow"],
        args=[] if told["input"] is None else [told["input"]],
        id=command.workflow_id,
        task_queue=told.get("queue", QUEUE),
        static_summary=told.get("summary"),
    )
    return Schedule(
        action=action,
        spec=ScheduleSpec(cron_expressions=[told["cron"]], time_zone_name=told["zone"]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.BUFFER_ONE, catchup_window=_CATCH_UP),
        state=ScheduleState(paused=told["paused"]),
    )
