"""After Temporal was lost, or is older than the database: what should be under way is started, what should not is
deleted. Doubles cannot arise, because every effect is keyed in the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, TypeVar
from uuid import UUID

import structlog
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from activities.executions import delete_execution, lacks_namespace
from database import reconciliation, schedule_fires, undertakings
from database.customers import erased_since
from database.reconciliation import UnboundRun
from database.session import Database
from database.undertakings import NewUndertaking
from domain.runs import RunState
from triggers.commands import PATIENCE, WAKE, is_outage, start_workflow

log = structlog.get_logger(__name__)
T = TypeVar("T")

STARTS_PER_SECOND = 200
_CALLS_AT_ONCE = 50
_PAGE = 200
_LISTED = 1_000
_REMEMBERED = timedelta(days=90)
"""How far back executions of erased customers are looked for: longer than Temporal keeps what has ended."""
_CUSTOMERS_AT_ONCE = 50
_TRIES = 20
_HELD_SECONDS = 0.25

OPEN = "ExecutionStatus = 'Running'"
_KEPT = ("journey/", "erasure/", "redemption/", "referral/", "dates/", "entry/")
"""How the ids of workflows begin that the database knows of; others are not ours to judge."""


@dataclass(slots=True)
class Recovered:
    """What was done: schedules put again, workflows started, executions deleted; `refused`: starts that failed."""

    schedules: int = 0
    undertakings: int = 0
    runs: int = 0
    deleted: int = 0
    refused: int = 0

    def __bool__(self) -> bool:
        return bool(self.schedules or self.undertakings or self.runs or self.deleted)


@dataclass(frozen=True, slots=True)
class Execution:
    """One open execution."""

    workflow_id: str
    run_id: str


@dataclass(slots=True)
class Recovery:
    """Compares and mends, a page at a time; no connection to the database is held while Temporal is asked.

    `beat` is called between pages, so that whoever has the turn keeps it; it raises when the turn has passed on.
    """

    database: Database
    client: Client
    beat: Callable[[], Awaitable[None]]
    patience: timedelta = PATIENCE
    done: Recovered = field(default_factory=Recovered)

    async def listed(self, since: datetime | None = None) -> list[Execution]:
        """Every open execution of workflows that the database knows of, as Temporal lists them; or begun since then."""
        found, query = [], OPEN if since is None else f"{OPEN} AND StartTime >= '{since.isoformat()}'"
        async for each in self.client.list_workflows(query, page_size=_LISTED, rpc_timeout=2 * self.patience):
            if each.id.startswith(_KEPT):
                found.append(Execution(each.id, each.run_id))
            if len(found) % _LISTED == 0:
                await self.beat()
        return found

    async def delete_orphans(self, listed: Sequence[Execution]) -> None:
        """Delete executions without a row, of runs that have ended and of undertakings that are done."""
        for page in _pages(listed, _LISTED):
            wanted = await known_as_open(self.database, [each.workflow_id for each in page])
            await self._delete([each for each in page if each.workflow_id not in wanted])

    async def release_rows(self, listed: Sequence[Execution]) -> None:
        """Rows that name another execution than the living one, as after an older copy was put back: it takes over."""
        for page in _pages(listed, _PAGE):
            async with self.database.transaction() as session:
                free = await reconciliation.release_rows(session, {each.workflow_id: each.run_id for each in page})
            await self._paced([self._wake(workflow_id) for workflow_id in free])

    async def forget_erased(self, as_of: datetime) -> None:
        """Delete what a restore has brought back of erased customers, closed executions too (G24)."""
        async with self.database.read() as session:
            erased = await erased_since(session, as_of - _REMEMBERED)
        for page in _pages(erased, _CUSTOMERS_AT_ONCE):
            query = f"CustomerId IN ({', '.join(repr(str(customer)) for customer in page)})"
            listed = self.client.list_workflows(query, rpc_timeout=2 * self.patience)
            await self._delete([Execution(each.id, each.run_id) async for each in listed])

    async def start_undertakings(
        self, as_of: datetime, *, listed: Collection[str] = (), since: datetime | None = None
    ) -> None:
        """Start what is open and not listed; erasures, holds and the like, and schedules' times not entered whole."""
        async with self.database.read() as session:
            fires = await schedule_fires.open_fires(session, before=as_of, limit=_PAGE)
        await self.start_some([fire for fire in fires if fire.workflow_id not in listed])
        after = ""
        while page := await self._open(after, since):
            await self.start_some([each for each in page if each.workflow_id not in listed])
            after = page[-1].workflow_id

    async def start_some(self, some: Sequence[NewUndertaking]) -> None:
        """Start these unless they are under way. One that has ended and is not done begins again."""
        calls = [self._start(each.workflow_id, each.command.payload, again=True) for each in some]
        started = await self._paced(calls)
        self.done.undertakings += sum(started)

    async def start_runs(self, *, listed: Collection[str] = (), since: datetime | None = None) -> None:
        """Start the workflows of active runs that are not listed."""
        after = None
        while page := await self._runs(after, since):
            await self.start_these_runs([id_ for id_, workflow_id in page if workflow_id not in listed])
            after = page[-1][0]

    async def start_these_runs(self, ids: Collection[UUID]) -> None:
        """Start the workflows of these runs unless they are under way; whom somebody holds, a little later."""
        left = set(ids)
        for _ in range(_TRIES):
            if not left:
                return
            async with self.database.transaction() as session:
                runs = await reconciliation.unbind_runs(session, left)
            await self._start_unbound(runs)
            async with self.database.read() as session:
                left = await reconciliation.still_active(session, left - {run.id for run in runs})
            await asyncio.sleep(_HELD_SECONDS if left else 0)

    async def _start_unbound(self, runs: Sequence[UnboundRun]) -> None:
        started = await self._paced([self._start(run.start.workflow_id, run.start.payload) for run in runs])
        self.done.runs += sum(started)
        for run in [run for run, is_new in zip(runs, started, strict=True) if not is_new]:
            await self._look_again(run)

    async def _look_again(self, run: UnboundRun) -> None:
        """There is an execution of this id: it is under way, or an older Temporal says that it has ended."""
        if await self._is_running(run.start.workflow_id):
            async with self.database.transaction() as session:
                await reconciliation.bind_again(session, run)
            return
        async with self.database.read() as session:
            active = await reconciliation.still_active(session, [run.id])
        if active:
            self.done.runs += await self._start(run.start.workflow_id, run.start.payload, again=True)

    async def _is_running(self, workflow_id: str) -> bool:
        try:
            described = await self.client.get_workflow_handle(workflow_id).describe(rpc_timeout=self.patience)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND and not lacks_namespace(error):
                return False
            raise
        return described.status is WorkflowExecutionStatus.RUNNING

    async def _wake(self, workflow_id: str) -> None:
        """It asks, and its row is bound to it."""
        try:
            await self.client.get_workflow_handle(workflow_id).signal(WAKE, rpc_timeout=self.patience)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND or lacks_namespace(error):
                raise

    async def _start(self, workflow_id: str, payload: Mapping[str, Any], *, again: bool = False) -> bool:
        """Whether it is new. One that Temporal refuses does not keep the others from coming back."""
        try:
            return await start_workflow(self.client, workflow_id, payload, self.patience, again=again)
        except RPCError as error:
            if is_outage(error):
                raise
            self.done.refused += 1
            log.error("Temporal refused to start a workflow", workflow_id=workflow_id, error=repr(error))  # noqa: TRY400
            return False

    async def _delete(self, executions: Sequence[Execution]) -> None:
        calls = [
            delete_execution(self.client, each.workflow_id, each.run_id, patience=self.patience) for each in executions
        ]
        await self._paced(calls)
        self.done.deleted += len(executions)

    async def _paced(self, calls: Sequence[Awaitable[T]]) -> list[T]:
        """So many at once, and no more in a second than Temporal is asked to bear."""
        begun, gate = monotonic(), asyncio.Semaphore(_CALLS_AT_ONCE)

        async def gated(call: Awaitable[T]) -> T:
            async with gate:
                return await call

        results = await asyncio.gather(*(gated(call) for call in calls))
        await self.beat()
        await asyncio.sleep(max(0.0, len(calls) / STARTS_PER_SECOND - (monotonic() - begun)))
        return results

    async def _open(self, after: str, since: datetime | None) -> list[NewUndertaking]:
        async with self.database.read() as session:
            return await undertakings.open_undertakings(session, after=after, limit=_PAGE, since=since)

    async def _runs(self, after: UUID | None, since: datetime | None) -> Sequence[tuple[UUID, str]]:
        async with self.database.read() as session:
            return await reconciliation.active_runs(session, after=after, since=since, limit=_PAGE)


async def known_as_open(database: Database, workflow_ids: Sequence[str]) -> set[str]:
    """Those of these workflows that should be under way."""
    async with database.read() as session:
        runs = await reconciliation.runs_of_workflows(session, workflow_ids)
        active = {id_ for id_, run in runs.items() if run.state == RunState.ACTIVE}
        undertaken = await undertakings.known_as_open(session, workflow_ids)
        return active | undertaken | await schedule_fires.known_as_open(session, workflow_ids)


def _pages(items: Iterable[T], size: int) -> Iterable[list[T]]:
    held = list(items)
    return (held[start : start + size] for start in range(0, len(held), size))
