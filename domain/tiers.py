"""What tiers are judged by: levels, measures, windows of time, what happens at a period's end. Pure values.

How a customer moves through them over time is domain/tier_histories.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import assert_never
from zoneinfo import ZoneInfo

from domain.durations import Duration, parse_duration
from domain.programmes.definition import (
    AnniversaryWindow,
    CalendarWindow,
    LifetimeWindow,
    OrdersMeasure,
    PointsMeasure,
    ProgrammeDefinition,
    RollingWindow,
    SpendMeasure,
)

CALENDAR = {"month": "1mo", "quarter": "3mo", "half": "6mo", "year": "1y"}
"""How long the periods of a calendar window are."""


class Measure(StrEnum):
    """What is summed up."""

    POINTS = "points"  # earned by rules of the programme
    SPEND = "spend"  # minor units
    ORDERS = "orders"  # their number


@dataclass(frozen=True, slots=True)
class Measured:
    """A measure with what it needs to be read."""

    measure: Measure
    of: str = ""  # total, subtotal or revenue of an order
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class Rolling:
    """The last so and so long."""

    length: Duration


@dataclass(frozen=True, slots=True)
class Calendar:
    """Since the calendar period began; `length` is a period text such as `3mo`."""

    length: str


@dataclass(frozen=True, slots=True)
class Anniversary:
    """Since the last of the periods began that are counted from the day of joining."""

    length: Duration


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Everything."""


Window = Rolling | Calendar | Anniversary | Lifetime


@dataclass(frozen=True, slots=True)
class Level:
    """One tier and what it takes: `threshold` in units of the measure, from which on it is reached."""

    tier: str
    threshold: int
    for_life: bool = False


@dataclass(frozen=True, slots=True)
class TierRules:
    """The tiers of one version of the programme, in force from `since` until the next version."""

    version: int
    since: datetime
    measured: Measured
    window: Window
    levels: Sequence[Level]
    zone: ZoneInfo
    falls: bool = True  # whether anybody ever goes down at a period's end
    by_one: bool = True  # by one level; else to the level that the figure reaches
    grace: Duration | None = None  # after a period's end

    def rank_for(self, figure: int) -> int:
        """The highest level whose threshold the figure reaches: its position, -1 below the first."""
        return max((rank for rank, level in enumerate(self.levels) if level.threshold <= figure), default=-1)

    def rank_after(self, rank: int, figure: int) -> int:
        """The level a member drops to after missing the threshold, by the figure reached."""
        below = rank - 1 if self.by_one else -1
        for_life = (kept for kept in range(rank) if self.levels[kept].for_life)
        return max(below, self.rank_for(figure), self.base, *for_life)

    @property
    def base(self) -> int:
        """The level of somebody who has done nothing."""
        return self.rank_for(0)

    def tier(self, rank: int) -> str | None:
        """The name of a level; None below the first."""
        return self.levels[rank].tier if rank >= 0 else None

    def rank_of(self, tier: str | None) -> int | None:
        """The position of a tier, -1 for none at all, None for one that these rules do not know."""
        if tier is None:
            return -1
        return next((rank for rank, level in enumerate(self.levels) if level.tier == tier), None)


def tier_rules(
    definition: ProgrammeDefinition, version: int, since: datetime, zone: ZoneInfo, currency: str
) -> TierRules | None:
    """The tiers of a programme's version; None if it has none. `currency`: the shop's, where it names none."""
    tiers = definition.tiers
    if tiers is None:
        return None
    return TierRules(
        version=version,
        since=since,
        measured=_measured(tiers.measure, currency),
        window=_window(tiers.measure.window),
        # By threshold, whatever the order they were written in: erpnext 22167 takes the wrong one of an unsorted list.
        levels=sorted(
            (Level(level.tier, level.from_, level.for_life) for level in tiers.levels), key=lambda one: one.threshold
        ),
        zone=zone,
        falls=tiers.downgrade.when == "period_end",
        by_one=tiers.downgrade.by == "one",
        grace=_some(parse_duration(tiers.downgrade.grace)),
    )


def _some(duration: Duration) -> Duration | None:
    return duration if duration.seconds or duration.months else None


def _measured(measure: PointsMeasure | SpendMeasure | OrdersMeasure, currency: str) -> Measured:
    match measure:
        case PointsMeasure():
            return Measured(Measure.POINTS)
        case SpendMeasure(spend=of, currency=named):
            return Measured(Measure.SPEND, of, named or currency)
        case OrdersMeasure():
            return Measured(Measure.ORDERS)
    assert_never(measure)


def _window(window: RollingWindow | CalendarWindow | AnniversaryWindow | LifetimeWindow) -> Window:
    match window:
        case RollingWindow(rolling=length):
            return Rolling(parse_duration(length))
        case CalendarWindow(calendar=unit):
            return Calendar(CALENDAR[unit])
        case AnniversaryWindow(anniversary=length):
            return Anniversary(parse_duration(length))
        case LifetimeWindow():
            return Lifetime()
    assert_never(window)
