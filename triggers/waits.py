"""What events do to runs under way: exits first, then waits, then goals. Decided in memory, written at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from database.outbox import CommandKind, NewCommand, add_commands
from database.session import WriteSession
from database.watches import (
    Converted,
    Exited,
    Silenced,
    WaitMet,
    WaitMoved,
    WatchedRun,
    convert_runs,
    doubt_runs,
    exit_runs,
    settle_waits,
    silence_runs,
)
from domain.commerce import event_currency
from domain.conditions.memory import Scope
from domain.conditions.paths import reader
from domain.journeys.waiting import Happening, Met, Restarted, Watcher
from domain.money import minor_units
from domain.runs import SUPERSEDED, Doubt, RunState, doubted, silenced
from triggers.batch import BatchCustomer, BatchEvent, Wave
from triggers.live import ExitRule, JourneyVersion

MERGED = "merged"
"""The reason of a run that ended because an older one of the same person goes on."""


@dataclass(slots=True)
class Settlement:
    """What is to be written about runs that were under way."""

    exits: list[Exited] = field(default_factory=list)
    goals: list[Converted] = field(default_factory=list)
    met: list[WaitMet] = field(default_factory=list)
    moved: list[WaitMoved] = field(default_factory=list)
    doubts: list[UUID] = field(default_factory=list)
    silenced: list[Silenced] = field(default_factory=list)
    wakes: dict[str, None] = field(default_factory=dict)  # workflow ids, each once, in order

    def exit(self, run: WatchedRun, reason: str) -> None:
        """The run is over."""
        run.state, run.reason, run.waits = RunState.EXITED, reason, []
        self.exits.append(Exited(run.id, reason))
        self.wake(run)

    def silence(self, run: WatchedRun, why: Mapping[str, str]) -> None:
        """No message of it leaves until it has given something."""
        if run.silenced is None:
            run.silenced = why
            self.silenced.append(Silenced(run.id, why))

    def doubt(self, run: WatchedRun, as_of: datetime) -> None:
        """It is untrusted from here on."""
        run.untrusted = doubted(Doubt.EVENT, as_of)
        self.doubts.append(run.id)

    def wake(self, run: WatchedRun) -> None:
        """Its workflow is to look at the run's row."""
        self.wakes[run.workflow_id] = None

    async def write(self, session: WriteSession, as_of: datetime) -> None:
        """Write it, with the wakes."""
        await settle_waits(session, self.met, self.moved, as_of)
        await exit_runs(session, self.exits, as_of)
        await silence_runs(session, self.silenced)
        await doubt_runs(session, self.doubts, as_of)
        await convert_runs(session, self.goals)
        await add_commands(session, [NewCommand(CommandKind.WAKE, workflow) for workflow in self.wakes])


@dataclass(frozen=True, slots=True)
class _Meeting:
    """One event meets one run."""

    run: WatchedRun
    version: JourneyVersion
    happening: Happening
    watcher: Watcher


def settle(wave: Wave, event: BatchEvent, happening: Happening, into: Settlement) -> None:
    """What one happening does to all runs of the customer of `event` (its own, or one of a joined history)."""
    for run in event.customer.runs:
        version = wave.versions.get((run.journey, run.version))
        if version is None or (event.is_history and happening.timestamp < run.entered_at):
            continue
        meeting = _Meeting(run, version, happening, Watcher(run.id, _scope(wave, event, run)))
        is_under_way = run.state == RunState.ACTIVE
        if is_under_way:
            if not _exit(wave, event, meeting, into):
                _meet_waits(meeting, into)
            _doubt_what_goes_on(wave, event, meeting, into)
        if is_under_way and (event.zone_changed or version.looks or _moves_its_date(event, meeting)):
            into.wake(run)  # the end of its wait is worked out again, its conditions are looked at
        if not run.converted and _reaches_goal(meeting):
            run.converted = True
            into.goals.append(_conversion(meeting, wave))


def wake_at_waits(wave: Wave, customer: BatchCustomer, into: Settlement) -> None:
    """The customer has become another (merged, or with a history moved): zone and dates may be others now."""
    for run in customer.runs:
        version = wave.versions.get((run.journey, run.version))
        if version is not None and (version.looks or any(wait.step not in version.waits for wait in run.waits)):
            into.wake(run)


def _moves_its_date(event: BatchEvent, at: _Meeting) -> bool:
    dates = {at.version.dated_waits.get(wait.step) for wait in at.run.waits}
    return not dates.isdisjoint(event.changed_traits or ())


def _scope(wave: Wave, event: BatchEvent, run: WatchedRun, *, trusted: bool = False) -> Scope:
    zone, customer = wave.ground_of(event.customer, trusted=trusted)
    return Scope(as_of=wave.as_of, zone=zone, entry=run.entry, customer=customer, saved=run.saved)


def _doubt_what_goes_on(wave: Wave, event: BatchEvent, at: _Meeting, into: Settlement) -> None:
    """Whether an exit rule kept a run on because of what a browser told of its customer."""
    if at.run.state != RunState.ACTIVE or not at.version.exits or not event.customer.profile.has_untrusted:
        return
    watcher = Watcher(at.run.id, _scope(wave, event, at.run, trusted=True))
    if at.happening.trusted and any(rule.matches(at.happening, watcher) for rule in at.version.exits):
        into.doubt(at.run, wave.as_of)


def _exit(wave: Wave, event: BatchEvent, at: _Meeting, into: Settlement) -> bool:
    """Whether the happening is an exit. A browser takes no value out of a trusted run, nor the word of value that any
    run has given: it only silences it.
    """
    rule = _exit_rule(at, at.watcher)
    if rule is None:
        return False
    if at.run.has_given or (at.run.trusted and wave.published.worth.given_by(at.version.definition)):
        by_trusted = _exit_by_trusted_facts(wave, event, at)
        if by_trusted is None:
            into.silence(at.run, silenced(rule.reason, at.happening.event_id, wave.as_of))
            return True
        rule = by_trusted
    into.exit(at.run, rule.reason)
    return True


def _exit_rule(at: _Meeting, watcher: Watcher) -> ExitRule | None:
    return next((rule for rule in at.version.exits if rule.matches(at.happening, watcher)), None)


def _exit_by_trusted_facts(wave: Wave, event: BatchEvent, at: _Meeting) -> ExitRule | None:
    if not at.happening.trusted:
        return None
    return _exit_rule(at, Watcher(at.run.id, _scope(wave, event, at.run, trusted=True)))


def _meet_waits(at: _Meeting, into: Settlement) -> None:
    run = at.run
    for wait in tuple(run.waits):
        compiled = at.version.waits.get(wait.step)
        match compiled.judge(at.happening, at.watcher) if compiled else None:
            case Met(alternative=alternative):
                run.waits.remove(wait)
                into.met.append(WaitMet(run.id, wait.step, wait.visit, alternative, at.happening.event_id))
                into.wake(run)
            case Restarted(deadline=deadline):
                wait.deadline = max(wait.deadline or deadline, deadline)
                into.moved.append(WaitMoved(run.id, wait.step, wait.visit, wait.deadline))
            case None:
                pass


def _reaches_goal(at: _Meeting) -> bool:
    """The first match within its time after entry, by when it happened: also when the same event ended the run, or when
    the run had ended before."""
    goal, entered = at.version.goal, at.run.entry.get("timestamp")
    if goal is None or at.run.reason in (MERGED, SUPERSEDED) or not goal(at.happening, at.watcher):
        return False
    came_after = not isinstance(entered, str) or at.happening.timestamp >= datetime.fromisoformat(entered)
    return came_after and at.happening.timestamp <= at.version.goal_within.after(at.run.entered_at)


def _conversion(at: _Meeting, wave: Wave) -> Converted:
    """What it was worth, if the journey says so: a browser's word is worth nothing."""
    goal, happening = at.version.definition.goal, at.happening
    value: int | None = None
    currency: str | None = None
    if goal is not None and goal.value is not None and happening.trusted:
        currency = event_currency(happening.properties) or wave.shop.currency
        found = reader(goal.value)({"event": happening.name, "properties": happening.properties})
        value = minor_units(found[0], currency) if found else None
    return Converted(at.run.id, happening.event_id, wave.as_of, value, currency)
