"""What is wrong with paths to traits and into events: how they are written, and whether anything ever came there."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from domain.conditions import paths
from domain.conditions.checks import Place as ConditionPlace
from domain.conditions.checks import Seen, check_event_path, check_trait
from domain.findings import Finding
from domain.journeys.definition import JourneyDefinition, as_event
from domain.journeys.places import Place
from domain.journeys.steps import CallStep, RewardStep

_ENTRY_PATHS = ("properties", "event", "timestamp")


def check_trait_path(path: str, place: Place, seen: Seen) -> Iterator[Finding]:
    """Error malformed_path, warning trait_never_seen."""
    if not _is_path(path):
        yield _malformed(place, f"{path!r} is not a path; write names joined by dots: address.country.")
    else:
        yield from check_trait(path, place.pointer, seen, ConditionPlace(step=place.step))


def check_path_into(path: str, events: Collection[str], place: Place, seen: Seen) -> Iterator[Finding]:
    """Error malformed_path, warning property_never_seen: in none of these events that came so far."""
    if not _is_path(path):
        yield _malformed(place, f"{path!r} is not a path; write names joined by dots: address.country.")
    elif path.split(".", maxsplit=1)[0] not in _ENTRY_PATHS:
        yield _malformed(place, f"{path!r} starts nowhere in an event; write properties.{path}.")
    else:
        yield from check_event_path(path, events, place.pointer, seen, ConditionPlace(step=place.step))


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


def _malformed(place: Place, message: str) -> Finding:
    return Finding(code="malformed_path", step=place.step, pointer=place.pointer, message=message)
