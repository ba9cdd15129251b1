"""Points and tiers in memory: `points` and `tier`, as of the moment of the scope or in a given tier."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from fractions import Fraction
from typing import assert_never

from domain.conditions.dates import shifted
from domain.conditions.figures import compile_figure
from domain.conditions.history import History, Loyalty, PastLot
from domain.conditions.model import AllHold, AnyHolds, Condition, NotHolds, PointsAre, TierAtLeast, TierIs
from domain.conditions.scope import Scope
from domain.durations import parse_duration


def compile_points(condition: PointsAre) -> Callable[[History, Scope], bool]:
    """A function that compares a figure of the account; without a programme it is missing."""
    holds = compile_figure(condition.comparison)

    def judge(history: History, scope: Scope) -> bool:
        loyalty = history.loyalty
        return holds(None if loyalty is None else Fraction(_figure(condition, loyalty, scope)), scope)

    return judge


def _figure(condition: PointsAre, loyalty: Loyalty, scope: Scope) -> int:
    active = [lot for lot in loyalty.lots if _is_active(lot, scope.as_of)]
    match condition.points:
        case "available":
            return sum(lot.remaining for lot in active if _lasts(lot, scope.as_of)) - loyalty.deficit
        case "pending":
            return sum(lot.remaining for lot in loyalty.lots) - sum(lot.remaining for lot in active)
        case "expiring":
            until = shifted(scope.as_of, parse_duration(condition.within or "0d"), 1, scope.zone)
            return sum(lot.remaining for lot in active if lot.expires_at and scope.as_of < lot.expires_at <= until)
        case "earned":
            return loyalty.earned
        case "spent":
            return loyalty.spent
    assert_never(condition.points)


def _is_active(lot: PastLot, as_of: datetime) -> bool:
    return not lot.is_pending or (lot.activates_at is not None and lot.activates_at <= as_of)


def _lasts(lot: PastLot, as_of: datetime) -> bool:
    return lot.expires_at is None or lot.expires_at > as_of


def compile_tier(condition: TierIs) -> Callable[[History, Scope], bool]:
    """A function that compares the tier by the levels of the live programme."""

    def judge(history: History, scope: Scope) -> bool:
        loyalty = history.loyalty
        tier = None if loyalty is None else tier_at(loyalty, scope.as_of)
        return loyalty is not None and _is_in(condition, tier, loyalty.levels)

    return judge


def _is_in(condition: TierIs, tier: str | None, levels: Mapping[str, int]) -> bool:
    if tier is None:
        return False
    match condition.tier:
        case TierAtLeast(at_least=lowest):
            return lowest in levels and levels.get(tier, -1) >= levels[lowest]
        case name:
            return tier == name


def in_tier(condition: Condition, tier: str | None, levels: Mapping[str, int]) -> Condition:
    """The condition for somebody who is in this tier: what it asks of the tier is answered, the rest stays.

    `levels`: the thresholds of the programme that decides.
    """
    return _answered(condition, lambda leaf: _is_in(leaf, tier, levels) if isinstance(leaf, TierIs) else None)


def with_earned(condition: Condition, earned: int, scope: Scope) -> Condition:
    """The condition for somebody who has earned so many points: what it asks of them is answered, the rest stays."""

    def answer(leaf: Condition) -> bool | None:
        if not isinstance(leaf, PointsAre) or leaf.points != "earned":
            return None
        return compile_figure(leaf.comparison)(Fraction(earned), scope)

    return _answered(condition, answer)


def _answered(condition: Condition, answer: Callable[[Condition], bool | None]) -> Condition:
    """The condition with the leaves for which there is an answer in place of what they ask."""
    match condition:
        case AllHold(all=inner):
            return AllHold(all=[_answered(one, answer) for one in inner])
        case AnyHolds(any=inner):
            return AnyHolds(any=[_answered(one, answer) for one in inner])
        case NotHolds(not_=one):
            return NotHolds(not_=_answered(one, answer))
        case leaf:
            holds = answer(leaf)
    if holds is None:
        return condition
    return AllHold(all=[]) if holds else AnyHolds(any=[])


def tier_at(loyalty: Loyalty, moment: datetime) -> str | None:
    """The tier at a moment; whoever never changed has the one that takes nothing."""
    for past in loyalty.tiers:
        if past.start <= moment and (past.end is None or moment < past.end):
            return past.tier
    return next((tier for tier, threshold in loyalty.levels.items() if threshold == 0), None)
