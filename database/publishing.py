"""What publishing a journey reads and changes of the runs in flight, and what pausing and archiving do to them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, func, literal, select, update

from database.customers import Customer
from database.outbox import CommandKind, NewCommand, add_commands
from database.runs import Run, RunStep, end_runs
from database.session import ReadSession, WriteSession
from domain.journeys.plan import FINISHED, Standing
from domain.runs import RunState

STANDS = ("waiting", "held")
"""Outcomes of a step at which a run stands and can be moved."""


async def standing(session: ReadSession, journey: str) -> list[Standing]:
    """How many active runs there are at each step, the most first. By ix_runs_journey."""
    count = func.count()
    statement = (
        select(Run.step, count)
        .where(Run.journey == journey, Run.state == RunState.ACTIVE)
        .group_by(Run.step)
        .order_by(count.desc(), Run.step)
    )
    return [Standing(step, runs) for step, runs in await session.execute(statement)]


async def move_runs(session: WriteSession, journey: str, steps: Collection[str], *, to: int, as_of: datetime) -> int:
    """Pin the runs that stand at these steps to another version, and wake them. Answers how many.

    Whether a run stands is read under its customer's lock, so none is moved that is just leaving its step.
    """
    stands = (
        select(RunStep.step)
        .where(RunStep.run_id == Run.id, RunStep.step == Run.step, RunStep.outcome.in_(STANDS))
        .exists()
    )
    which = (Run.journey == journey) & (Run.state == RunState.ACTIVE) & Run.step.in_(steps) & (Run.version != to)
    await _lock_customers(session, which)
    move = func.jsonb_build_array(Run.version, to, literal(as_of.isoformat()))
    moved = (
        update(Run)
        .where(which, stands)
        .values(version=to, moves=Run.moves.concat(func.jsonb_build_array(move)))
        .returning(Run.workflow_id)
    )
    workflows = (await session.execute(moved.execution_options(synchronize_session=False))).scalars().all()
    await _wake(session, workflows)
    return len(workflows)


async def finish_runs(session: WriteSession, journey: str, steps: Collection[str], *, as_of: datetime) -> int:
    """Exit the runs at these steps, as a confirmed plan says. Answers how many."""
    ended = await end_runs(session, (Run.journey == journey) & Run.step.in_(steps), reason=FINISHED, as_of=as_of)
    return len(ended)


async def wake_held_runs(session: WriteSession, journey: str) -> None:
    """A resumed journey: the runs whose effect waited ask again."""
    # By ix_runs_journey; `held` is looked up in the rows, as few runs are held at any time.
    held = select(Run.workflow_id).where(Run.journey == journey, Run.state == RunState.ACTIVE, Run.held)
    await _wake(session, (await session.execute(held)).scalars().all())


async def _lock_customers(session: WriteSession, which: ColumnElement[bool]) -> None:
    ids = select(Run.customer_id).where(which)
    await session.execute(select(Customer.id).where(Customer.id.in_(ids)).order_by(Customer.id).with_for_update())


async def _wake(session: WriteSession, workflows: Collection[str]) -> None:
    await add_commands(session, [NewCommand(CommandKind.WAKE, workflow) for workflow in workflows])
