"""The ends of runs: written by their workflow, or noticed when a step's activity gave up."""

from __future__ import annotations

from temporalio import activity

from activities.steps import OpenStep, open_step, write_passed
from database.runs import Run, RunStep, bind, cancel_waits, lock_run
from database.runs import Wait as WaitRow
from database.session import Database, WriteSession
from domain.journeys.library import DefinitionLibrary
from domain.runs import Ending, FailInput, FinishInput, RunState, StepOutcome


class RunActivities:
    """What a workflow writes about its run as a whole."""

    def __init__(self, database: Database, library: DefinitionLibrary) -> None:
        self._database = database
        self._library = library

    @activity.defn
    async def finish_run(self, end: FinishInput) -> Ending:
        """Write how the walk ended, unless the run has ended before; answers how it ended in truth."""
        async with self._database.transaction() as session:
            locked = await lock_run(session, end.run_id)
            if locked is None:
                return Ending(state=RunState.EXITED, reason="erased", recorded=True)
            run = locked.run
            if end.execution is not None and not bind(run, end.execution):
                return Ending(state=RunState.EXITED, reason="superseded", recorded=True)
            if run.state == RunState.ACTIVE:
                await _end(session, run, end)
            return Ending(state=RunState(run.state), reason=run.reason, recorded=True)

    @activity.defn
    async def fail_step(self, failure: FailInput) -> StepOutcome:
        """Write to the run log that a step's activity gave up."""
        async with self._database.transaction() as session:
            match await open_step(session, self._library, failure.at):
                case OpenStep() as step:
                    return step.failed(failure.code)
                case StepOutcome() as settled:
                    return settled


async def _end(session: WriteSession, run: Run, end: FinishInput) -> None:
    await write_passed(session, end.passed, run)
    if end.ending.step is not None and await session.get(RunStep, _key(run, end.ending)) is None:
        session.add(_exit_row(run, end))
    run.state, run.reason, run.ended_at = end.ending.state, end.ending.reason, end.as_of
    run.step = end.ending.step or run.step
    run.waiting_for, run.held = None, False
    await session.flush()
    await cancel_waits(session, WaitRow.run_id == run.id, as_of=end.as_of)


def _key(run: Run, ending: Ending) -> tuple[object, ...]:
    return (run.id, ending.step, ending.visit)


def _exit_row(run: Run, end: FinishInput) -> RunStep:
    return RunStep(
        run_id=run.id,
        step=end.ending.step,
        visit=end.ending.visit,
        kind="exit",
        reached_at=end.as_of,
        at=end.as_of,
        outcome="done",
        reason=end.ending.reason,
        version=run.version,
        detail={},
    )
