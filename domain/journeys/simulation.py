"""What a journey would have done over a past period: recorded events, a virtual clock, the interpreter of production.

Pure: it is given what was recorded, and answers counts. Customers are played one after the other, none knows another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from domain.conditions import buckets
from domain.conditions.memory import HistoryJudge, compile_condition
from domain.conditions.paths import reader
from domain.consent import ANYBODY, permission
from domain.durations import parse_duration
from domain.funnels import StepCounts
from domain.journeys.dates import due_of
from domain.journeys.deciders import Deciders
from domain.journeys.definition import DateEntry, JourneyDefinition, ScheduleEntry
from domain.journeys.exits import exit_reason
from domain.journeys.flow import Flow
from domain.journeys.reentry import Item, barred_by, items_of, occasion_of
from domain.journeys.simulated_entries import DUE, TOLD, crossings, entry_of, own_event
from domain.journeys.simulated_run import SimulatedRun
from domain.journeys.simulated_turns import give_way, take_over, turns
from domain.journeys.steps import SendStep
from domain.journeys.value import is_of_value
from domain.journeys.waiting import Happening, Matcher, Watcher, compile_entry, compile_match
from domain.journeys.worth import Worth
from domain.local_time import next_cron, resolve_zone
from domain.messages import Candidate, Hold, Send, Sent, Skip, decide
from domain.runs import SUPERSEDED, OutcomeKind, RunState
from domain.shop_settings import ShopSettings
from domain.simulations import (
    SAMPLES,
    RecordedCustomer,
    SampleRun,
    SimulatedCustomer,
    SimulationResult,
)
from domain.suppressions import cause_against

ASSUMPTIONS = (
    "traits as of now",
    "nobody opens or clicks the simulated messages",
    "calls answer nothing, and what steps update or emit changes nothing",
    "points and tiers as recorded, with what points steps award and deduct; multipliers raise nothing",
    "templates are not rendered, so no message is skipped by an abort in one",
    "rewards do not run out",
    "suppressions as of now; messages of other journeys count towards the caps as they were sent",
    "anonymous events count for whom they belong to now",
)
"""What a simulation takes for granted."""


@dataclass(frozen=True, slots=True)
class _Rules:
    """A definition compiled once for all customers."""

    definition: JourneyDefinition
    flow: Flow
    deciders: Deciders
    qualifies: tuple[HistoryJudge, ...]  # the entry's condition
    audiences: tuple[HistoryJudge, ...]  # of schedules
    entries: tuple[Matcher, ...]
    exits: tuple[tuple[Matcher, str], ...]
    goal: Matcher | None
    goal_within: timedelta
    is_of_value: bool
    gives: bool
    tells: bool

    @classmethod
    def of(cls, definition: JourneyDefinition) -> _Rules:
        goal = definition.goal
        within = parse_duration(goal.within if goal and goal.within else f"{definition.max_days}d")
        audiences = [entry.audience for entry in definition.enter.entries if isinstance(entry, ScheduleEntry)]
        condition = definition.enter.if_
        return cls(
            definition=definition,
            flow=Flow(definition),
            deciders=Deciders.of(definition),
            qualifies=() if condition is None else (compile_condition(condition),),
            audiences=tuple(compile_condition(audience) for audience in audiences),
            entries=tuple(matches for entry in definition.enter.entries if (matches := compile_entry(entry))),
            exits=tuple((compile_match(match), exit_reason(match)) for match in definition.exit),
            goal=None if goal is None else compile_match(goal),
            goal_within=within.longest(),
            is_of_value=is_of_value(definition),
            gives=Worth().given_by(definition),
            tells=any(isinstance(step, SendStep) for step in definition.walk()),
        )


class Simulation:
    """Plays customers over [start, end) and sums up."""

    def __init__(
        self,
        definition: JourneyDefinition,
        settings: ShopSettings,
        start: datetime,
        end: datetime,
        rewards: Collection[str] = (),
    ) -> None:
        self._rules = _Rules.of(definition)
        self._settings = settings
        self._rewards = rewards
        self._start, self._end = start, end
        self._result = SimulationResult(steps={step.id or "": StepCounts() for step in definition.walk()})

    def play(self, record: RecordedCustomer) -> None:
        """One customer's part in the period."""
        customer = SimulatedCustomer(record, self._settings)
        world = _CustomerWorld(self._rules, self._settings, customer, self._start, self._rewards)
        told = [event for event in record.events if event.name not in TOLD or not event.own]
        crossed = crossings(record, self._rules.definition.enter.thresholds)
        for event in _by_time([*told, *crossed, *self._due(record)]):
            if event.timestamp >= self._end:
                break
            world.hear(event)
        world.run_until(self._end)
        _add(self._result, world, self._rules.definition.journey)

    def result(self) -> SimulationResult:
        """The sum so far."""
        return self._result

    def _due(self, record: RecordedCustomer) -> Iterable[Happening]:
        """What dates and schedules would have entered, as events of our own."""
        for entry in self._rules.definition.enter.entries:
            match entry:
                case DateEntry(date=rule):
                    zone = resolve_zone(record.zone, self._settings.zone)
                    moment, read = self._start, reader(rule.trait)
                    is_trusted = read(record.traits) == read(record.trusted_traits)
                    while (due := due_of(rule, record.traits, zone, moment)) is not None and due.at < self._end:
                        yield own_event(record.id, f"{due.day}", due.at, trusted=is_trusted)
                        moment = due.at + timedelta(seconds=1)
                case ScheduleEntry(schedule=cron, zone=name):
                    moment = self._start - timedelta(seconds=1)
                    while (moment := next_cron(cron, moment, resolve_zone(name, self._settings.zone))) < self._end:
                        yield own_event(record.id, moment.isoformat(), moment)
                case _:
                    pass


@dataclass
class _CustomerWorld:
    """One customer's runs under the virtual clock; what simulated runs ask of the world around them."""

    rules: _Rules
    settings: ShopSettings
    customer: SimulatedCustomer
    now: datetime
    rewards: Collection[str]
    runs: list[SimulatedRun] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    gate_reasons: Counter[str] = field(default_factory=Counter)
    kept_out: Counter[str] = field(default_factory=Counter)
    doubtful_gifts: list[tuple[str, datetime]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """The period begins here; what happened before is history and enters nobody."""
        self._begins = self.now
        self._heard: list[Happening] = []

    def hear(self, event: Happening) -> None:
        """Timers first, then the event: exits, waits, goals, and last the runs that it begins."""
        self.run_until(event.timestamp)
        self._heard.append(event)
        self.customer.saw(event)
        if event.timestamp < self._begins:
            return
        self.now = max(self.now, event.timestamp)
        for run in list(self.runs):
            self._settle(run, event)
        self._enter(event)

    def run_until(self, moment: datetime) -> None:
        """Let everything happen that timers cause up to a moment."""
        while due := [run for run in self.runs if run.until is not None and run.until <= moment]:
            run = min(due, key=lambda each: each.until or moment)
            self.now = max(self.now, run.until or moment)
            run.advance()

    def since(self, number: int) -> list[Happening]:
        """The events after a routing number, up to now."""
        return [event for event in self._heard if event.number > number]

    def gate(self, step: SendStep, *, is_silenced: bool, trusted: bool) -> Send | Hold | Skip:
        """The send gate of production, with the messages that the simulation has sent."""
        body, record = step.send, self.customer.record
        purpose = self.rules.definition.purpose_of(body)
        consents = self.customer.consents_by(self.now)
        to = record.addressee if body.channel == "email" else ANYBODY
        candidate = Candidate(
            channel=body.channel,
            purpose=purpose,
            address=record.address if body.channel == "email" else body.channel,
            zone=self.customer.zone,
            permission=permission(consents, purpose, body.channel, self.settings.consent_defaults, to),
            suppression=cause_against(record.suppressions, purpose, consents, to),
            is_confirmed=to.takes_value or not self.rules.is_of_value,
            is_silenced=is_silenced,
            is_trusted=trusted,
            sent=[*(message for message in record.sent if message.at <= self.now), *self.sent],
        )
        decision = decide(candidate, self.settings, self.now)
        match decision:
            case Send():
                self.sent.append(Sent(self.now, body.channel, purpose, trusted))
            case Hold(reason=reason) | Skip(reason=reason):
                self.gate_reasons[reason] += 1
        return decision

    def take_over(self, reward: str) -> bool:
        """Whether a browser's run gave this and told nobody."""
        return take_over(self.runs, reward)

    def _settle(self, run: SimulatedRun, event: Happening) -> None:
        if run.ending is None:
            self._exit_or_hear(run, event)
        if run.ending is not None and run.ending.reason == SUPERSEDED:
            return
        watcher = Watcher(run.entry.event_id, run.scope())
        in_time = event.timestamp <= run.entered_at + self.rules.goal_within
        if self.rules.goal is not None and not run.converted and in_time and self.rules.goal(event, watcher):
            run.converted = True

    def _exit_or_hear(self, run: SimulatedRun, event: Happening) -> None:
        """A browser takes no value out of a trusted run, nor the word of what a run has given: it only silences it."""
        reason = self._exit_of(run, event)
        if reason is None:
            run.hear(event)
        elif not (run.has_given or (run.trusted and self.rules.gives)):
            run.exit(reason)
        elif event.trusted and (by_trusted := self._exit_of(run, event, trusted=True)) is not None:
            run.exit(by_trusted)
        else:
            run.silenced = True

    def _exit_of(self, run: SimulatedRun, event: Happening, *, trusted: bool = False) -> str | None:
        watcher = Watcher(run.entry.event_id, run.scope(trusted=trusted))
        return next((reason for matches, reason in self.rules.exits if matches(event, watcher)), None)

    def _enter(self, event: Happening) -> None:
        if not self._matches(event):
            return
        path, before = self.rules.definition.enter.for_each, list(self.runs)
        items: Sequence[Item | None] = [None] if path is None else items_of(path, entry_of(event, None))
        if not items:
            self.kept_out["items_missing"] += 1
        for item in items:
            self._enter_for(event, item, before)

    def _enter_for(self, event: Happening, item: Item | None, before: Sequence[SimulatedRun]) -> None:
        """`before`: the runs that had begun before the event, which may bar it; its own items do so by occasion."""
        trusted = event.trusted and self._matches(event, trusted=True) and self._qualifies(event, item, trusted=True)
        enter, entry = self.rules.definition.enter, entry_of(event, item)
        counting = turns(before, trusted=trusted, gives=self.rules.gives, tells=self.rules.tells)
        occasion = occasion_of(enter, entry, str(event.event_id), item)
        is_taken = any(run.occasion == occasion for run in self.runs[len(before) :])
        reason = "occasion_taken" if is_taken else self._barred(event, item, occasion, counting)
        if reason is not None or occasion is None:
            self.kept_out[reason or "occasion_missing"] += 1
            return
        give_way(before, counting, occasion, enter.again)
        run = SimulatedRun(
            world=self,
            flow=self.rules.flow,
            deciders=self.rules.deciders,
            entry=event,
            item=item,
            entered_at=self.now,
            shadow=_in_holdout(self.customer.id, self.rules.definition),
            seen_number=event.number,
            trusted=trusted,
            occasion=occasion,
        )
        self.runs.append(run)
        run.advance()

    def _matches(self, event: Happening, *, trusted: bool = False) -> bool:
        watcher = Watcher(event.event_id, self.customer.scope(self.now, trusted=trusted))
        return event.name == DUE or any(matches(event, watcher) for matches in self.rules.entries)

    def _barred(
        self, event: Happening, item: Item | None, occasion: str | None, counting: Sequence[SimulatedRun]
    ) -> str | None:
        enter = self.rules.definition.enter
        if occasion is None:
            return "occasion_missing"
        entered = [run.entered_at for run in counting]
        window = enter.again.per if enter.again else None
        since = None if window is None else parse_duration(window).before(self.now)
        bar = barred_by(
            enter.again,
            occasion_taken=any(run.occasion == occasion for run in counting),
            is_active=any(run.ending is None for run in counting),
            last_entered_at=max(entered, default=None),
            entered_within=sum(since is None or moment > since for moment in entered),
            as_of=self.now,
        )
        if bar is not None:
            return bar
        return None if self._qualifies(event, item) else "condition"

    def _qualifies(self, event: Happening, item: Item | None, *, trusted: bool = False) -> bool:
        """Whether the entry's condition holds, and for a schedule that the customer belongs to its audience."""
        history = self.customer.history({}, self.now, event.number, self.now)
        scope = self.customer.scope(self.now, entry_of(event, item), trusted=trusted)
        judges = self.rules.qualifies + (self.rules.audiences if event.name == DUE else ())
        return all(holds(history.trusted() if trusted else history, scope) for holds in judges)


def _by_time(events: list[Happening]) -> list[Happening]:
    return sorted(events, key=lambda event: (event.timestamp, event.number))


def _in_holdout(customer_id: UUID, definition: JourneyDefinition) -> bool:
    """As enrolment decides it, so that the same customers are left out."""
    salt = f"holdout:{definition.journey}"
    return buckets.position(customer_id, salt) < definition.enter.holdout * buckets.SIZE / 100


def _add(result: SimulationResult, world: _CustomerWorld, journey: str) -> None:
    for reason, times in world.kept_out.items():
        result.kept_out[reason] = result.kept_out.get(reason, 0) + times
    for reason, times in world.gate_reasons.items():
        result.gate[reason] = result.gate.get(reason, 0) + times
    for message in world.sent:
        day = message.at.date()
        result.messages[day] = result.messages.get(day, 0) + 1
    for run in world.runs:
        _add_run(result, run)
        if len(result.samples) < SAMPLES:
            result.samples.append(_sample(run, world))


def _add_run(result: SimulationResult, run: SimulatedRun) -> None:
    if run.shadow:
        result.holdout += 1
        return
    result.entered += 1
    result.untrusted += not run.trusted
    result.costs += run.costs
    result.converted += run.converted
    match run.ending.state if run.ending else RunState.ACTIVE:
        case RunState.ACTIVE:
            result.active += 1
        case RunState.COMPLETED:
            result.completed += 1
        case RunState.FAILED:
            result.failed += 1
        case RunState.EXITED:
            reason = (run.ending.reason if run.ending else None) or "exited"
            result.exited[reason] = result.exited.get(reason, 0) + 1
    _add_steps(result, run)


def _add_steps(result: SimulationResult, run: SimulatedRun) -> None:
    """Each run counts once for each step and outcome, as in the funnel."""
    for step in {logged.step for logged in run.log}:
        result.steps[step].reached += 1
    for step, outcome, reason in {(logged.step, logged.outcome, logged.reason) for logged in run.log}:
        tally = result.steps[step]
        match outcome:
            case OutcomeKind.DONE:
                tally.done += 1
            case OutcomeKind.SKIPPED:
                tally.skipped[reason or "skipped"] = tally.skipped.get(reason or "skipped", 0) + 1
            case OutcomeKind.FAILED:
                tally.failed += 1
            case "waiting":
                tally.waiting += 1
            case _:
                pass


def _sample(run: SimulatedRun, world: _CustomerWorld) -> SampleRun:
    ended = run.ending is not None
    return SampleRun(
        customer_id=world.customer.record.external_id,
        entered_at=run.entered_at,
        ended_at=max((logged.at for logged in run.log if logged.at), default=run.entered_at) if ended else None,
        state=run.ending.state if run.ending else RunState.ACTIVE,
        reason=run.ending.reason if run.ending else None,
        holdout=run.shadow,
        trusted=run.trusted,
        steps=run.log,
    )
