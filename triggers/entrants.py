"""Which events could start which journeys: the candidates that enrolment.py decides about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from database.entries import UnidentifiedEntry, received_since, unidentified_entries
from database.routing import PendingEvent
from domain.audiences import DATE_PREFIX, ENTRY_DUE
from domain.conditions.memory import Scope, compile_where
from domain.events import EventKind
from domain.journeys.definition import PointsEntry, TierEntry, as_event
from domain.journeys.waiting import Happening, Watcher
from domain.runs import Doubt, silenced
from triggers.batch import BatchEvent, Wave
from triggers.earning import earners
from triggers.earning_facts import asks_for_points
from triggers.enrolment import Candidate, KeptOut
from triggers.live import EntryMatch, ExitRule, LiveJourney, LiveJourneys

_MOST_REMEMBERED = 100  # events of an anonymous visitor that are considered once we know who it is
_MOST_LATER = 1_000


def may_start(live: LiveJourneys) -> Callable[[PendingEvent], bool]:
    """Whether an event, by its kind and name alone, may start a run."""
    return lambda event: event.kind == EventKind.START or event.name in live.entries


def decisive(wave: Wave) -> Callable[[BatchEvent], bool]:
    """Whether an event may decide something by the customer's state, which what follows it must not change before.

    `wave` only says what is live; predicates that refer to the customer count as true, for traits may change before.
    """
    by_points = wave.programme is not None and asks_for_points(wave.programme)
    may_earn, may_begin = earners(wave), beginners(wave, lambda entry: entry.varies or entry.by_state)

    def is_decisive(event: BatchEvent) -> bool:
        is_guest = not event.identified  # what a guest earned is theirs once it is decided and they are known
        is_known = event.identifies or event.vouches
        return is_known or may_begin(event) or ((by_points or is_guest) and may_earn(event))

    return is_decisive


def beginners(wave: Wave, among: Callable[[EntryMatch], bool] = lambda _: True) -> Callable[[BatchEvent], bool]:
    """Whether an event may start a run, by one of the entries `among`."""

    def may_begin(event: BatchEvent) -> bool:
        if event.event.kind == EventKind.START:
            return True
        found = wave.live.entries.get(event.event.name, []) if event.may_enter else []
        found = [entry for entry in found if among(entry)]
        if not found:
            return False
        happening, watcher = event.happening(), _watcher(wave, event)
        return any(entry.varies or entry.matches(happening, watcher) for entry in found)

    return may_begin


async def candidates(wave: Wave) -> list[Candidate]:
    """Everything that the wave could start: what its events enter, and what is entered late, now that we know whom."""
    return [*await _remembered(wave), *(candidate for event in wave.events for candidate in _entered_now(wave, event))]


def _entered_now(wave: Wave, event: BatchEvent) -> list[Candidate]:
    if not event.may_enter:
        return []
    return _asked_for(wave, event) if event.event.kind == EventKind.START else _entered_by(wave, event)


def _watcher(wave: Wave, event: BatchEvent, *, trusted: bool = False) -> Watcher:
    """Who judges an entry's predicates: there is no run yet."""
    zone, customer = wave.ground_of(event.customer, trusted=trusted)
    return Watcher(event.event.id, Scope(as_of=wave.as_of, zone=zone, customer=customer))


def _entered_by(wave: Wave, event: BatchEvent) -> list[Candidate]:
    """One candidate a journey that names the event: of several entries one that matches suffices."""
    entries = wave.live.entries.get(event.event.name)
    if not entries:
        return []
    happening, watcher = event.happening(), _watcher(wave, event)
    by_journey: dict[str, list[EntryMatch]] = {}
    for entry in entries:
        by_journey.setdefault(entry.journey.key, []).append(entry)
    found = []
    for group in by_journey.values():
        matched = any(entry.matches(happening, watcher) for entry in group)
        leaf = None if matched else _failed_where(group[0].journey, event, watcher)
        candidate = _candidate(group[0].journey, event, refused=None if matched else KeptOut.WHERE, failed_leaf=leaf)
        found.append(_doubted_by_its_match(wave, event, candidate, group))
    return found


def _doubted_by_its_match(
    wave: Wave, event: BatchEvent, candidate: Candidate, group: Sequence[EntryMatch]
) -> Candidate:
    """The predicates may refer to the customer: would the event match by what trusted sources told?"""
    if candidate.refused is not None or not candidate.is_trusted or not event.customer.profile.has_untrusted:
        return candidate
    happening, watcher = event.happening(), _watcher(wave, event, trusted=True)
    matched = any(entry.matches(happening, watcher) for entry in group)
    return candidate if matched else candidate.doubted(Doubt.EVENT)


def _failed_where(journey: LiveJourney, event: BatchEvent, watcher: Watcher) -> str | None:
    """The pointer to the first predicate that kept the event out, of the first entry that names the event."""
    entries = journey.definition.enter.entries
    for position, entry in enumerate(entries):
        match = as_event(entry)
        if match is None or match.event != event.event.name:
            continue
        if isinstance(entry, TierEntry | PointsEntry):  # what it looks for is not written as predicates
            return "/enter/on" if len(entries) == 1 else f"/enter/on/any/{position}"
        place = "/enter/on" if len(entries) == 1 else f"/enter/on/any/{position}"
        for index, predicate in enumerate(match.where):
            if not compile_where([predicate])(event.event.properties, watcher.scope):
                return f"{place}/where/{index}"
    return None


def _asked_for(wave: Wave, event: BatchEvent) -> list[Candidate]:
    """The journey that our own event asks for: a `start` step, a date or a schedule. Nobody else may ask."""
    asked: Any = event.event.properties  # our own words, but JSON all the same
    journey = wave.live.journeys.get(str(asked.get("journey")))
    if journey is None or not event.is_own:
        return []
    candidate = _candidate(journey, event)
    properties = asked.get("properties")
    candidate = replace(candidate, properties=properties if isinstance(properties, dict) else {})
    return [candidate if event.event.trusted else candidate.doubted(_doubt_about(event))]


def _doubt_about(event: BatchEvent) -> Doubt:
    if event.event.name != ENTRY_DUE:
        return Doubt.EVENT
    return Doubt.DATE if event.event.message_id.startswith(DATE_PREFIX) else Doubt.AUDIENCE


def _candidate(
    journey: LiveJourney, event: BatchEvent, *, refused: KeptOut | None = None, failed_leaf: str | None = None
) -> Candidate:
    told = event.event
    return Candidate(
        journey=journey,
        customer_id=event.customer.id,
        event_id=told.id,
        message_id=told.message_id,
        event=told.name,
        properties=told.properties,
        timestamp=told.timestamp,
        number=event.number,
        depth=told.depth,
        trusted=event.counts_for_value,
        identified=event.identified,
        restricted=event.customer.is_restricted,
        refused=refused,
        failed_leaf=failed_leaf,
    )


async def _remembered(wave: Wave) -> list[Candidate]:
    """What visitors did while anonymous that would have started runs, judged by what is true now (decision 0007)."""
    identifying = {event.customer.id: event for event in wave.events if event.identifies or event.vouches}
    if not identifying:
        return []
    told = [event.event for event in identifying.values() if event.vouches]
    vouched = {id_ for each in told for id_ in (each.anonymous_id, each.previous_id) if id_ is not None}
    remembered = await unidentified_entries(wave.session, identifying, vouched, _MOST_REMEMBERED * len(identifying))
    found: list[Candidate] = []
    since = {id_: min(entry.happening.received_at for entry in entries) for id_, entries in remembered.items()}
    later = await received_since(wave.session, since, _MOST_LATER)
    for customer_id, entries in remembered.items():
        found += _late_ones(wave, identifying[customer_id], entries, later[customer_id])
    return found


def _late_ones(
    wave: Wave, event: BatchEvent, entries: Sequence[UnidentifiedEntry], later: Sequence[Happening]
) -> list[Candidate]:
    live = wave.live.journeys
    return [_late(wave, event, live[entry.journey], entry, later) for entry in entries if entry.journey in live]


def _late(
    wave: Wave, event: BatchEvent, journey: LiveJourney, entry: UnidentifiedEntry, later: Sequence[Happening]
) -> Candidate:
    """A candidate by an earlier event. Where an exit event since would have ended the run, it stays out.

    Where only a browser told of that exit, a run that may give something begins, silenced.
    """
    happening = entry.happening
    candidate = Candidate(
        journey=journey,
        customer_id=event.customer.id,
        event_id=happening.event_id,
        message_id=entry.message_id,
        event=happening.name,
        properties=happening.properties,
        timestamp=happening.timestamp,
        number=event.number,
        depth=entry.depth,
        trusted=happening.trusted and event.event.trusted,  # a browser may have said who it was
        restricted=event.customer.is_restricted,
        seen_number=event.number,
    )
    since = [each for each in later if (each.received_at, each.event_id) > (happening.received_at, happening.event_id)]
    ending = _ending(wave, event, candidate, since, trusted=False)
    if ending is None:
        return candidate
    by_trusted = _ending(wave, event, candidate, [each for each in since if each.trusted], trusted=True)
    if not candidate.is_trusted or by_trusted or journey.key not in wave.published.worth.journeys:
        return replace(candidate, refused=KeptOut.OVER_ALREADY)
    ended_by, rule = ending
    return replace(candidate, silenced=silenced(rule.reason, ended_by.event_id, wave.as_of))


def _ending(
    wave: Wave, event: BatchEvent, candidate: Candidate, since: Sequence[Happening], *, trusted: bool
) -> tuple[Happening, ExitRule] | None:
    """The first that would have ended the run, by all facts or by what trusted sources told of the customer."""
    zone, customer = wave.ground_of(event.customer, trusted=trusted)
    scope = Scope(as_of=wave.as_of, zone=zone, customer=customer, entry=candidate.entry)
    watcher = Watcher(event.event.id, scope)
    endings = ((each, rule) for each in since for rule in candidate.journey.exits if rule.matches(each, watcher))
    return next(endings, None)
