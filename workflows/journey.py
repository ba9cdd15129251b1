"""One customer's run of one journey: the interpreter, carried out by Temporal. The workflow type is the key."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue, SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError, FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.branches import BranchActivities
    from activities.calls import CallActivities
    from activities.messages import MessageActivities
    from activities.points import PointsActivities
    from activities.rewards import RewardActivities
    from activities.runs import RunActivities
    from activities.updates import UpdateActivities
    from activities.waits import WaitActivities
    from domain.consent import TRANSACTIONAL
    from domain.journeys import descriptions, library
    from domain.journeys.flow import Flow, id_of
    from domain.journeys.interpreter import Interpreter
    from domain.journeys.steps import SendStep, Step
    from domain.runs import (
        Ending,
        Execution,
        FailInput,
        FinishInput,
        JourneyInput,
        OutcomeKind,
        PassedStep,
        Position,
        RunState,
        StepInput,
        StepOutcome,
    )
    from workflows.activity_options import decision, delivery

STEP = SearchAttributeKey.for_keyword("Step")
RUN_STATE = SearchAttributeKey.for_keyword("RunState")
JOURNEY_VERSION = SearchAttributeKey.for_int("JourneyVersion")

_AT_ONCE = timedelta(milliseconds=1)
LONG_HISTORY = 3_500
"""Events after which a run continues as new, if the server has not suggested it before; G9 promises under 5,000."""

Perform = Callable[[Any, StepInput], Awaitable[StepOutcome]]  # a method of any class of activities

DECISIONS: Mapping[str, Perform] = {
    "wait": WaitActivities.wait,
    "wait_for": WaitActivities.wait_for,
    "branch": BranchActivities.branch,
    "split": BranchActivities.split,
    "points": PointsActivities.points,
    "reward": RewardActivities.reward,
    "update": UpdateActivities.update,
    "emit": UpdateActivities.emit,
    "start": UpdateActivities.start,
}
"""Steps that only decide in our database: local activities, by kind."""

DELIVERIES: Mapping[str, Perform] = {"send": MessageActivities.send, "call": CallActivities.call}
"""Steps that speak with somebody outside: activities on the queue `messages`, by kind."""


@workflow.defn(dynamic=True)
class JourneyWorkflow:
    """Timers and wakes are Temporal's, decisions are the database's: a wake carries nothing, it only makes us ask."""

    def __init__(self) -> None:
        self._woken = False
        self._timer: asyncio.Task[None] | None = None
        self._timer_ends: datetime | None = None
        self._passed: list[PassedStep] = []
        self._shown_step: str | None = None
        self._version = 0

    @workflow.signal
    def wake(self) -> None:
        """Something changed in the database: the run was exited, a wait was met, a paused journey was resumed."""
        self._woken = True

    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> None:
        """Walk to the end and write down how it ended; a cancellation from outside ends the run too."""
        self._input: JourneyInput = workflow.payload_converter().from_payload(args[0].payload, JourneyInput)
        self._version = self._input.version
        self._passed = list(self._input.passed)
        interpreter = Interpreter(self._flow, self._version, self, self._input.position)
        try:
            ending = await interpreter.walk()
        except (asyncio.CancelledError, FailureError) as error:
            if not is_cancelled_exception(error):
                raise
            await self._finish(Ending(state=RunState.EXITED, reason="cancelled"))
            raise
        await self._finish(ending)

    # What the interpreter asks (domain/journeys/interpreter.py: Effects) -------------------------------------

    async def perform(self, step: Step, visit: int) -> StepOutcome:
        """Do the step, or hear what became of it. A step whose activity gives up has failed; the run has not."""
        self._woken = False
        workflow.set_current_details(descriptions.performing(step))
        at = self._step_input(step, visit)
        try:
            outcome = await self._execute(step, at)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            outcome = await self._give_up(at, error)
        self._show_version(outcome.version)
        if outcome.kind not in (OutcomeKind.LATER, OutcomeKind.HELD):
            self._drop_timer()
        return outcome

    async def stand(self, step: Step, outcome: StepOutcome) -> None:
        """Sleep until the outcome's time, the next look or a wake. The timer outlives wakes that leave it as it is."""
        details = descriptions.standing(step, outcome)
        workflow.set_current_details(details)
        self._show_step(step)
        self._set_timer(min(filter(None, (outcome.at, outcome.look)), default=None), details)
        await workflow.wait_condition(lambda: self._woken or (self._timer is not None and self._timer.done()))
        self._continue_if_long()

    async def arrive(self, position: Position) -> None:
        """Remember the place; start a fresh history from it when this one has become long."""
        self._position = position
        self._continue_if_long()

    def note(self, step: Step, visit: int, outcome: StepOutcome) -> None:
        """Keep a passed step for the run log; the next local activity writes it."""
        self._passed.append(
            PassedStep(step=id_of(step), visit=visit, at=workflow.now(), kind=outcome.kind, reason=outcome.reason)
        )

    # ---------------------------------------------------------------------------------------------------------

    def _flow(self, version: int) -> Flow:
        return library.flow_of(self._input.journey, version)

    async def _execute(self, step: Step, at: StepInput) -> StepOutcome:
        summary = descriptions.performing(step)
        if step.kind in DELIVERIES:
            options = delivery(summary, is_transactional=self._is_transactional(step))
            return await workflow.execute_activity_method(DELIVERIES[step.kind], at, **options)
        decided = await workflow.execute_local_activity_method(DECISIONS[step.kind], at, **decision(summary))
        self._passed.clear()
        return decided

    def _is_transactional(self, step: Step) -> bool:
        definition = self._flow(self._version).definition
        return isinstance(step, SendStep) and definition.purpose_of(step.send) == TRANSACTIONAL

    async def _give_up(self, at: StepInput, error: ActivityError) -> StepOutcome:
        code = error.cause.type if isinstance(error.cause, ApplicationError) else None
        failure = FailInput(at=at, code=code or "activity_failed")
        return await workflow.execute_local_activity_method(
            RunActivities.fail_step, failure, **decision(f"record failure of {at.step}")
        )

    async def _finish(self, ending: Ending) -> None:
        self._drop_timer()
        if not ending.recorded:
            end = FinishInput(
                run_id=self._input.run_id,
                ending=ending,
                as_of=workflow.now(),
                execution=_execution(),
                passed=tuple(self._passed),
            )
            ending = await workflow.execute_local_activity_method(RunActivities.finish_run, end, **decision("finish"))
        workflow.set_current_details(descriptions.ended(ending))
        workflow.upsert_search_attributes([RUN_STATE.value_set(ending.state)])

    def _step_input(self, step: Step, visit: int) -> StepInput:
        return StepInput(
            run_id=self._input.run_id,
            step=id_of(step),
            visit=visit,
            as_of=workflow.now(),
            execution=_execution(),
            passed=tuple(self._passed),
        )

    def _show_step(self, step: Step) -> None:
        """Ops find runs by the step that they stand at; steps that are passed in an instant cost no event."""
        if step.id != self._shown_step:
            self._shown_step = id_of(step)
            workflow.upsert_search_attributes([STEP.value_set(self._shown_step)])

    def _show_version(self, version: int | None) -> None:
        if version is not None and version > self._version:
            self._version = version
            workflow.upsert_search_attributes([JOURNEY_VERSION.value_set(version)])

    def _set_timer(self, until: datetime | None, summary: str) -> None:
        if until == self._timer_ends and self._timer is not None and not self._timer.done():
            return
        self._drop_timer()
        if until is not None:
            delay = max(until - workflow.now(), _AT_ONCE)
            self._timer = asyncio.create_task(workflow.sleep(delay, summary=summary))
            self._timer_ends = until

    def _drop_timer(self) -> None:
        if self._timer is not None and not self._timer.done():
            self._timer.cancel()
        self._timer, self._timer_ends = None, None

    def _continue_if_long(self) -> None:
        info = workflow.info()
        if not (info.is_continue_as_new_suggested() or info.get_current_history_length() > LONG_HISTORY):
            return
        # The only handler is synchronous, so all have finished. A wake lost here would only have made us ask: we do.
        workflow.continue_as_new(
            self._input.model_copy(
                update={"version": self._version, "position": self._position, "passed": tuple(self._passed)}
            )
        )


def _execution() -> Execution:
    info = workflow.info()
    return Execution(
        first_run_id=info.first_execution_run_id, run_id=info.run_id, continued_run_id=info.continued_run_id
    )
