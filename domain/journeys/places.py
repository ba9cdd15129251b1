"""Where things stand in a journey document: a JSON pointer for each step, and what the document refers to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from domain.conditions.model import Condition, Predicate
from domain.journeys.definition import JourneyDefinition, ScheduleEntry
from domain.journeys.identity import Block, as_json, nested
from domain.journeys.matches import ConditionMatch, EventMatch, Match
from domain.journeys.steps import BranchStep, IfArm, Step, WaitForStep


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the document, and the id of the step around it (None outside of steps)."""

    pointer: str
    step: str | None = None

    def within(self, suffix: str) -> Place:
        """A place further in."""
        return Place(self.pointer + suffix, self.step)


def steps_with_places(definition: JourneyDefinition) -> Iterator[tuple[Step, Place]]:
    """All steps of a definition with ids, in the order they are written."""
    pointers = _pointers(as_json(definition)["steps"], "/steps")
    for step, pointer in zip(definition.walk(), pointers, strict=True):
        yield step, Place(pointer, step.id)


def conditions_with_places(definition: JourneyDefinition) -> Iterator[tuple[Condition, Place]]:
    """Every condition: the entry's, a schedule's audience, exits, alternatives of waits, the arms of branches."""
    if definition.enter.if_ is not None:
        yield definition.enter.if_, Place("/enter/if")
    for entry in definition.enter.entries:
        if isinstance(entry, ScheduleEntry):
            yield entry.audience, Place("/enter/on/audience")
    for match, place in matches_with_places(definition):
        if isinstance(match, ConditionMatch):
            yield match.if_, place.within("/if")
    for step, place in steps_with_places(definition):
        for position, arm in enumerate(step.branch if isinstance(step, BranchStep) else ()):
            if isinstance(arm, IfArm):
                yield arm.if_, place.within(f"/branch/{position}/if")


def matches_with_places(definition: JourneyDefinition) -> Iterator[tuple[Match, Place]]:
    """Everything that is matched against events: entries, goal, exits, alternatives and restarts of waits."""
    several = len(definition.enter.entries) > 1
    for position, entry in enumerate(definition.enter.entries):
        if isinstance(entry, EventMatch):
            yield entry, Place(f"/enter/on/any/{position}" if several else "/enter/on")
    if definition.goal is not None:
        yield definition.goal, Place("/goal")
    for position, match in enumerate(definition.exit):
        yield match, Place(f"/exit/{position}")
    for step, place in steps_with_places(definition):
        if isinstance(step, WaitForStep):
            for position, alternative in enumerate(step.wait_for.any):
                yield alternative, place.within(f"/wait_for/any/{position}")
            for position, restart in enumerate(step.wait_for.restart_on):
                yield restart, place.within(f"/wait_for/restart_on/{position}")


def predicates_with_places(definition: JourneyDefinition) -> Iterator[tuple[Predicate, Place]]:
    """Every predicate over an event's properties that a match carries."""
    for match, place in matches_with_places(definition):
        if isinstance(match, EventMatch):
            for position, predicate in enumerate(match.where):
                yield predicate, place.within(f"/where/{position}")


def _pointers(block: Block, start: str) -> Iterator[str]:
    """In the same order as `JourneyDefinition.walk`."""
    for position, step in enumerate(block):
        pointer = f"{start}/{position}"
        yield pointer
        for suffix, inner in nested(step):
            yield from _pointers(inner, pointer + suffix)
