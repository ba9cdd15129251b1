"""Where a journey decides whether a run comes to a step of value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from domain.conditions.model import Condition
from domain.journeys.definition import JourneyDefinition, ScheduleEntry, walk
from domain.journeys.looks import wait_conditions
from domain.journeys.places import Place, steps_with_places
from domain.journeys.steps import BranchStep, IfArm, PointsStep, RewardStep, Step, WaitForStep


def conditions_of_value(definition: JourneyDefinition) -> Iterator[tuple[Condition, Place, bool]]:
    """Each condition on the way to a step of value, and whether the way leads there where it does not hold."""
    if not _gives(definition.steps):
        return
    if definition.enter.if_ is not None:
        yield definition.enter.if_, Place("/enter/if"), False
    for entry in definition.enter.entries:
        if isinstance(entry, ScheduleEntry):
            yield entry.audience, Place("/enter/on/audience"), False
    for step, place in steps_with_places(definition):
        if isinstance(step, BranchStep):
            yield from _of_branch(step, place)
        if isinstance(step, WaitForStep):
            for position, condition in wait_conditions(step):
                yield condition, place.within(f"/wait_for/any/{position}/if"), False


def _of_branch(step: BranchStep, place: Place) -> Iterator[tuple[Condition, Place, bool]]:
    """An arm is taken where its condition holds and none before it did."""
    giving = [_gives(arm.steps) for arm in step.branch]
    for position, arm in enumerate(step.branch):
        if isinstance(arm, IfArm) and (giving[position] or any(giving[position + 1 :])):
            yield arm.if_, place.within(f"/branch/{position}/if"), not giving[position]


def _gives(steps: Sequence[Step]) -> bool:
    """Whether one of these steps, or of those within them, gives something of value."""
    return any(
        isinstance(step, RewardStep) or (isinstance(step, PointsStep) and step.points.deduct is None)
        for step in walk(list(steps))
    )
