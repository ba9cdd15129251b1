"""How many runs of a version got where: entered, ended, converted, and each step's count; the holdout apart."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import aliased

from database.runs import Run, RunStep
from database.session import ReadSession
from domain.funnels import Funnel, StepCounts
from domain.runs import RunState


async def funnels(
    session: ReadSession, journey: str, version: int, *, start: datetime | None, end: datetime | None
) -> Mapping[bool, Funnel]:
    """The funnels of a version by `shadow`, over the runs that entered in [start, end)."""
    which = [Run.journey == journey, Run.version == version]
    if start is not None:
        which.append(Run.entered_at >= start)
    if end is not None:
        which.append(Run.entered_at < end)
    found = {False: Funnel(), True: Funnel()}
    await _count_runs(session, and_(*which), found)
    await _count_steps(session, and_(*which), found)
    return found


async def _count_runs(session: ReadSession, which: ColumnElement[bool], found: Mapping[bool, Funnel]) -> None:
    """By ix_runs_journey."""
    count, converted = func.count(), func.count(Run.converted_at)
    doubted = or_(Run.untrusted.is_not(None), Run.entry["trusted"].astext == "false")
    untrusted = count.filter(doubted)
    statement = select(Run.shadow, Run.state, Run.reason, count, converted, untrusted).where(which)
    for shadow, state, reason, runs, conversions, doubtful in await session.execute(
        statement.group_by(Run.shadow, Run.state, Run.reason)
    ):
        funnel = found[shadow]
        funnel.entered += runs
        funnel.converted += conversions
        funnel.untrusted += doubtful
        match RunState(state):
            case RunState.ACTIVE:
                funnel.active += runs
            case RunState.COMPLETED:
                funnel.completed += runs
            case RunState.FAILED:
                funnel.failed += runs
            case RunState.EXITED:
                key = reason or "exited"
                funnel.exited[key] = funnel.exited.get(key, 0) + runs


async def _count_steps(session: ReadSession, which: ColumnElement[bool], found: Mapping[bool, Funnel]) -> None:
    """A run that came by a step several times counts at the first of its visits, or the first of one outcome.

    Counting distinct runs would sort the version's whole log. Only later visits look for earlier ones, by pk_run_steps.
    """
    earlier = aliased(RunStep)
    visits = select(earlier.visit).where(
        earlier.run_id == RunStep.run_id, earlier.step == RunStep.step, earlier.visit < RunStep.visit
    )
    alike = visits.where(earlier.outcome == RunStep.outcome, earlier.reason.is_not_distinct_from(RunStep.reason))
    reached, came_out = (
        func.count().filter(or_(RunStep.visit == 1, ~before.correlate(RunStep).exists())) for before in (visits, alike)
    )
    groups = (Run.shadow, RunStep.step, RunStep.outcome, RunStep.reason)
    statement = select(*groups, reached, came_out).join(Run, Run.id == RunStep.run_id).where(which).group_by(*groups)
    for shadow, step, outcome, reason, first, runs in await session.execute(statement):
        counts = found[shadow].steps.setdefault(step, StepCounts())
        counts.reached += first
        _add(counts, outcome, reason, runs)


def _add(counts: StepCounts, outcome: str, reason: str | None, runs: int) -> None:
    match outcome:
        case "done":
            counts.done += runs
        case "failed":
            counts.failed += runs
        case "skipped":
            counts.skipped[reason or "skipped"] = counts.skipped.get(reason or "skipped", 0) + runs
        case "cancelled":
            pass  # the run was over before the step was
        case _:
            counts.waiting += runs
