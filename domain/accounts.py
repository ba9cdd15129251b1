"""A member's account as moves change it: its buckets, lots and holds. What may change is decided in `ledger.py`.

Every point stands in one bucket. What is available or pending stands in lots as well, what is held in parts of lots:
`available = sum of the remainders of active lots - deficit`; while there is a deficit no active lot has a remainder.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

from domain.points import Balance

NEVER = datetime.max.replace(tzinfo=UTC)
"""When a lot without an expiry lapses."""


class Bucket(StrEnum):
    """Where points stand. The amounts of all buckets of all accounts sum to zero: what is issued is negative."""

    ISSUED = "issued"
    PENDING = "pending"
    AVAILABLE = "available"
    HELD = "held"
    REDEEMED = "redeemed"
    EXPIRED = "expired"
    REVERSED = "reversed"


class Use(StrEnum):
    """What became of points of a lot."""

    HELD = "held"
    REDEEMED = "redeemed"
    EXPIRED = "expired"
    REVERSED = "reversed"
    ABSORBED = "absorbed"  # by the account's deficit
    TRANSFERRED = "transferred"
    REISSUED = "reissued"  # into a child lot that lives longer
    RETURNED = "returned"  # into the lot again


class HoldState(StrEnum):
    """How a hold stands; it ends once."""

    OPEN = "open"
    CAPTURED = "captured"
    RELEASED = "released"
    EXPIRED = "expired"


@dataclass(slots=True)
class Lot:
    """Points that came in together. `remaining` leaves out what is held."""

    id: UUID
    account: UUID
    origin: UUID  # the lot that the points came in by; another one where they were reissued
    kind: str  # CreditKind, or "transfer"
    source: str
    original: int
    remaining: int
    number: int  # of the opening transaction in its account: breaks ties between expiries
    earned_at: datetime
    activates_at: datetime | None
    expires_at: datetime | None
    is_pending: bool

    @property
    def lapses_at(self) -> datetime:
        """When what is left expires: never before it could be used."""
        if self.expires_at is None:
            return NEVER
        return max(self.expires_at, self.activates_at or self.expires_at)

    @property
    def turn(self) -> tuple[datetime, int, UUID]:
        """Lots are used in this order."""
        return (self.expires_at or NEVER, self.number, self.id)


@dataclass(slots=True)
class Part:
    """Points of one lot that a hold, debit or capture took; `left` is what has not been taken on or given back."""

    id: UUID
    lot_id: UUID
    use: Use
    left: int


@dataclass(slots=True)
class HeldPoints:
    """A hold with its parts."""

    id: UUID
    account: UUID
    transaction_id: UUID
    points: int
    expires_at: datetime
    state: HoldState
    parts: list[Part] = field(default_factory=list)
    captured: int = 0


@dataclass(slots=True)
class Account:
    """One member's points. Lots and open holds are those that a decision may need, not all there ever were."""

    id: UUID
    buckets: dict[Bucket, int] = field(default_factory=lambda: dict.fromkeys(Bucket, 0))
    deficit: int = 0
    number: int = 0  # of the latest transaction
    lots: dict[UUID, Lot] = field(default_factory=dict)
    holds: dict[UUID, HeldPoints] = field(default_factory=dict)
    unseen_due: datetime = NEVER  # when the first lot falls due that was not loaded

    @property
    def available(self) -> int:
        """What can be spent; below zero it is the deficit."""
        return self.buckets[Bucket.AVAILABLE]

    def balance(self) -> Balance:
        """The figures that are shown."""
        buckets = self.buckets
        return Balance(
            available=buckets[Bucket.AVAILABLE],
            pending=buckets[Bucket.PENDING],
            held=buckets[Bucket.HELD],
            earned=-buckets[Bucket.ISSUED],
            spent=buckets[Bucket.REDEEMED],
            expired=buckets[Bucket.EXPIRED],
            reversed=buckets[Bucket.REVERSED],
        )

    def usable(self) -> list[Lot]:
        """Active lots with something left, in the order of use."""
        return sorted((lot for lot in self.lots.values() if lot.remaining and not lot.is_pending), key=_turn)

    def next_due(self) -> datetime | None:
        """When something next becomes available, expires or times out by itself."""
        first = min(self.dues(), default=NEVER)
        first = min(first, self.unseen_due)
        return None if first == NEVER else first

    def dues(self) -> Iterator[datetime]:
        """When each lot and each open hold falls due."""
        for lot in self.lots.values():
            if lot.remaining:
                yield lot.activates_at if lot.is_pending and lot.activates_at else lot.lapses_at
        yield from (hold.expires_at for hold in self.holds.values() if hold.state is HoldState.OPEN)


def _turn(lot: Lot) -> tuple[datetime, int, UUID]:
    return lot.turn
