"""Compares runs with their workflows, so that what ops do in Temporal shows in the run's row within a minute."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from temporalio import activity
from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from activities.executions import delete_execution, is_marked, lacks_namespace
from database.marks import KnownMark, last_mark
from database.reconciliation import (
    BoundRun,
    end_steered_run,
    page_of_active_runs,
    rebind_run,
    runs_of_workflows,
    start_again,
)
from database.runs import CLOSED
from database.session import Database
from domain.runs import RunState

PAGE = 200
"""Rows and workflows that one pass looks at beyond what has just changed."""

_OVERLAP = timedelta(minutes=2)
"""How far a pass looks back beyond the one before: visibility lags behind."""
_YOUNG = timedelta(minutes=1)
"""A run or workflow this young may be missing its counterpart for good reasons."""

_PATIENCE = timedelta(seconds=5)
"""How long Temporal is given to describe the mark."""

_ENDS = {
    WorkflowExecutionStatus.TERMINATED: (RunState.EXITED, "terminated"),
    WorkflowExecutionStatus.CANCELED: (RunState.EXITED, "cancelled"),
    WorkflowExecutionStatus.TIMED_OUT: (RunState.FAILED, "workflow_timed_out"),
    WorkflowExecutionStatus.FAILED: (RunState.FAILED, "workflow_failed"),
    WorkflowExecutionStatus.COMPLETED: (RunState.FAILED, CLOSED),
}


class ReconcileInput(BaseModel):
    """Since when changes count, and where the slow sweep of all active runs goes on (None: at the start)."""

    model_config = ConfigDict(frozen=True)

    since: datetime
    as_of: datetime
    after: UUID | None = None


class Reconciled(BaseModel):
    """What one pass mended, and where the next goes on."""

    model_config = ConfigDict(frozen=True)

    after: UUID | None = None
    ended: int = 0
    rebound: int = 0
    restarted: int = 0
    deleted: int = 0


class ReconciliationActivities:
    """One pass looks at what has just closed or started, and at one page of all active runs."""

    def __init__(self, database: Database, client: Client) -> None:
        self._database = database
        self._client = client

    @activity.defn
    async def reconcile_runs(self, asked: ReconcileInput) -> Reconciled:
        """Compare, and mend what differs. Repeatable.

        Raises ApplicationError where Temporal lacks the router's mark: lost or older, it says nothing of runs, and the
        router brings back what is under way. The next pass then looks at the same changes.
        """
        await self._verify_mark()
        since = asked.since - _OVERLAP
        counts = {"ended": 0, "rebound": 0, "restarted": 0, "deleted": 0}
        for execution in [*await self._closed(since), *await self._started(since)]:
            self._beat()
            await self._compare(execution, asked.as_of, counts)
        page = await self._page(asked)
        for run in page:
            self._beat()
            await self._look_after(run, asked.as_of, counts)
        return Reconciled(after=page[-1].id if len(page) == PAGE else None, **counts)

    async def _closed(self, since: datetime) -> Sequence[WorkflowExecution]:
        """Workflows that were ended from outside; those that completed have written their end themselves."""
        ended = "ExecutionStatus IN ('Terminated', 'Canceled', 'Failed', 'TimedOut')"
        return await self._list(f"Journey IS NOT NULL AND {ended} AND CloseTime >= '{since.isoformat()}'")

    async def _started(self, since: datetime) -> Sequence[WorkflowExecution]:
        """Executions that are new: first ones, and those that a reset made."""
        running = "ExecutionStatus = 'Running'"
        return await self._list(f"Journey IS NOT NULL AND {running} AND StartTime >= '{since.isoformat()}'")

    async def _list(self, query: str) -> Sequence[WorkflowExecution]:
        """Only those whose run's row says otherwise."""
        differing: list[WorkflowExecution] = []
        page: list[WorkflowExecution] = []
        async for execution in self._client.list_workflows(query, page_size=PAGE):
            page.append(execution)
            if len(page) == PAGE:
                differing += await self._differing(page)
                page = []
        return differing + await self._differing(page)

    async def _differing(self, page: Sequence[WorkflowExecution]) -> list[WorkflowExecution]:
        async with self._database.read() as session:
            runs = await runs_of_workflows(session, [execution.id for execution in page])
        return [execution for execution in page if _differs(execution, runs.get(execution.id))]

    async def _compare(self, execution: WorkflowExecution, as_of: datetime, counts: dict[str, int]) -> None:
        async with self._database.read() as session:
            run = (await runs_of_workflows(session, [execution.id])).get(execution.id)
        if run is not None:
            await self._look_after(run, as_of, counts)
        elif _is_running(execution) and as_of - execution.start_time > _YOUNG:
            await self._verify_mark()
            await self._delete(execution)
            counts["deleted"] += 1

    async def _look_after(self, run: BoundRun, as_of: datetime, counts: dict[str, int]) -> None:
        """Make the row say what the workflow's latest execution is."""
        latest = await self._latest(run.workflow_id)
        if latest is not None and not _differs(latest, run):
            return
        await self._verify_mark()  # after Temporal was asked: it may have been put back during this pass
        if latest is not None and _is_running(latest):
            await self._rebind(run, latest)
            counts["rebound"] += 1
        elif latest is None or not _is_of(latest, run):
            # Gone, or closed under an execution that the row does not know: that is no end of this run.
            async with self._database.transaction() as session:
                counts["restarted"] += await start_again(session, run.id)
        elif latest.status in _ENDS:
            state, reason = _ENDS[latest.status]
            async with self._database.transaction() as session:
                counts["ended"] += await end_steered_run(session, run.id, state=state, reason=reason, as_of=as_of)

    async def _rebind(self, run: BoundRun, latest: WorkflowExecution) -> None:
        """The row first, then the workflow: woken, it asks again and walks on, or ends as its row has."""
        async with self._database.transaction() as session:
            await rebind_run(session, run.id, latest.run_id, first_run_id=_first_run_id(latest))
        await self._client.get_workflow_handle(run.workflow_id).signal("wake")

    async def _verify_mark(self) -> None:
        """Nothing is concluded from a Temporal that is not the one we know."""
        async with self._database.read() as session:
            row = await last_mark(session)
            mark = KnownMark() if row is None else KnownMark(row.workflow_id, row.execution_id, row.marked_at)
        if not await is_marked(self._client, mark, _PATIENCE):
            raise ApplicationError("Temporal lacks the router's mark: runs are not compared with it", type="not_marked")

    async def _latest(self, workflow_id: str) -> WorkflowExecution | None:
        try:
            return await self._client.get_workflow_handle(workflow_id).describe()
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND and not lacks_namespace(error):
                return None
            raise

    async def _delete(self, execution: WorkflowExecution) -> None:
        """A workflow without a run has nothing to do: its customer was erased, or an older database was restored."""
        await delete_execution(self._client, execution.id, execution.run_id)

    async def _page(self, asked: ReconcileInput) -> Sequence[BoundRun]:
        async with self._database.read() as session:
            before = asked.as_of - _YOUNG
            return await page_of_active_runs(session, after=asked.after, entered_before=before, limit=PAGE)

    def _beat(self) -> None:
        if activity.in_activity():
            activity.heartbeat()


def _differs(execution: WorkflowExecution, run: BoundRun | None) -> bool:
    if run is None:
        return True
    if _is_running(execution):
        return run.execution_id not in (None, execution.run_id)
    return run.state == RunState.ACTIVE


def _is_of(execution: WorkflowExecution, run: BoundRun) -> bool:
    """Whether a closed execution is of the run that the row knows: itself, or of the chain that resets and
    continuations make. A row that knows none takes what ops ended, but not what gave way to another execution.
    """
    if run.first_run_id is None:
        return execution.status != WorkflowExecutionStatus.COMPLETED
    return execution.run_id == run.execution_id or _first_run_id(execution) == run.first_run_id


def _first_run_id(execution: WorkflowExecution) -> str | None:
    """The first execution of its chain, where this Temporal says it."""
    return execution.raw_info.first_run_id or None


def _is_running(execution: WorkflowExecution) -> bool:
    return execution.status == WorkflowExecutionStatus.RUNNING
