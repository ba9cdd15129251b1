"""What is wrong with paths to traits and into events: how they are written, and whether anything ever came there."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from domain.conditions import paths
from domain.conditions.checks import Place as ConditionPlace
from domain.conditions.checks import Seen, check_event_path, check_trait, of_items
from domain.conditions.paths import NOTHING_IS_CALCULATED, is_expression, steps_of
from domain.findings import Finding
from domain.journeys.definition import DateEntry, JourneyDefinition, ScheduleEntry, as_event
from domain.journeys.places import Place
from domain.journeys.reentry import ITEM
from domain.journeys.steps import CallStep, RewardStep

_ENTRY_PATHS = ("properties", "event", "timestamp")


def check_trait_path(path: str, place: Place, seen: Seen) -> Iterator[Finding]:
    """Error malformed_path, warning trait_never_seen."""
    if not _is_path(path):
        yield _error("malformed_path", place, f"{path!r} is not a path; write names joined by dots: address.country.")
    else:
        yield from check_trait(path, place.pointer, seen, ConditionPlace(step=place.step))


def check_path_into(
    path: str, events: Collection[str], place: Place, seen: Seen, *, items: str | None = None
) -> Iterator[Finding]:
    """Errors malformed_path and unknown_path (an expression), warning property_never_seen: in none of these events that
    came so far. `items`: the list of a `for_each`, at whose item the path may start too.
    """
    if not _is_path(path):
        yield _error("malformed_path", place, f"{path!r} is not a path; write names joined by dots: address.country.")
    elif is_expression(path):
        yield _error("unknown_path", place, f"{path!r} leads nowhere: {NOTHING_IS_CALCULATED}.")
    elif (root := steps_of(path)[0]) not in _ENTRY_PATHS and (items is None or root != ITEM):
        yield _error("malformed_path", place, f"{path!r} starts nowhere in an event; write properties.{path}.")
    else:
        told = of_items(path, items)
        yield from check_event_path(told, events, place.pointer, seen, ConditionPlace(step=place.step))


def check_event_paths(definition: JourneyDefinition, seen: Seen) -> Iterator[Finding]:
    """The paths into events that stand outside of steps: occasion, items, the worth of a goal. Also the error
    for_each_without_list, where something enters that is no event.
    """
    enter, events = definition.enter, entry_events(definition)
    if enter.occasion is not None:
        yield from check_path_into(enter.occasion, events, Place("/enter/occasion"), seen, items=enter.for_each)
    if enter.for_each is not None:
        yield from _list_of_items(enter.for_each, events, Place("/enter/for_each"), seen)
        if any(isinstance(entry, DateEntry | ScheduleEntry) for entry in enter.entries):
            message = "Dates and schedules bring no list; enter by an event or by api, or leave for_each out."
            yield Finding(code="for_each_without_list", pointer="/enter/for_each", message=message)
    if definition.goal is not None and definition.goal.value is not None:
        yield from check_path_into(definition.goal.value, [definition.goal.event], Place("/goal/value"), seen)


def _list_of_items(path: str, events: Collection[str], place: Place, seen: Seen) -> Iterator[Finding]:
    """Also the error malformed_path for what names the elements of a list, and not the list: nobody would enter."""
    if _is_path(path) and path.endswith("[]"):
        message = f"{path!r} names each element, not the list that they are in; write {path.removesuffix('[]')}."
        yield _error("malformed_path", place, message)
    else:
        yield from check_path_into(path, events, place, seen)


def entry_events(definition: JourneyDefinition) -> list[str]:
    """The events that enter; none where others enter too, since what a call brings is not known."""
    events = [match.event for entry in definition.enter.entries if (match := as_event(entry))]
    return events if len(events) == len(definition.enter.entries) else []


def names_saved(definition: JourneyDefinition) -> set[str]:
    """The names under which steps keep something for later ones (`save_as`)."""
    bodies = [
        step.call if isinstance(step, CallStep) else step.reward
        for step in definition.walk()
        if isinstance(step, CallStep | RewardStep)
    ]
    return {body.save_as for body in bodies if body.save_as is not None}


def _is_path(text: str) -> bool:
    return re.match(paths.PATTERN, text) is not None


def _error(code: str, place: Place, message: str) -> Finding:
    return Finding(code=code, step=place.step, pointer=place.pointer, message=message)
