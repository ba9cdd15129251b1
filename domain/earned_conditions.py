"""The conditions that an event's decisions depend on: of its rules, and of the multipliers that count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from domain.conditions.model import Condition
from domain.programmes.definition import ProgrammeDefinition
from domain.programmes.rules import Multiplier


def conditions_of(definition: ProgrammeDefinition, event: str) -> list[tuple[str, Condition]]:
    """Every condition that an event of this name depends on, with its pointer: what `truths` must answer."""
    found = list(_conditions("", definition.multiply))
    for position, rule in enumerate(definition.earn):
        if rule.on.event == event:
            if rule.if_ is not None:
                found.append((f"/earn/{position}/if", rule.if_))
            found += _conditions(f"/earn/{position}", rule.multiply)
    return found


def placed(pointer: str, multipliers: Sequence[Multiplier]) -> Iterator[tuple[str, Multiplier]]:
    """Multipliers with their pointers."""
    for position, multiplier in enumerate(multipliers):
        yield f"{pointer}/multiply/{position}", multiplier


def _conditions(pointer: str, multipliers: Sequence[Multiplier]) -> Iterator[tuple[str, Condition]]:
    for place, multiplier in placed(pointer, multipliers):
        if multiplier.if_ is not None:
            yield f"{place}/if", multiplier.if_
