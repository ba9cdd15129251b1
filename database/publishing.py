"""What publishing a journey reads of the runs in flight. What it does to them: database/run_changes.py."""

from __future__ import annotations

from sqlalchemy import func, select

from database.runs import Run
from database.session import ReadSession
from domain.journeys.plan import Standing
from domain.runs import RunState


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
