"""Which journeys give something of value, by their own steps or by what those set off."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

from domain.journeys.definition import JourneyDefinition
from domain.journeys.steps import EmitStep, PointsStep, RewardStep, StartStep
from domain.journeys.value import events_of


@dataclass(frozen=True, slots=True)
class Worth:
    """What leads to value now: the names of events that earn, count or enter, and the keys of journeys that give."""

    events: frozenset[str] = frozenset()
    journeys: frozenset[str] = frozenset()

    @classmethod
    def of(cls, events: Collection[str], live: Collection[JourneyDefinition]) -> Self:
        """From the events that earn by themselves; journeys that lead to one another are followed to the end."""
        found, waiting = cls(frozenset(events)), list(live)
        while giving := [each for each in waiting if found.given_by(each)]:
            led_on_by = {name for each in giving for name in events_of(each)}
            found = cls(found.events | led_on_by, found.journeys | {each.journey for each in giving})
            waiting = [each for each in waiting if each not in giving]
        return found

    def given_by(self, definition: JourneyDefinition) -> bool:
        """Whether a run of this version may give something: it is of value to be in it."""
        return any(self._gives(step) for step in definition.walk())

    def _gives(self, step: object) -> bool:
        match step:
            case PointsStep() | RewardStep():
                return True
            case EmitStep(emit=body):
                return body.event in self.events
            case StartStep(start=body):
                return body.journey in self.journeys
            case _:
                return False
