"""One run in a simulation: the same interpreter as in production, with a virtual clock and nothing written or sent."""

from __future__ import annotations

from collections.abc import Coroutine, Generator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, assert_never

from domain.conditions.memory import HistoryJudge
from domain.conditions.scope import Scope
from domain.journeys.deadlines import CannotWait, EndsAt, Facts, end_of
from domain.journeys.deciders import Deciders
from domain.journeys.flow import Flow, id_of
from domain.journeys.interpreter import Interpreter
from domain.journeys.reentry import Item
from domain.journeys.simulated_entries import entry_of
from domain.journeys.simulated_loyalty import LoyaltyWorld, give, move
from domain.journeys.splits import assign
from domain.journeys.step_bodies import Reward
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
from domain.journeys.waiting import CompiledWait, Happening, Met, Restarted, Standing, Watcher
from domain.messages import Hold, Reason, Send, Skip
from domain.runs import DATE_MISSING, HOLDOUT, Ending, OutcomeKind, Position, RunState, StepOutcome
from domain.simulations import Costs, LoggedStep

DONE = StepOutcome(kind=OutcomeKind.DONE)

_RAREST_LOOK, _MOST_DOUBLED = timedelta(days=1), 12
"""While nothing happens a simulated run looks at its conditions ever more rarely: that keeps long periods fast."""


class World(LoyaltyWorld, Protocol):
    """What surrounds a simulated run: its customer at the moment of the virtual clock."""

    def gate(self, step: SendStep, *, is_silenced: bool, trusted: bool) -> Send | Hold | Skip:
        """What the send gate would decide, and count. `trusted`: the run is."""
        ...

    def take_over(self, reward: str) -> bool:
        """Whether a browser's run gave this and told nobody; the run that asks tells of it instead."""
        ...

    def since(self, number: int) -> list[Happening]:
        """The customer's events after a routing number, up to now."""
        ...


def _skipped(reason: str) -> StepOutcome:
    return StepOutcome(kind=OutcomeKind.SKIPPED, reason=reason)


@dataclass(slots=True)
class _Stands:
    """What the walk yields when it stands at a step."""

    until: datetime | None

    def __await__(self) -> Generator[_Stands, None, None]:
        yield self


@dataclass(slots=True)
class _OpenWait:
    compiled: CompiledWait
    deadline: datetime | None
    registered_at: datetime
    met: int | None = None
    met_by: Happening | None = None


@dataclass(slots=True)
class SimulatedRun:
    """Effects of the interpreter, carried out in memory; `step` drives the walk to where it stands next."""

    world: World
    flow: Flow
    deciders: Deciders
    entry: Happening
    entered_at: datetime
    shadow: bool
    seen_number: int
    trusted: bool = True  # trusted facts alone would have led it here
    occasion: str = ""
    item: Item | None = None
    silenced: bool = False  # a browser told of its exit: no message of it leaves until it has given
    began_trusted: bool = field(init=False)
    ending: Ending | None = None
    until: datetime | None = None
    converted: bool = False
    costs: Costs = field(default_factory=Costs)
    doubtful_gifts: list[str] = field(default_factory=list)  # given while it was untrusted, and taken over by no other
    log: list[LoggedStep] = field(default_factory=list)
    variants: dict[str, str] = field(default_factory=dict)
    _waits: dict[tuple[str, int], _OpenWait] = field(default_factory=dict)
    _open: _OpenWait | None = None
    _looks: int = 0  # since something happened
    _walk: Coroutine[_Stands, None, Ending] = field(init=False)

    def __post_init__(self) -> None:
        """The walk begins with the first `advance`."""
        self.began_trusted = self.trusted
        self._walk = Interpreter(lambda _: self.flow, 1, self).walk()

    def advance(self) -> None:
        """Walk on until the run stands or ends."""
        try:
            stands: _Stands = self._walk.send(None)
        except StopIteration as stop:
            self._end(stop.value)
        else:
            self.until = stands.until

    def exit(self, reason: str) -> None:
        """An exit rule ended the run."""
        self._walk.close()
        self._end(Ending(state=RunState.EXITED, reason=reason))

    def hear(self, event: Happening) -> None:
        """An event reaches the wait at which the run stands, and may have made a condition true."""
        self._hear_at_wait(event)
        self._looks = 0
        if self.deciders.looks_at_conditions and self.ending is None:
            self.advance()

    def _hear_at_wait(self, event: Happening) -> None:
        if self._open is None or self._open.met is not None:
            return
        match self._open.compiled.judge(event, Watcher(self.entry.event_id, self.scope())):
            case Met(alternative=alternative):
                self._open.met, self._open.met_by = alternative, event
                self._doubt(self._open)
                self.seen_number = event.number
                self.advance()
            case Restarted(deadline=deadline):
                self._open.deadline = max(self._open.deadline or deadline, deadline)
            case None:
                pass

    @property
    def has_given(self) -> bool:
        """Whether a step of its own has moved points or given a reward."""
        return any(entry.kind in ("points", "reward") and entry.outcome == OutcomeKind.DONE for entry in self.log)

    def scope(self, *, trusted: bool = False) -> Scope:
        """What conditions and predicates of this run are judged against."""
        return self.world.customer.scope(self.world.now, entry_of(self.entry, self.item), trusted=trusted)

    # What the interpreter asks (domain/journeys/interpreter.py: Effects) -------------------------------------

    async def perform(self, step: Step, visit: int) -> StepOutcome:
        """Decide in memory what production would do."""
        outcome = self._exit_by_condition() or self._outcome(step, visit)
        if outcome.kind is OutcomeKind.EXITED:
            return outcome
        self._note(step, visit, outcome)
        return DONE if outcome.reason == Reason.SILENCED else outcome

    async def stand(self, step: Step, outcome: StepOutcome) -> None:
        """Hand the clock back until it shows `outcome.at` or the time of the next look, or an event meets the wait."""
        look = self.deciders.looks[id_of(step)]
        looked_at = None if look is None else self.world.now + min(look * 2**self._looks, _RAREST_LOOK)
        self._looks = min(self._looks + 1, _MOST_DOUBLED)
        await _Stands(min(filter(None, (outcome.at, looked_at)), default=None))

    async def arrive(self, position: Position) -> None:
        """Nothing: a simulated walk is never carried over."""

    def note(self, step: Step, visit: int, outcome: StepOutcome) -> None:
        """A `goto` was passed."""
        self._note(step, visit, outcome)

    # ---------------------------------------------------------------------------------------------------------

    def _outcome(self, step: Step, visit: int) -> StepOutcome:
        match step:
            case WaitStep():
                return self._wait(step, visit)
            case WaitForStep():
                return self._wait_for(step, visit)
            case SendStep():
                return self._send(step)
            case BranchStep():
                return self._branch(step)
            case SplitStep():
                return self._split(step)
            case PointsStep() | RewardStep() | UpdateStep() | EmitStep() | CallStep() | StartStep():
                return _skipped(HOLDOUT) if self.shadow else self._effect(step)
            case GotoStep() | ExitStep() | LaterStep():  # never asked for, or refused by the checks
                return DONE
        assert_never(step)

    def _effect(self, step: PointsStep | RewardStep | UpdateStep | EmitStep | CallStep | StartStep) -> StepOutcome:
        match step:
            case PointsStep(points=body):
                reason = move(body, self.world, trusted=self.trusted, costs=self.costs)
            case RewardStep(reward=gift):
                reason = self._give(gift)
            case _:
                reason = None
        return DONE if reason is None else _skipped(reason)

    def _give(self, gift: Reward) -> str | None:
        if self.trusted and self.world.take_over(gift.give):
            return None
        reason = give(gift, self.world, trusted=self.trusted, costs=self.costs)
        if reason is None and not self.trusted:
            self.doubtful_gifts.append(gift.give)
        return reason

    def _wait(self, step: WaitStep, visit: int) -> StepOutcome:
        customer = self.world.customer
        end = self._end_by(customer.traits, step, visit)
        if step.wait.trait is not None:
            self.trusted &= end == self._end_by(customer.record.trusted_traits, step, visit)
        match end:
            case CannotWait():
                return self._leave(_skipped(DATE_MISSING))
            case EndsAt(when) if when > self.world.now:
                return StepOutcome(kind=OutcomeKind.LATER, at=when)
            case EndsAt():
                return self._leave(DONE)

    def _end_by(self, traits: Mapping[str, Any], step: WaitStep, visit: int) -> EndsAt | CannotWait:
        facts, reached_at = Facts(traits, entry_of(self.entry, self.item)), self._reached_at(step, visit)
        max_days = self.flow.definition.max_days
        return end_of(step.wait, reached_at, facts, self.world.customer.zones, max_days=max_days)

    def _wait_for(self, step: WaitForStep, visit: int) -> StepOutcome:
        wait = self._waits.get((id_of(step), visit)) or self._register(step, visit)
        self._open = wait
        if wait.met is None:
            self._meet_condition(step, wait)
        if wait.met is not None:
            self._open = None
            return StepOutcome(kind=OutcomeKind.DONE, arm=str(wait.met))
        if wait.deadline is not None and wait.deadline <= self.world.now:
            self._doubt(wait)
            self._open = None
            return self._leave(StepOutcome(kind=OutcomeKind.DONE, reason="timed_out"))
        return StepOutcome(kind=OutcomeKind.LATER, at=wait.deadline)

    def _meet_condition(self, step: WaitForStep, wait: _OpenWait) -> None:
        for position, judge in self.deciders.met[id_of(step)]:
            holds, by_trusted = self._judged(judge)
            self.trusted &= holds == by_trusted
            if holds:
                wait.met = position
                self._leave(DONE)
                return

    def _exit_by_condition(self) -> StepOutcome | None:
        """As with events, what only a browser's word makes true takes no value out of a run: it silences it."""
        for judge, reason in self.deciders.exits:
            holds, by_trusted = self._judged(judge)
            if not holds:
                self.trusted &= not by_trusted
            elif by_trusted or not (self.has_given or (self.trusted and self.deciders.gives)):
                return StepOutcome(kind=OutcomeKind.EXITED, reason=reason)
            else:
                self.silenced = True
        return None

    def _judged(self, judge: HistoryJudge) -> tuple[bool, bool]:
        """Whether a condition holds, by all that is known and by what trusted sources told."""
        customer = self.world.customer
        history = customer.history(self.variants, self.entered_at, self.entry.number, self.world.now)
        return judge(history, self.scope()), judge(history.trusted(), self.scope(trusted=True))

    def _register(self, step: WaitForStep, visit: int) -> _OpenWait:
        compiled = self.deciders.waits[id_of(step)]
        watcher = Watcher(self.entry.event_id, self.scope())
        wait = _OpenWait(compiled, None, self.world.now)
        match compiled.look_back(self.world.since(self.seen_number), watcher, self.world.now):
            case Met(alternative, event):
                wait.met, wait.met_by = alternative, event
                self._doubt(wait)
                self.seen_number = event.number
            case Standing(deadline):
                wait.deadline = deadline
        self._waits[id_of(step), visit] = wait
        return wait

    def _doubt(self, wait: _OpenWait) -> None:
        """Whether trusted facts alone would have ended the wait so."""
        told = [event for event in self.world.since(self.seen_number) if event.trusted]
        watcher = Watcher(self.entry.event_id, self.scope(trusted=True))
        ended = wait.compiled.replay(told, watcher, wait.registered_at)
        self.trusted &= ended == (None if wait.met is None or wait.met_by is None else (wait.met, wait.met_by.event_id))

    def _send(self, step: SendStep) -> StepOutcome:
        if self.shadow:
            return StepOutcome(kind=OutcomeKind.SKIPPED, reason=HOLDOUT)
        match self.world.gate(step, is_silenced=self.silenced and not self.has_given, trusted=self.trusted):
            case Send():
                return DONE
            case Hold(until=until, reason=reason):
                return StepOutcome(kind=OutcomeKind.LATER, at=until, reason=reason)
            case Skip(reason=reason):
                return StepOutcome(kind=OutcomeKind.SKIPPED, reason=reason)

    def _branch(self, step: BranchStep) -> StepOutcome:
        for position, judge in enumerate(self.deciders.arms[id_of(step)]):
            is_taken, by_trusted = self._judged(judge)
            self.trusted &= is_taken == by_trusted
            if is_taken:
                return StepOutcome(kind=OutcomeKind.DONE, arm=str(position))
        return DONE

    def _split(self, step: SplitStep) -> StepOutcome:
        step_id, journey = id_of(step), self.flow.definition.journey
        arm = self.variants.get(step_id) or assign(self.world.customer.id, journey, step_id, step.split.variants)
        self.variants[step_id] = arm
        return StepOutcome(kind=OutcomeKind.DONE, arm=arm)

    def _leave(self, outcome: StepOutcome) -> StepOutcome:
        """Later waits look back to here."""
        self.seen_number = self.world.customer.last_number
        return outcome

    def _reached_at(self, step: Step, visit: int) -> datetime:
        known = (logged.reached_at for logged in self.log if (logged.step, logged.visit) == (step.id, visit))
        return next(known, self.world.now)

    def _note(self, step: Step, visit: int, outcome: StepOutcome) -> None:
        is_over = outcome.kind not in (OutcomeKind.LATER, OutcomeKind.HELD)
        word = outcome.kind.value if is_over else "waiting"
        at = self.world.now if is_over else None
        reached_at = self._reached_at(step, visit)
        entry = LoggedStep(id_of(step), step.kind, visit, reached_at, at, word, outcome.reason)
        if self.log and (self.log[-1].step, self.log[-1].visit) == (entry.step, visit):
            self.log[-1] = entry
        else:
            self.log.append(entry)

    def _end(self, ending: Ending) -> None:
        self.ending, self.until, self._open = ending, None, None
        if ending.step is not None:
            now = self.world.now
            self.log.append(LoggedStep(ending.step, "exit", ending.visit, now, now, "done", ending.reason))
        elif self.log and self.log[-1].outcome == "waiting":
            self.log[-1] = self.log[-1].cancelled()
