"""What an order earns once it was edited more than a day after it: by its last amount, and all else as it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction

from domain.conditions.memory import Scope
from domain.earned_amounts import NotCounted, Sale, Worth, rounded, worth_of
from domain.programmes.rules import MOST_POINTS, EarnRule
from domain.unpaid import Unpaid


@dataclass(frozen=True, slots=True)
class Change:
    """So many points more than before, or less, by an edit that counts from then on."""

    at: datetime
    by: int


@dataclass(frozen=True, slots=True)
class Terms:
    """By what a rule paid, which later edits leave alone: the product of its multipliers, and the room of its limit."""

    rule: EarnRule
    factor: Fraction
    room: int | None

    def paid(self, wanted: int) -> tuple[int, Unpaid | None]:
        """What is paid of the points that the rule comes to, and why not all of them."""
        if wanted <= 0:
            return 0, Unpaid.NOTHING
        if self.room is None or wanted <= self.room:
            return wanted, None
        clips = self.rule.limit is not None and self.rule.limit.over == "clip"
        return (self.room, Unpaid.CLIPPED) if clips and self.room else (0, Unpaid.LIMIT)


@dataclass(frozen=True, slots=True)
class Amended:
    """What a decision comes to after edits. `changes`: what each of them made of its points."""

    points: int
    reason: Unpaid | None
    wanted: int = 0
    exact: Fraction = Fraction(0)
    worth: Worth | None = None
    changes: Sequence[Change] = ()


def amended(terms: Terms, points: int, sales: Sequence[tuple[datetime, Sale]], scope: Scope) -> Amended:
    """What `points` become by the sales that later edits made of the order, at least one, each from when it counts."""
    after, changes = Amended(points, None), []
    for at, sale in sales:
        before, after = after.points, _by(terms, sale, scope)
        if after.points != before:
            changes.append(Change(at, after.points - before))
    return replace(after, changes=changes)


def _by(terms: Terms, sale: Sale, scope: Scope) -> Amended:
    worth = worth_of(terms.rule.amount, sale, scope)
    if isinstance(worth, NotCounted):
        return Amended(0, Unpaid.EDITED)
    exact = worth.points * terms.factor
    wanted = min(rounded(exact, terms.rule.amount), MOST_POINTS)
    points, reason = terms.paid(wanted)
    return Amended(points, Unpaid.EDITED if reason is Unpaid.NOTHING else reason, wanted, exact, worth)
