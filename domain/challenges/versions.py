"""What a new version of a challenge must not give again, since an earlier one has given it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date

from domain.challenges.definition import ChallengeDefinition, ChallengeLevel
from domain.periods import Every, days_of, period_of


@dataclass(frozen=True, slots=True)
class Given:
    """A level that a member has: `at` is how high it was, and `day` the local date on which it was reached."""

    level: str
    at: int
    period: str
    round: int
    day: date


def was_given(
    definition: ChallengeDefinition, level: ChallengeLevel, period: str, round_: int, given: Collection[Given]
) -> bool:
    """Whether what the level gives in this period was given before, under another name or another calendar.

    A level that is gone stands for all that are no higher. A period of another calendar stands for all up to the one
    in which it was reached.
    """
    names = {each.level for each in definition.levels}
    return any(
        (level.level == each.level or (each.level not in names and level.at <= each.at))
        and _covers(each, period, round_, definition.every)
        for each in given
    )


def _covers(given: Given, period: str, round_: int, every: Every | None) -> bool:
    if _is_of(given.period, every):
        return (given.period, given.round) == (period, round_)
    return period_of(given.day, every) >= period


def _is_of(period: str, every: Every | None) -> bool:
    """Whether a period is one of this calendar."""
    days = days_of(period)
    return every is None if days is None else period_of(days[0], every) == period


def gone_levels(definition: ChallengeDefinition, heights: Mapping[str, int]) -> dict[str, int]:
    """The levels of earlier versions that are no more, with how high they were."""
    names = {each.level for each in definition.levels}
    return {level: at for level, at in heights.items() if level not in names}
