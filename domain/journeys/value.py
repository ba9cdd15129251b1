"""Journeys whose messages are worth something to whoever reads them: those go to confirmed addresses only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from domain.journeys.definition import JourneyDefinition, as_event
from domain.journeys.steps import EventAlternative, PointsStep, RewardStep, WaitForStep
from domain.referrals import CLAIMED, CLICKED, EXPIRED, INVITED, QUALIFIED, REJECTED, REVOKED, REWARDED
from domain.thresholds import POINTS_FELL_BELOW, POINTS_REACHED

EVENTS_OF_VALUE: Final = frozenset(
    {
        *("Reward Redeemed", "Reward Issued", "Reward Fulfilled", "Reward Cancelled", "Reward Expired"),
        *(INVITED, CLICKED, CLAIMED, QUALIFIED, REWARDED, REJECTED, EXPIRED, REVOKED),
        *(POINTS_REACHED, POINTS_FELL_BELOW, "Points Expiring", "Contest Won"),
    }
)
"""What the product records about redemptions, coupons, referrals, points and prizes."""


def is_of_value(definition: JourneyDefinition) -> bool:
    """Whether the journey gives something, or speaks of what was given."""
    gives = any(isinstance(step, PointsStep | RewardStep) for step in definition.walk())
    return gives or not EVENTS_OF_VALUE.isdisjoint(events_of(definition))


def events_of(definition: JourneyDefinition) -> Iterator[str]:
    """The events that it enters on or waits for."""
    for entry in definition.enter.entries:
        if (match := as_event(entry)) is not None:
            yield match.event
    for step in definition.walk():
        if isinstance(step, WaitForStep):
            yield from (one.event for one in step.wait_for.any if isinstance(one, EventAlternative))
