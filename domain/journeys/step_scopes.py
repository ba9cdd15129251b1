"""What a key must be allowed to do itself before it may publish or enter a journey whose steps do it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from domain.journeys.definition import JourneyDefinition
from domain.journeys.steps import StartStep
from domain.keys import Scope, StoredKey

_SCOPES: Mapping[str, Scope] = {
    "points": Scope.LOYALTY_WRITE,
    "reward": Scope.LOYALTY_WRITE,
    "update": Scope.CUSTOMERS_WRITE,
    "crm": Scope.CUSTOMERS_WRITE,
    "emit": Scope.EVENTS_WRITE,
    "start": Scope.EVENTS_WRITE,
}
SCOPES_OF_STEPS = frozenset(_SCOPES.values())
"""Who holds all of them may publish and enter every journey."""


@dataclass(frozen=True, slots=True)
class NeededScope:
    """A step, nested ones too, and what it asks for."""

    journey: str
    step: str | None
    kind: str
    scope: Scope


def needed_scopes(definition: JourneyDefinition) -> Iterator[NeededScope]:
    """In the order in which the steps are written."""
    for step in definition.walk():
        scope = _SCOPES.get(step.kind)
        if scope is not None:
            yield NeededScope(definition.journey, step.id, step.kind, scope)


def lacking(live: Collection[JourneyDefinition], key: StoredKey) -> dict[str, list[Scope]]:
    """The live journeys that a key may not publish or enter, with the scopes that it lacks for them."""
    by_key = {definition.journey: definition for definition in live}
    found = {name: _lacks(_with_started(name, by_key), key) for name in by_key}
    return {name: sorted(scopes) for name, scopes in found.items() if scopes}


def _lacks(definitions: Collection[JourneyDefinition], key: StoredKey) -> set[Scope]:
    needed = {each.scope for definition in definitions for each in needed_scopes(definition)}
    return {scope for scope in needed if not key.may(scope)}


def _with_started(name: str, live: Mapping[str, JourneyDefinition]) -> list[JourneyDefinition]:
    """A journey and all that it starts, directly or through others."""
    found, waiting = {name: live[name]}, [name]
    while waiting:
        started = {each: live[each] for each in started_by(live[waiting.pop()]) if each in live and each not in found}
        found |= started
        waiting += started
    return list(found.values())


def started_by(definition: JourneyDefinition) -> list[str]:
    """The journeys that its steps start."""
    return [step.start.journey for step in definition.walk() if isinstance(step, StartStep)]
