"""What a marketer decided about many runs at once: archived, moved, finished or woken, a page of them at a time.

The row is written in the transaction of the decision and holds from then on: whoever works on a run asks whether an
open change concerns it. Pages only catch up, so a crash between two of them costs time and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Index, ScalarSelect, SQLColumnExpression, func, literal, select, text, update
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import Mapped, mapped_column

from database.base import JsonList, Table
from database.customers import Customer
from database.outbox import CommandKind, NewCommand, add_commands
from database.runs import Run, RunStep, end_runs
from database.session import ReadSession, WriteSession
from domain.ids import new_id
from domain.journeys.plan import FINISHED
from domain.runs import RunState

STANDS = ("waiting", "held")
"""Outcomes of a step at which a run stands and can be moved."""
AT_ONCE = 500
"""Up to so many runs are changed in the transaction of the decision."""
PAGE = 300
ARCHIVED = "archived"


class RunChangeKind(StrEnum):
    """What becomes of the runs."""

    ARCHIVE = "archive"
    FINISH = "finish"
    MOVE = "move"
    WAKE = "wake"


_REASONS: Final[Mapping[str, str]] = {RunChangeKind.ARCHIVE: ARCHIVED, RunChangeKind.FINISH: FINISHED}
"""Of the changes that end runs: the reason that the run then shows."""


class RunChange(Table):
    """One decision about the active runs of a journey's versions before `before`, at `steps` (None: wherever)."""

    __tablename__ = "run_changes"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    journey: Mapped[str]
    kind: Mapped[str]
    before: Mapped[int]  # for a move also the version to which the runs go
    steps: Mapped[JsonList | None]
    runs: Mapped[int]  # how many there were when it was decided
    carried_out: Mapped[int] = mapped_column(server_default=text("0"))
    decided_at: Mapped[datetime]
    done_at: Mapped[datetime | None]

    __table_args__ = (
        Index("ix_run_changes_open", "journey", "id", postgresql_where=text("done_at IS NULL")),
        Index("ix_run_changes_journey", "journey", "id"),
    )


@dataclass(frozen=True, slots=True)
class NewRunChange:
    """What was decided about a journey's runs."""

    journey: str
    kind: RunChangeKind
    before: int
    steps: Sequence[str] | None = None

    @property
    def which(self) -> ColumnElement[bool]:
        """The runs that it concerns and that have not been changed. Relies on ix_runs_journey."""
        runs = (Run.journey == self.journey) & (Run.state == RunState.ACTIVE) & (Run.version < self.before)
        if self.steps is not None:
            runs &= Run.step.in_(self.steps)
        match self.kind:
            case RunChangeKind.MOVE:
                return runs & _STANDS
            case RunChangeKind.WAKE:
                return runs & Run.held
            case _:
                return runs


# Asked of one run after another, by the key of its log: a join would read the log of all.
_STANDS = (
    select(RunStep.outcome)
    .where(RunStep.run_id == Run.id, RunStep.step == Run.step)
    .order_by(RunStep.visit.desc())
    .limit(1)
    .correlate(Run)
    .scalar_subquery()
    .in_(STANDS)
)

OpenChanges = list[list[Any]] | None
"""Changes as one column: `[kind, before, steps]` each."""


@dataclass(frozen=True, slots=True)
class Affected:
    """How many runs a change has reached, and how many are still to come."""

    done: int
    left: int


# Deciding ----------------------------------------------------------------------------------------


async def decide(session: WriteSession, change: NewRunChange, as_of: datetime) -> Affected:
    """Change a few runs now; of many, write down what is to be done, which holds from the commit on."""
    count = await _count(session, change)
    if count == 0:
        return Affected(0, 0)
    row = RunChange(
        id=new_id(),
        journey=change.journey,
        kind=change.kind,
        before=change.before,
        steps=None if change.steps is None else list(change.steps),
        runs=count,
        carried_out=0,
        decided_at=as_of,
    )
    session.add(row)
    if count <= AT_ONCE:
        row.carried_out, row.done_at = await _carry_out(session, change, AT_ONCE, as_of), as_of
        return Affected(row.carried_out, 0)
    await session.flush()
    await _let_steps_end(session, change.journey)
    return Affected(0, count)


async def _count(session: ReadSession, change: NewRunChange) -> int:
    return (await session.execute(select(func.count()).select_from(Run).where(change.which))).scalar_one()


async def _let_steps_end(session: WriteSession, journey: str) -> None:
    """Wait for the steps that are in a transaction now: each later one sees the change.

    After this no message is claimed for a run that the change ends.
    """
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"steps/{journey}", 0))))


# What holds before its page has come -------------------------------------------------------------


async def see_changes(session: WriteSession, journey: str) -> None:
    """From here until the transaction ends, no change is decided that its next statements do not see."""
    await session.execute(select(func.pg_advisory_xact_lock_shared(func.hashtextextended(f"steps/{journey}", 0))))


def open_changes(journey: SQLColumnExpression[str]) -> ScalarSelect[OpenChanges]:
    """The changes of a journey that are not carried out whole, as one column, for `meet_changes`."""
    told = func.jsonb_build_array(RunChange.kind, RunChange.before, RunChange.steps)
    return (
        select(func.jsonb_agg(aggregate_order_by(told, RunChange.id)))
        .where(RunChange.journey == journey, RunChange.done_at.is_(None))
        .scalar_subquery()
    )


async def meet_changes(
    session: WriteSession, run: Run, row: RunStep | None, found: OpenChanges, as_of: datetime
) -> bool:
    """Do to a locked run what open changes say about it; whether it has ended. `row` is the step that it asks about."""
    for kind, before, steps in found or ():
        if run.version >= before or (steps is not None and run.step not in steps):
            continue
        if reason := _REASONS.get(kind):
            await end_runs(session, Run.id == run.id, reason=reason, as_of=as_of)
            await session.refresh(run)
            return True
        if kind == RunChangeKind.MOVE and row is not None and row.step == run.step and row.outcome in STANDS:
            run.moves = [*run.moves, [run.version, before, as_of.isoformat()]]
            run.version = before
    return False


# Carrying out ------------------------------------------------------------------------------------


async def carry_out_page(session: WriteSession, as_of: datetime, limit: int = PAGE) -> int | None:
    """A page of the oldest change that nobody else is at; how many runs it reached, None if there is none to do."""
    oldest = select(RunChange).where(RunChange.done_at.is_(None)).order_by(RunChange.id).limit(1)
    row = (await session.execute(oldest.with_for_update(skip_locked=True))).scalar_one_or_none()
    if row is None:
        return None
    change = NewRunChange(row.journey, RunChangeKind(row.kind), row.before, row.steps)
    done = await _carry_out(session, change, limit, as_of)
    row.carried_out += done
    if not done and not await _is_left(session, change):
        row.done_at = as_of
    return done


async def _is_left(session: ReadSession, change: NewRunChange) -> bool:
    return bool((await session.execute(select(select(Run.id).where(change.which).exists()))).scalar_one())


async def _carry_out(session: WriteSession, change: NewRunChange, limit: int, as_of: datetime) -> int:
    """Locks customers first, as everything does that decides about them; what has changed meanwhile is left alone."""
    found = (await session.execute(select(Run.id, Run.customer_id).where(change.which).limit(limit))).all()
    customers = {row.customer_id for row in found}
    locked = select(Customer.id).where(Customer.id.in_(customers)).order_by(Customer.id).with_for_update()
    await session.execute(locked)
    page = change.which & Run.id.in_([row.id for row in found])
    match change.kind:
        case RunChangeKind.ARCHIVE | RunChangeKind.FINISH:
            return len(await end_runs(session, page, reason=_REASONS[change.kind], as_of=as_of))
        case RunChangeKind.MOVE:
            return await _move(session, page, change.before, as_of)
        case RunChangeKind.WAKE:
            return await _let_go(session, page)


async def _move(session: WriteSession, page: ColumnElement[bool], to: int, as_of: datetime) -> int:
    """Pin the runs to another version, and wake them."""
    move = func.jsonb_build_array(Run.version, to, literal(as_of.isoformat()))
    return await _change(session, page, version=to, moves=Run.moves.concat(func.jsonb_build_array(move)))


async def _let_go(session: WriteSession, page: ColumnElement[bool]) -> int:
    """Runs whose effect waited ask again, and are held again if something stops them still."""
    return await _change(session, page, held=False)


async def let_customer_go(session: WriteSession, customer_id: UUID) -> int:
    """Held runs of one customer, whom the caller has locked, ask again; answers how many."""
    return await _let_go(session, (Run.customer_id == customer_id) & (Run.state == RunState.ACTIVE) & Run.held)


async def _change(session: WriteSession, page: ColumnElement[bool], **values: object) -> int:
    changed = update(Run).where(page).values(**values).returning(Run.workflow_id)
    workflows = (await session.execute(changed.execution_options(synchronize_session=False))).scalars().all()
    await add_commands(session, [NewCommand(CommandKind.WAKE, workflow) for workflow in workflows])
    return len(workflows)


async def changes_of(session: ReadSession, journey: str, *, before: UUID | None, limit: int) -> Sequence[RunChange]:
    """The changes of a journey's runs, the latest first."""
    statement = select(RunChange).where(RunChange.journey == journey).order_by(RunChange.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(RunChange.id < before)
    return (await session.execute(statement)).scalars().all()
