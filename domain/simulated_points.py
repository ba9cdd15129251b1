"""Points and tiers in a simulation: what the ledger recorded by a moment, and what simulated steps gave and took.

What was recorded stays as it was; what a simulated step took first is missing later, and counts as owed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from domain.conditions.history import Loyalty, PastLot, PastTier
from domain.thresholds import PointsFigure, Threshold


@dataclass(frozen=True, slots=True)
class RecordedLot:
    """A lot with the instants at which points came into it and left it; expiry goes by its date."""

    activates_at: datetime | None
    expires_at: datetime | None
    changes: Sequence[tuple[datetime, int]]

    def at(self, moment: datetime) -> PastLot:
        """As it was at a moment."""
        remaining = sum(points for at, points in self.changes if at <= moment)
        is_pending = self.activates_at is not None and self.activates_at > moment
        return PastLot(
            remaining=remaining, is_pending=is_pending, activates_at=self.activates_at, expires_at=self.expires_at
        )


@dataclass(frozen=True, slots=True)
class RecordedMove:
    """What one transaction added to each figure."""

    at: datetime
    changes: Mapping[PointsFigure, int]


@dataclass(frozen=True, slots=True)
class RecordedLoyalty:
    """One customer's part in the live programme; moves in the order of the ledger."""

    zone: ZoneInfo
    levels: Mapping[str, int] = field(default_factory=dict)
    tiers: Sequence[PastTier] = ()
    lots: Sequence[RecordedLot] = ()
    moves: Sequence[RecordedMove] = ()

    def crossings(self, thresholds: Collection[Threshold]) -> Iterator[tuple[int, RecordedMove, Threshold, int, int]]:
        """Which moves crossed which thresholds: the move's position, the figure before it and after it."""
        figures: Counter[PointsFigure] = Counter()
        for position, move in enumerate(self.moves):
            before = Counter(figures)
            figures.update(move.changes)
            for threshold in sorted(thresholds):
                old, new = before[threshold.figure], figures[threshold.figure]
                if threshold.is_crossed(old, new):
                    yield position, move, threshold, old, new


@dataclass(slots=True)
class SimulatedPoints:
    """The account of one customer under the virtual clock."""

    recorded: RecordedLoyalty
    given: list[RecordedLot] = field(default_factory=list)
    taken: Counter[int] = field(default_factory=Counter)  # by position of the lot: recorded ones, then given ones
    deducted: int = 0

    def at(self, moment: datetime) -> Loyalty:
        """What conditions ask about."""
        figures: Counter[PointsFigure] = Counter()
        for move in self.recorded.moves:
            if move.at <= moment:
                figures.update(move.changes)
        lots = self._lots(moment)
        return Loyalty(
            levels=self.recorded.levels,
            tiers=self.recorded.tiers,
            lots=[replace(lot, remaining=max(lot.remaining, 0)) for lot in lots],
            deficit=max(-figures["available"], 0) + sum(max(-lot.remaining, 0) for lot in lots),
            earned=figures["earned"],
            spent=figures["spent"] + self.deducted,
        )

    def award(self, points: int, at: datetime, expires_at: datetime | None) -> None:
        """A simulated step gives points."""
        self.given.append(RecordedLot(None, expires_at, [(at, points)]))

    def deduct(self, points: int, at: datetime) -> bool:
        """A simulated step takes points, what expires first before the rest; False: there are too few."""
        loyalty = self.at(at)
        usable = [
            (lot.expires_at is None, lot.expires_at or at, position, lot.remaining)
            for position, lot in enumerate(loyalty.lots)
            if not lot.is_pending and (lot.expires_at is None or lot.expires_at > at)
        ]
        if sum(remaining for *_, remaining in usable) - loyalty.deficit < points:
            return False
        self.deducted += points
        for *_, position, remaining in sorted(usable):
            part = min(points, remaining)
            self.taken[position] += part
            points -= part
        return True

    def _lots(self, moment: datetime) -> list[PastLot]:
        """All lots as they were, less what simulated steps took; below zero where the ledger took it again."""
        lots = [lot.at(moment) for lot in (*self.recorded.lots, *self.given)]
        return [replace(lot, remaining=lot.remaining - self.taken[position]) for position, lot in enumerate(lots)]
