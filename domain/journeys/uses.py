"""What a journey needs of other documents at run time: templates it sends, rewards it gives, journeys it starts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from domain.journeys.definition import JourneyDefinition
from domain.journeys.steps import RewardStep, SendStep, StartStep


class Use(NamedTuple):
    """A step, nested ones too, and the document that it needs."""

    kind: str  # template | reward | journey
    key: str
    step: str | None


def uses_of(definition: JourneyDefinition) -> Iterator[Use]:
    """In the order in which the steps are written. A journey that starts itself uses no other document."""
    for step in definition.walk():
        match step:
            case SendStep(send=body):
                yield Use("template", body.template, step.id)
            case RewardStep(reward=body):
                yield Use("reward", body.give, step.id)
            case StartStep(start=body) if body.journey != definition.journey:
                yield Use("journey", body.journey, step.id)
            case _:
                pass
