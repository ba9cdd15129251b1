"""Runs beside their workflows: what ops did in Temporal (cancel, terminate, reset) is written to the run's row here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import exists, select, update

from database.definitions import JOURNEY
from database.documents import version_of
from database.outbox import Command, CommandKind, NewCommand, add_commands, start_command
from database.run_log import began_on
from database.runs import CLOSED, Run, Wait, can_reopen, cancel_waits, lock_run
from database.session import ReadSession, WriteSession
from domain.consent import TRANSACTIONAL
from domain.runs import JourneyInput, RunState


class BoundRun(NamedTuple):
    """A run and the Temporal execution that its row names."""

    id: UUID
    workflow_id: str
    state: str
    reason: str | None
    execution_id: str | None
    first_run_id: str | None


_BOUND = (Run.id, Run.workflow_id, Run.state, Run.reason, Run.execution_id, Run.first_run_id)


async def runs_of_workflows(session: ReadSession, workflow_ids: Collection[str]) -> dict[str, BoundRun]:
    """The runs of these workflows, by workflow id. By the unique key on it."""
    rows = await session.execute(select(*_BOUND).where(Run.workflow_id.in_(workflow_ids)))
    return {row.workflow_id: BoundRun(*row) for row in rows}


async def page_of_active_runs(
    session: ReadSession, *, after: UUID | None, entered_before: datetime, limit: int
) -> Sequence[BoundRun]:
    """Active runs by id, without those that have only just begun. By the primary key."""
    statement = select(*_BOUND).where(Run.state == RunState.ACTIVE, Run.entered_at < entered_before)
    if after is not None:
        statement = statement.where(Run.id > after)
    return [BoundRun(*row) for row in await session.execute(statement.order_by(Run.id).limit(limit))]


async def end_steered_run(
    session: WriteSession, run_id: UUID, *, state: RunState, reason: str, as_of: datetime
) -> bool:
    """Write that a run's workflow is over; False when the row was no longer active."""
    locked = await lock_run(session, run_id)
    if locked is None or locked.run.state != RunState.ACTIVE:
        return False
    run = locked.run
    run.state, run.reason, run.ended_at, run.waiting_for, run.held = state, reason, as_of, None, False
    await session.flush()
    await cancel_waits(session, Wait.run_id == run_id, as_of=as_of)
    return True


async def rebind_run(session: WriteSession, run_id: UUID, execution_id: str, *, first_run_id: str | None) -> bool:
    """A reset gave the workflow another execution: name it, and open the run again where that is allowed.

    One of another first execution is what Temporal has after it was restored: an active run is its from now on.
    Answers whether the run is active now. A wait that had been cancelled with the run stands again.
    """
    locked = await lock_run(session, run_id)
    if locked is None:
        return False
    run = locked.run
    is_other = None not in (run.first_run_id, first_run_id) and run.first_run_id != first_run_id
    if run.state != RunState.ACTIVE and can_reopen(run) and (not is_other or run.reason == CLOSED):
        run.state, run.reason, run.ended_at = RunState.ACTIVE, None, None
    if is_other and run.state == RunState.ACTIVE:
        run.first_run_id = first_run_id
    run.execution_id = execution_id
    return run.state == RunState.ACTIVE


async def start_again(session: WriteSession, run_id: UUID) -> bool:
    """The workflow of an active run is nowhere: ask the relay for a new one, unless it has yet to send the first.

    The new workflow walks from the start over what the run log holds, so nothing is done twice.
    """
    locked = await lock_run(session, run_id)
    if locked is None or locked.run.state != RunState.ACTIVE:
        return False
    run = locked.run
    waiting = select(Command.id).where(Command.workflow_id == run.workflow_id, Command.kind == CommandKind.START)
    if (await session.execute(waiting.limit(1))).first() is not None:
        return False
    run.first_run_id, run.execution_id = None, None
    await add_commands(session, await _starts(session, [run]))
    return True


@dataclass(frozen=True, slots=True)
class UnboundRun:
    """An active run whose row names no execution any more, what it named before, and what starts its workflow."""

    id: UUID
    start: NewCommand
    first_run_id: str | None
    execution_id: str | None


async def active_runs(
    session: ReadSession,
    *,
    after: UUID | None,
    since: datetime | None = None,
    before: datetime | None = None,
    limit: int,
) -> Sequence[tuple[UUID, str]]:
    """Active runs by id, with their workflows; only those entered since then, or by then. By the primary key."""
    statement = select(Run.id, Run.workflow_id).where(Run.state == RunState.ACTIVE)
    if after is not None:
        statement = statement.where(Run.id > after)
    if since is not None:
        statement = statement.where(Run.entered_at >= since)
    if before is not None:
        statement = statement.where(Run.entered_at <= before)
    return [(row.id, row.workflow_id) for row in await session.execute(statement.order_by(Run.id).limit(limit))]


async def unheard_runs(session: ReadSession, *, before: datetime, limit: int) -> Sequence[UUID]:
    """Active runs of which no workflow has spoken, and whose start was sent. By ix_runs_unbound."""
    sent = ~exists().where(Command.workflow_id == Run.workflow_id, Command.kind == CommandKind.START)
    silent = (Run.state == RunState.ACTIVE, Run.first_run_id.is_(None), Run.entered_at <= before)
    statement = select(Run.id).where(*silent, sent).order_by(Run.entered_at).limit(limit)
    return (await session.execute(statement)).scalars().all()


async def unbind_runs(session: WriteSession, ids: Collection[UUID]) -> Sequence[UnboundRun]:
    """Let these runs be bound by whatever execution speaks first; those that are active still, and nobody holds."""
    statement = select(Run).where(Run.id.in_(ids), Run.state == RunState.ACTIVE).order_by(Run.id)
    # Whoever decides about a customer locks the customer first, and then runs in any order: so wait for nobody here.
    statement = statement.with_for_update(skip_locked=True)
    runs = (await session.execute(statement)).scalars().all()
    starts = await _starts(session, runs)
    unbound = [
        UnboundRun(run.id, start, run.first_run_id, run.execution_id) for run, start in zip(runs, starts, strict=True)
    ]
    for run in runs:
        run.first_run_id, run.execution_id = None, None
    return unbound


async def release_rows(session: WriteSession, listed: Mapping[str, str]) -> list[str]:
    """Let active runs be bound by the execution that Temporal has (run ids by workflow id) where their rows name
    another one; answers their workflows. Rows that somebody holds are left to the sweep.
    """
    statement = select(Run).where(Run.workflow_id.in_(listed), Run.state == RunState.ACTIVE).order_by(Run.id)
    runs = (await session.execute(statement.with_for_update(skip_locked=True))).scalars().all()
    strange = [run for run in runs if run.execution_id not in (None, listed[run.workflow_id])]
    for run in strange:
        run.first_run_id, run.execution_id = None, None
    return [run.workflow_id for run in strange]


async def bind_again(session: WriteSession, run: UnboundRun) -> None:
    """Its execution is there after all."""
    mine = (Run.id == run.id, Run.first_run_id.is_(None))
    values = {"first_run_id": run.first_run_id, "execution_id": run.execution_id}
    await session.execute(update(Run).where(*mine).values(values))


async def still_active(session: ReadSession, ids: Collection[UUID]) -> set[UUID]:
    """Those of these runs that have not ended."""
    return set((await session.execute(select(Run.id).where(Run.id.in_(ids), Run.state == RunState.ACTIVE))).scalars())


async def _starts(session: ReadSession, runs: Sequence[Run]) -> list[NewCommand]:
    purposes = {}
    for journey, version in {(run.journey, run.version) for run in runs}:
        row = await version_of(session, JOURNEY, journey, version)
        purposes[journey, version] = None if row is None else row.document.get("purpose")
    began = await began_on(session, [run for run in runs if run.moves])
    return [
        _start(run, began.get(run.id, run.version), purposes[run.journey, run.version] == TRANSACTIONAL) for run in runs
    ]


def _start(run: Run, version: int, is_transactional: bool) -> NewCommand:
    given = JourneyInput(run_id=run.id, customer_id=run.customer_id, journey=run.journey, version=version)
    details = "Started again: the workflow of this run was gone."
    return start_command(given, run.workflow_id, title=run.journey, details=details, is_transactional=is_transactional)
