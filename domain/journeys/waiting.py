"""Whether one event matches what a run watches for: alternatives and restarts of a wait, exits, goals. Pure.

The router asks for each event as it is routed; the activity that registers a wait asks for the events that came
since the run left its last wait (`look_back`). Both get the same answer for the same event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, assert_never
from uuid import UUID
from zoneinfo import ZoneInfo

from domain.conditions.memory import Scope, compile_where
from domain.conditions.model import PropertyIs
from domain.durations import parse_duration
from domain.journeys.definition import Entry, PointsEntry, TierEntry, as_event
from domain.journeys.matches import ConditionMatch, EventMatch, Match, MessageMatch, SegmentMatch, TraitMatch
from domain.journeys.steps import WaitFor
from domain.own_events import OWN_EVENTS

MESSAGE_EVENTS: Mapping[str, str] = {
    "delivered": "Email Delivered",
    "opened": "Email Opened",
    "clicked": "Email Link Clicked",
    "bounced": "Email Bounced",
    "complained": "Email Marked as Spam",
    "unsubscribed": "Unsubscribed",
}
"""The events that tell what happened to a message; their properties name `run_id`, `step` and `machine`."""

PRODUCT_SOURCE = "perennial"
"""The source of events that the product itself appends."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One routed event as a run sees it. `changed_traits`: trait names and dotted paths -> new value, null if gone."""

    event_id: UUID
    number: int
    own: bool  # the product itself recorded it
    name: str
    properties: Mapping[str, Any]
    changed_traits: Mapping[str, Any] | None
    timestamp: datetime
    received_at: datetime
    trusted: bool = True  # from a secret key, or our own: worth money


@dataclass(frozen=True, slots=True)
class Watcher:
    """The run that watches: its id for message events, its scope for references in predicates."""

    run_id: UUID
    scope: Scope


Matcher = Callable[[Happening, Watcher], bool]


@dataclass(frozen=True, slots=True)
class Met:
    """An alternative of the wait was matched."""

    alternative: int
    event: Happening


@dataclass(frozen=True, slots=True)
class Restarted:
    """The timeout starts again: the wait now ends at `deadline`."""

    deadline: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """Nothing settled the wait; it goes on until `deadline` (None: forever)."""

    deadline: datetime | None


@dataclass(frozen=True, slots=True)
class CompiledWait:
    """A `wait_for` ready to be asked."""

    alternatives: tuple[Matcher, ...]
    restarts: tuple[Matcher, ...]
    timeout: str | None
    names: frozenset[str]  # events that can matter
    watches_traits: bool  # any event that changed a trait can matter too

    def deadline_from(self, start: datetime, zone: ZoneInfo) -> datetime | None:
        """When (UTC) the timeout that starts at `start` ends; calendar months follow the wall clock of `zone`."""
        if self.timeout is None:
            return None
        return parse_duration(self.timeout).after(start.astimezone(zone)).astimezone(UTC)

    def judge(self, event: Happening, watcher: Watcher) -> Met | Restarted | None:
        """What one event does to the wait: the alternatives in order, then the restarts."""
        for position, matches in enumerate(self.alternatives):
            if matches(event, watcher):
                return Met(position, event)
        if any(matches(event, watcher) for matches in self.restarts):
            deadline = self.deadline_from(event.received_at, watcher.scope.zone)
            return None if deadline is None else Restarted(deadline)
        return None

    def look_back(self, events: Iterable[Happening], watcher: Watcher, registered_at: datetime) -> Met | Standing:
        """What the events since the run left its last wait do to this one, in routing order; restarts only lengthen."""
        deadline = self.deadline_from(registered_at, watcher.scope.zone)
        for event in sorted(events, key=lambda event: event.number):
            match self.judge(event, watcher):
                case Met() as met:
                    return met
                case Restarted(deadline=later):
                    deadline = later if deadline is None else max(deadline, later)
                case None:
                    pass
        return Standing(deadline)

    def replay(self, events: Iterable[Happening], watcher: Watcher, registered_at: datetime) -> tuple[int, UUID] | None:
        """Which alternative these events alone had met of a wait that is over, and by which; None: none in time."""
        deadline = self.deadline_from(registered_at, watcher.scope.zone)
        for event in sorted(events, key=lambda event: event.number):
            if deadline is not None and event.received_at > deadline:
                return None
            match self.judge(event, watcher):
                case Met(alternative):
                    return alternative, event.event_id
                case Restarted(deadline=later):
                    deadline = later if deadline is None else max(deadline, later)
                case None:
                    pass
        return None


def compile_wait(wait: WaitFor) -> CompiledWait:
    """Make a wait ready to be asked many times."""
    watched = [*wait.any, *wait.restart_on]
    return CompiledWait(
        alternatives=tuple(compile_match(alternative) for alternative in wait.any),
        restarts=tuple(compile_match(restart) for restart in wait.restart_on),
        timeout=wait.timeout,
        names=names_of(watched),
        watches_traits=any(isinstance(match, TraitMatch) for match in watched),
    )


def names_of(matches: Sequence[Match]) -> frozenset[str]:
    """The names of the events that can match; those of trait matches are unknown beforehand."""
    events = {match.event for match in matches if isinstance(match, EventMatch)}
    return frozenset(events | {MESSAGE_EVENTS[match.message] for match in matches if isinstance(match, MessageMatch)})


def compile_match(match: Match) -> Matcher:
    """A function that answers whether an event matches for a run."""
    match match:
        case EventMatch():
            return _event_matcher(match)
        case MessageMatch():
            return _message_matcher(match)
        case TraitMatch():
            return _trait_matcher(match)
        case SegmentMatch():
            return _never  # segments come with a later release; the checks refuse them
        case ConditionMatch():
            return _never  # no event is one: looks.py
    assert_never(match)


def compile_entry(entry: Entry) -> Matcher | None:
    """A function that answers whether an event enters by this; None for what goes by dates, schedules or calls.

    Only our own word about a tier or about points counts.
    """
    match = as_event(entry)
    matches = None if match is None else compile_match(match)
    if matches is None or not isinstance(entry, TierEntry | PointsEntry):
        return matches
    return lambda event, watcher: event.own and matches(event, watcher)


def _event_matcher(match: EventMatch) -> Matcher:
    """Under the name of one of our own events a browser's word does not count."""
    name, holds = match.event, compile_where(match.where)
    if name in OWN_EVENTS:
        return lambda event, watcher: (
            event.name == name and (event.own or event.trusted) and holds(event.properties, watcher.scope)
        )
    return lambda event, watcher: event.name == name and holds(event.properties, watcher.scope)


def _message_matcher(match: MessageMatch) -> Matcher:
    """Only the product's own word counts, only for this run, and opens and clicks by machines are nobody's."""
    name, step = MESSAGE_EVENTS[match.message], match.step

    def matches(event: Happening, watcher: Watcher) -> bool:
        told = event.properties
        return (
            event.name == name
            and event.own
            and told.get("run_id") == str(watcher.run_id)
            and (step is None or told.get("step") == step)
            and not told.get("machine")
        )

    return matches


def _trait_matcher(match: TraitMatch) -> Matcher:
    path = match.trait
    where = [PropertyIs.model_validate({"property": path, "eq": match.to})] if "to" in match.model_fields_set else []
    holds = compile_where(where)

    def matches(event: Happening, watcher: Watcher) -> bool:
        changed = event.changed_traits or {}
        return path in changed and holds(changed, watcher.scope)

    return matches


def _never(event: Happening, watcher: Watcher) -> bool:
    return False
