"""Walks a journey against a small `Effects` protocol. No I/O and no clock: Temporal and the simulator have those.

A new kind of step needs one line in `_follow`, one `_after_...` method, and an activity that answers a StepOutcome.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, assert_never

from domain.journeys.flow import Flow, id_of
from domain.journeys.steps import (
    BranchStep,
    CallStep,
    EmitStep,
    ExitStep,
    GotoStep,
    LaterStep,
    PointsStep,
    RewardStep,
    SendStep,
    SplitStep,
    StartStep,
    Step,
    UpdateStep,
    WaitForStep,
    WaitStep,
)
from domain.runs import ALREADY_DONE, DATE_MISSING, HOLDOUT, Ending, OutcomeKind, Position, RunState, StepOutcome

Next = Step | Ending | None
"""What follows a step: another step, an ending, or None at the end of the journey."""


class Effects(Protocol):
    """What the interpreter asks of the world around it."""

    async def perform(self, step: Step, visit: int) -> StepOutcome:
        """Do a step once, or answer what became of it; asked again after every `stand`."""
        ...

    async def stand(self, step: Step, outcome: StepOutcome) -> None:
        """Stay at the step until `outcome.at` or until something may have changed, whichever is first."""
        ...

    async def arrive(self, position: Position) -> None:
        """Called before each step: the place from which the walk can be taken up again."""
        ...

    def note(self, step: Step, visit: int, outcome: StepOutcome) -> None:
        """A step that has no effect of its own was passed; for the run log."""
        ...


Flows = Callable[[int], Flow]
"""The flow of a version of the journey: the one it entered on, and any that a confirmed plan moves it to."""


class Interpreter:
    """One walk through one journey, from the start or from a carried position."""

    def __init__(self, flows: Flows, version: int, effects: Effects, position: Position | None = None) -> None:
        self._flows = flows
        self._version = version
        self._flow = flows(version)
        self._effects = effects
        self._visits: dict[str, int] = dict(position.visits) if position else {}
        self._resumes_at = position.step if position else None

    async def walk(self) -> Ending:
        """Walk to the end and say how it ended."""
        following: Next = self._start()
        while following is not None and not isinstance(following, Ending):
            following = await self._take(following)
        return following or Ending(state=RunState.COMPLETED)

    def _start(self) -> Step:
        if self._resumes_at is None:
            return self._flow.first
        step = self._flow.step(self._resumes_at)
        if step is None:
            raise LookupError(f"version {self._version} has no step {self._resumes_at} to go on from")
        return step

    async def _take(self, step: Step) -> Next:
        visit = await self._arrive(step)
        if isinstance(step, GotoStep):
            return self._goto(step, visit)
        if isinstance(step, ExitStep):
            return Ending(state=RunState.EXITED, reason=step.exit.reason, step=step.id, visit=visit)
        outcome = await self._settle(step, visit)
        if outcome.kind is OutcomeKind.EXITED:
            return Ending(state=RunState.EXITED, reason=outcome.reason, recorded=True)
        here = self._flow.step(id_of(step))
        if here is None:  # moved to a version without this step, which a plan does not allow
            return Ending(state=RunState.EXITED, reason="step_removed")
        return self._follow(here, outcome)

    async def _arrive(self, step: Step) -> int:
        step_id = id_of(step)
        if step_id != self._resumes_at:  # a carried position has counted its visit already
            self._visits[step_id] = self._visits.get(step_id, 0) + 1
        self._resumes_at = None
        await self._effects.arrive(Position(step=step_id, visits=dict(self._visits)))
        return self._visits[step_id]

    async def _settle(self, step: Step, visit: int) -> StepOutcome:
        """Ask until the step is over, standing at it in between; here and only here a run moves to another version."""
        while True:
            outcome = await self._effects.perform(step, visit)
            self._move_to(outcome.version)
            step = self._flow.step(id_of(step)) or step
            if outcome.kind not in (OutcomeKind.HELD, OutcomeKind.LATER):
                return outcome
            await self._effects.stand(step, outcome)

    def _move_to(self, version: int | None) -> None:
        """Forward only: a step that was done before says under which version."""
        if version is not None and version > self._version:
            self._flow = self._flows(version)
            self._version = version

    def _follow(self, step: Step, outcome: StepOutcome) -> Next:
        match step:
            case SendStep():
                return self._after_send(step, outcome)
            case WaitStep():
                return self._after_wait(step, outcome)
            case WaitForStep():
                return self._after_wait_for(step, outcome)
            case BranchStep():
                return self._after_branch(step, outcome)
            case SplitStep():
                return self._after_split(step, outcome)
            case CallStep():
                return self._after_call(step, outcome)
            case PointsStep() | RewardStep() | UpdateStep() | EmitStep() | StartStep() | LaterStep():
                return self._flow.after(step)
            case GotoStep() | ExitStep():  # taken without asking; a moved version may have put one in this place
                return step
        assert_never(step)

    def _after_send(self, step: SendStep, outcome: StepOutcome) -> Next:
        if outcome.kind is OutcomeKind.SKIPPED and outcome.reason not in (HOLDOUT, ALREADY_DONE):
            return self._as_told(step, step.send.on_skip, outcome)
        if outcome.kind is OutcomeKind.FAILED:
            return self._as_told(step, step.send.on_failure, outcome)
        return self._flow.after(step)

    def _after_wait(self, step: WaitStep, outcome: StepOutcome) -> Next:
        if outcome.kind is OutcomeKind.SKIPPED and outcome.reason == DATE_MISSING:
            told = step.wait.on_missing
            return self._as_told(step, "continue" if told == "skip" else told, outcome)
        return self._flow.after(step)

    def _after_wait_for(self, step: WaitForStep, outcome: StepOutcome) -> Next:
        if outcome.kind is not OutcomeKind.DONE:
            return self._flow.after(step)
        if outcome.arm is None:
            return self._flow.into(step, step.wait_for.on_timeout)
        return self._into_arm(step, [alternative.steps for alternative in step.wait_for.any], int(outcome.arm))

    def _after_branch(self, step: BranchStep, outcome: StepOutcome) -> Next:
        if outcome.arm is None:
            return self._flow.after(step)
        return self._into_arm(step, [arm.steps for arm in step.branch], int(outcome.arm))

    def _after_split(self, step: SplitStep, outcome: StepOutcome) -> Next:
        arms = {variant.variant: variant.steps for variant in step.split.variants}
        return self._flow.into(step, arms.get(outcome.arm or "", []))

    def _after_call(self, step: CallStep, outcome: StepOutcome) -> Next:
        if outcome.kind is OutcomeKind.FAILED:
            return self._as_told(step, step.call.on_failure, outcome)
        return self._flow.after(step)

    def _goto(self, step: GotoStep, visit: int) -> Next:
        if visit > step.goto.visits:
            self._effects.note(step, visit, StepOutcome(kind=OutcomeKind.SKIPPED, reason="visits_used_up"))
            return self._flow.after(step)
        self._effects.note(step, visit, StepOutcome(kind=OutcomeKind.DONE))
        return self._flow.step(step.goto.step)

    def _into_arm(self, step: Step, arms: Sequence[list[Step]], index: int) -> Next:
        return self._flow.into(step, arms[index] if index < len(arms) else [])

    def _as_told(self, step: Step, told: Literal["continue", "exit"] | list[Step], outcome: StepOutcome) -> Next:
        """What `on_skip` and the like say: go on, end the run with this reason, or take the nested steps."""
        if told == "exit":
            return Ending(state=RunState.EXITED, reason=outcome.reason or outcome.kind.value)
        return self._flow.after(step) if told == "continue" else self._flow.into(step, told)
