"""Streaks: a pure function of the set of active units (local days, weeks, months) and of the freezes that bridge gaps.

No seconds are ever added or subtracted, so that days of 23 and 25 hours are days like any other.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import reduce

from domain.challenges.definition import Freezes


@dataclass(frozen=True, slots=True)
class StreakState:
    """A streak after its last active unit. `length` counts active units, not frozen ones; `used`: freezes spent."""

    last: int | None = None
    length: int = 0
    best: int = 0
    freezes: int = 0
    used: int = 0


@dataclass(frozen=True, slots=True)
class StreakNow:
    """How a streak stands in a unit. `at_risk`: nothing happened in this unit yet, and the streak lives."""

    length: int
    best: int
    freezes: int
    at_risk: bool


def walk(units: Collection[int], freezes: Freezes) -> StreakState:
    """The streak over all active units, in whatever order they are given."""
    return reduce(lambda state, unit: step(state, unit, freezes), sorted(set(units)), StreakState())


def step(state: StreakState, unit: int, freezes: Freezes) -> StreakState:
    """The streak after one more active unit, later than the last."""
    missed = 0 if state.last is None else unit - state.last - 1
    if state.last is None or missed > state.freezes:
        begun = StreakState(unit, 1, max(state.best, 1), min(freezes.start, freezes.most), state.used)
        return _earned(begun, freezes)
    length = state.length + 1
    grown = StreakState(unit, length, max(state.best, length), state.freezes - missed, state.used + missed)
    return _earned(grown, freezes)


def now(state: StreakState, unit: int) -> StreakNow:
    """How the streak stands in the unit that is running: it breaks when more was missed than freezes can bridge."""
    missed = 0 if state.last is None else max(0, unit - state.last - 1)
    if state.last is None or missed > state.freezes:
        return StreakNow(0, state.best, 0, at_risk=False)
    return StreakNow(state.length, state.best, state.freezes - missed, at_risk=unit > state.last)


def _earned(state: StreakState, freezes: Freezes) -> StreakState:
    if freezes.every is None or state.length % freezes.every or state.freezes >= freezes.most:
        return state
    return replace(state, freezes=state.freezes + 1)
