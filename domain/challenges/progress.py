"""Where a member stands in a challenge: a pure function of facts, definition and as-of, whatever order they came in."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from domain.challenges.definition import ChallengeDefinition, ChallengeLevel, Distinct, SlidingWindow, Streak
from domain.challenges.facts import Fact
from domain.challenges.streaks import StreakState, step, walk
from domain.durations import parse_duration
from domain.periods import period_of, unit_of


@dataclass(frozen=True, slots=True)
class Reached:
    """A level that was reached: in which round of its period, when, and by which event."""

    level: str
    round: int  # from 1
    at: datetime
    event_id: UUID


@dataclass(frozen=True, slots=True)
class Standing:
    """A member in one period. `figure` is that of the round under way; `last_at` when the member came to it: what
    changes no figure, such as an item that counts already, is no contribution.
    """

    period: str
    figure: Decimal
    last_at: datetime
    round: int = 1
    reached: tuple[Reached, ...] = ()
    streak: StreakState | None = None


def standings(definition: ChallengeDefinition, facts: Iterable[Fact], as_of: datetime) -> dict[str, Standing]:
    """The member's standing in every period with a contribution. Facts of the future do not count yet."""
    periods: dict[str, list[Fact]] = {}
    once: dict[str | UUID, Fact] = {}  # told twice, a fact counts as of the first time
    for fact in sorted(facts, key=lambda each: (each.at, each.event_id)):
        once.setdefault(fact.key, fact)
    for fact in once.values():
        if fact.at <= as_of:
            periods.setdefault(period_of(fact.day, definition.every), []).append(fact)
    return {period: _standing(definition, period, told, as_of) for period, told in periods.items()}


def can_go_on(definition: ChallengeDefinition) -> bool:
    """Whether a standing is all that facts later than it need: not what was distinct, in a row, or within a window."""
    by_history = isinstance(definition.metric, Distinct | Streak) or isinstance(definition.window, SlidingWindow)
    return not by_history


def go_on(definition: ChallengeDefinition, standing: Standing, facts: Iterable[Fact]) -> Standing:
    """The standing after facts of its period that are all later than its last; `reached` is what these reached.

    Only where `can_go_on`, and with no fact below zero.
    """
    told = sorted(facts, key=lambda each: (each.at, each.event_id))
    return _walk(definition, standing, told, told[-1].at)


def levels_reached(levels: Sequence[ChallengeLevel], figure: Decimal) -> list[ChallengeLevel]:
    """The levels that a figure has reached."""
    return [level for level in levels if figure >= level.at]


def next_level(levels: Sequence[ChallengeLevel], figure: Decimal) -> ChallengeLevel | None:
    """The level to come; None after the last."""
    return next((level for level in levels if figure < level.at), None)


def _standing(definition: ChallengeDefinition, period: str, facts: Sequence[Fact], as_of: datetime) -> Standing:
    return _walk(definition, Standing(period, Decimal(), facts[0].at), facts, as_of)


def _walk(definition: ChallengeDefinition, before: Standing, facts: Sequence[Fact], as_of: datetime) -> Standing:
    meter, number, reached = _Meter(definition, before.figure), before.round, list[Reached]()
    levels = [] if definition.community else definition.levels
    open_levels = [level for level in levels if level.at > before.figure]
    last_at = before.last_at
    for fact in facts:
        meter.look_at(fact.at)
        figure = meter.figure
        meter.add(fact)
        if meter.figure != figure:
            last_at = fact.at
        while open_levels and meter.figure >= open_levels[0].at:
            reached.append(Reached(open_levels.pop(0).level, number, fact.at, fact.event_id))
        if levels and not open_levels and number < definition.rounds:
            meter.begin_anew(fact)
            number, open_levels = number + 1, list(levels)
    meter.look_at(as_of)
    return Standing(before.period, meter.figure, last_at, number, tuple(reached), meter.streak)


class _Meter:
    """The figure of one round, fact by fact in order of time."""

    def __init__(self, definition: ChallengeDefinition, figure: Decimal) -> None:
        self._definition = definition
        window = definition.window
        self._reach = parse_duration(window.rolling) if isinstance(window, SlidingWindow) else None
        self._metric = definition.metric
        self._within: deque[Fact] = deque()
        self._items: dict[str, int] = {}
        self._sum = figure
        self._units: set[int] = set()
        self._after: int | None = None  # units up to here belong to the round before
        self.streak = StreakState() if isinstance(definition.metric, Streak) else None

    @property
    def figure(self) -> Decimal:
        if self.streak is not None:
            return Decimal(self.streak.best)
        return Decimal(len(self._items)) if isinstance(self._metric, Distinct) else self._sum

    def add(self, fact: Fact) -> None:
        if isinstance(self._metric, Streak):
            self._mark(unit_of(fact.day, self._metric.streak))
            return
        self.look_at(fact.at)
        self._sum += fact.value
        for item in fact.items:
            self._items[item] = self._items.get(item, 0) + 1
        if self._reach is not None:
            self._within.append(fact)

    def look_at(self, moment: datetime) -> None:
        """Forget what a rolling window has left behind at this moment."""
        if self._reach is None:
            return
        start = self._reach.before(moment)
        while self._within and self._within[0].at <= start:
            self._drop(self._within.popleft())

    def begin_anew(self, fact: Fact) -> None:
        """The next round: what completed this one does not count again. What a sum went over is not carried on."""
        self._within.clear()
        self._items.clear()
        self._sum = Decimal()
        if isinstance(self._metric, Streak):
            self._units.clear()
            self._after, self.streak = unit_of(fact.day, self._metric.streak), StreakState()

    def _drop(self, fact: Fact) -> None:
        self._sum -= fact.value
        for item in fact.items:
            self._items[item] -= 1
            if not self._items[item]:
                del self._items[item]

    def _mark(self, unit: int) -> None:
        assert isinstance(self._metric, Streak)  # noqa: S101  only streaks have units
        assert self.streak is not None  # noqa: S101
        if unit in self._units or (self._after is not None and unit <= self._after):
            return
        self._units.add(unit)
        if self.streak.last is None or unit > self.streak.last:
            self.streak = step(self.streak, unit, self._metric.freezes)
        else:  # a traveller's local date went back
            self.streak = walk(self._units, self._metric.freezes)
