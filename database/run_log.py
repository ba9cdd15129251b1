"""What the log of a moved run says: which steps it did under earlier versions, and where its way began."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import select

from database.definitions import flow_of
from database.runs import Run, RunStep
from database.session import ReadSession
from domain.journeys.library import DefinitionLibrary
from domain.journeys.repeats import ACTS, Passed, done_before
from domain.journeys.steps import Step
from domain.runs import ALREADY_DONE, OutcomeKind


async def done_by(session: ReadSession, library: DefinitionLibrary, run: Run, step: Step) -> str | None:
    """The id under which a moved run has done this step, if it would come to it again only by the move; else None."""
    if not isinstance(step, ACTS):
        return None
    # By pk_run_steps: the run's own rows.
    of_kind = RunStep.kind.in_([step.kind, "goto"])
    is_done = (RunStep.outcome == OutcomeKind.DONE) | (RunStep.reason == ALREADY_DONE)
    rows = (await session.execute(select(RunStep).where(RunStep.run_id == run.id, of_kind, is_done))).scalars()
    log = [_passed(run, row) for row in rows]
    versions = {run.version, *(each.version for each in log)}
    flows = {version: await flow_of(session, library, run.journey, version) for version in versions}
    return done_before(step, log, flows, run.version)


def _passed(run: Run, row: RunStep) -> Passed:
    at = row.at or row.reached_at
    stands_for = row.detail.get("stands_for") if row.reason == ALREADY_DONE else None
    return Passed(row.step, row.kind, at, row.version or run.version_at(at), stands_for)


async def began_on(session: ReadSession, moved: Collection[Run]) -> dict[UUID, int]:
    """The version on which each of these moved runs entered: walking from there over its log it comes to where it was,
    by the steps that it took. Not of a run whose log does not say under which version each step was settled.
    """
    if not moved:
        return {}
    of_moved = RunStep.run_id.in_([run.id for run in moved])
    unsaid = (
        RunStep.version.is_(None),
        RunStep.outcome.in_([OutcomeKind.DONE, OutcomeKind.SKIPPED, OutcomeKind.FAILED]),
    )
    older = set((await session.execute(select(RunStep.run_id).where(of_moved, *unsaid))).scalars())
    return {run.id: run.moves[0][0] for run in moved if run.id not in older}
