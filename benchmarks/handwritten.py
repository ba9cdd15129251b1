"""The journey of journeys.py as an engineer would write it by hand: the same activities, attributes and summaries."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.branches import BranchActivities
    from activities.runs import RunActivities
    from activities.updates import UpdateActivities
    from activities.waits import WaitActivities
    from domain.runs import Ending, Execution, FinishInput, JourneyInput, RunState, StepInput, StepOutcome
    from workflows.activity_options import decision
    from workflows.journey import RUN_STATE, STEP

WORKFLOW_TYPE = "handwritten-welcome"


@workflow.defn(name=WORKFLOW_TYPE)
class HandwrittenWelcome:
    """Update, wait, branch, update, update, end."""

    @workflow.run
    async def run(self, given: JourneyInput) -> None:
        """Walk the five steps."""
        self._given = given
        await self._decide(UpdateActivities.update, "greet")
        await self._pause()
        chosen = await self._decide(BranchActivities.branch, "who")
        await self._decide(UpdateActivities.update, "regular" if chosen.arm == "0" else "newcomer")
        await self._decide(UpdateActivities.update, "farewell")
        await self._finish()

    async def _pause(self) -> None:
        outcome = await self._decide(WaitActivities.wait, "pause")
        if outcome.at is not None:
            details = f"waiting until {outcome.at} at pause"
            workflow.set_current_details(details)
            workflow.upsert_search_attributes([STEP.value_set("pause")])
            await workflow.sleep(max(outcome.at - workflow.now(), timedelta(milliseconds=1)), summary=details)
            await self._decide(WaitActivities.wait, "pause")

    async def _decide(self, method: Any, step: str) -> StepOutcome:  # a method of any activities class
        workflow.set_current_details(step)
        at = StepInput(
            run_id=self._given.run_id, step=step, visit=1, as_of=workflow.now(), execution=_execution(), passed=()
        )
        outcome: StepOutcome = await workflow.execute_local_activity_method(method, at, **decision(step))
        return outcome

    async def _finish(self) -> None:
        end = FinishInput(
            run_id=self._given.run_id,
            ending=Ending(state=RunState.COMPLETED),
            as_of=workflow.now(),
            execution=_execution(),
        )
        ending = await workflow.execute_local_activity_method(RunActivities.finish_run, end, **decision("finish"))
        workflow.set_current_details(ending.state)
        workflow.upsert_search_attributes([RUN_STATE.value_set(ending.state)])


def _execution() -> Execution:
    info = workflow.info()
    return Execution(
        first_run_id=info.first_execution_run_id, run_id=info.run_id, continued_run_id=info.continued_run_id
    )
