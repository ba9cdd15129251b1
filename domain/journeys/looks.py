"""What a run looks at besides events: conditions that end it or the wait at which it stands, and when time may change
them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from domain.conditions.model import (
    AggregateIs,
    CartIs,
    Condition,
    ConsentIs,
    Did,
    MessageWas,
    PointsAre,
    TierIs,
)
from domain.conditions.operators import PERIOD_OPERATORS, Compared, Operator
from domain.conditions.walk import leaves
from domain.durations import parse_duration
from domain.journeys.definition import JourneyDefinition
from domain.journeys.matches import ConditionMatch
from domain.journeys.steps import ConditionAlternative, Step, WaitForStep

LONGEST_LOOK: Final = timedelta(hours=1)
"""How long after time alone made a condition true a run may notice it, at most."""

SHORTEST_LOOK: Final = timedelta(minutes=1)


def exit_conditions(definition: JourneyDefinition) -> list[ConditionMatch]:
    """The exit rules that are conditions, in the order they are written."""
    return [match for match in definition.exit if isinstance(match, ConditionMatch)]


def wait_conditions(step: Step) -> list[tuple[int, Condition]]:
    """The alternatives of a `wait_for` that are conditions, each with its position."""
    if not isinstance(step, WaitForStep):
        return []
    each = enumerate(step.wait_for.any)
    return [(position, one.if_) for position, one in each if isinstance(one, ConditionAlternative)]


def looks_at_conditions(definition: JourneyDefinition) -> bool:
    """Whether what happens to a customer may matter to a run without matching anything."""
    return bool(exit_conditions(definition)) or any(wait_conditions(step) for step in definition.walk())


def next_look(definition: JourneyDefinition, step: Step) -> timedelta | None:
    """How soon a run that stands at a step looks again though nothing has happened: by the shortest time that a
    condition speaks of, within the limits above; None where only events of the customer change them.
    """
    conditions = [match.if_ for match in exit_conditions(definition)]
    conditions += [condition for _, condition in wait_conditions(step)]
    lengths = [length for condition in conditions for _, leaf in leaves(condition) for length in _lengths(leaf)]
    return min(max(min(lengths), SHORTEST_LOOK), LONGEST_LOOK) if lengths else None


def _lengths(leaf: Condition) -> Iterator[timedelta]:
    if isinstance(leaf, Compared) and leaf.comparison.operator in PERIOD_OPERATORS:
        yield LONGEST_LOOK  # a window's edge or a day passes over the value
    match leaf:
        case Did(within=str(within)) | AggregateIs(within=str(within)) | MessageWas(within=str(within)):
            yield parse_duration(within).longest()
        case CartIs(cart="age") if leaf.comparison.operator is not Operator.EXISTS:
            yield from (parse_duration(age).longest() for _, age in leaf.ages)
        case PointsAre() | TierIs() | ConsentIs() | MessageWas():  # points expire soon, records are imported
            yield LONGEST_LOOK
        case _:  # changed by events alone; the checks refuse segments and scores
            pass
