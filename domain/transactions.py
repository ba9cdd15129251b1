"""What a move writes: a transaction with its postings, the uses of lots, and the lots it opens."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import assert_never
from uuid import UUID

from domain.accounts import Bucket, HeldPoints, Lot, Part, Use
from domain.points import (
    Activate,
    Balance,
    Capture,
    Clawback,
    Credit,
    Debit,
    GiveBack,
    Hold,
    Merge,
    Move,
    Moved,
    Release,
    Restore,
    Transfer,
)


class Kind(StrEnum):
    """What happened."""

    EARN = "earn"
    AWARD = "award"
    REWARD = "reward"
    ADJUST = "adjust"
    DEDUCT = "deduct"
    REDEEM = "redeem"
    HOLD = "hold"
    CAPTURE = "capture"
    RELEASE = "release"
    RESTORE = "restore"
    CLAWBACK = "clawback"
    TRANSFER = "transfer"
    MERGE = "merge"
    ACTIVATE = "activate"
    EXPIRE = "expire"
    LAPSE = "lapse"  # a hold timed out
    OPENING = "opening"  # moved in from a programme that was kept elsewhere
    ERASED = "erased"  # the person was erased, and what was left is forfeited


@dataclass(frozen=True, slots=True)
class Consumption:
    """Points of a lot changed their use. `follows`: those that an earlier consumption took."""

    id: UUID
    lot_id: UUID
    use: Use
    points: int
    follows: UUID | None = None


@dataclass(slots=True)
class Transaction:
    """One move as it is written."""

    id: UUID
    account: UUID
    kind: Kind
    key: str
    fingerprint: bytes
    effective_at: datetime
    source: str
    of: UUID | None = None
    author: str | None = None
    reference: str | None = None
    order_id: str | None = None
    points: int = 0
    postings: dict[tuple[UUID, Bucket], int] = field(default_factory=dict)
    numbers: dict[UUID, int] = field(default_factory=dict)  # its place in the sequence of each account it touches
    consumptions: list[Consumption] = field(default_factory=list)
    opened: list[Lot] = field(default_factory=list)
    hold: HeldPoints | None = None  # that it opened
    balance: Balance = field(default_factory=Balance)
    detail: Mapping[str, object] = field(default_factory=dict)

    def answer(self, *, repeated: bool = False) -> Moved:
        """What the caller learns."""
        return Moved(self.id, self.balance, self.points, repeated=repeated, detail=self.detail)


@dataclass(slots=True)
class PastMove:
    """A transaction that a key names: to be answered again, given back or taken back."""

    transaction_id: UUID
    account: UUID  # whose it is now, after merges
    kind: Kind
    fingerprint: bytes
    answer: Moved
    points: int
    parts: list[Part] = field(default_factory=list)  # of a debit or capture
    clawed: int = 0  # of a credit: taken back so far
    reversed: int = 0  # of a credit: how much of that came back, and is not a correction
    expired: int = 0  # of a credit: lapsed out of its lots


def kind_of(move: Move) -> Kind:
    """What the move will be called in the history."""
    match move:
        case Credit() | Debit():
            return Kind(move.kind.value)
        case Hold() | Capture() | Release() | Restore() | Activate() | Clawback() | Transfer() | Merge():
            return Kind(type(move).__name__.lower())
        case GiveBack():
            return Kind.RESTORE
        case _ as unreachable:
            assert_never(unreachable)


def fingerprint_of(move: Move) -> bytes:
    """32 bytes of what the move asks. Dates are left out: whoever repeats a move may read another clock."""
    asked = {
        name: str(getattr(move, name))
        for name in ("points", "hold_id", "of", "target", "to")
        if getattr(move, name, None) is not None
    }
    return hashlib.sha256(repr((type(move).__name__, kind_of(move).value, sorted(asked.items()))).encode()).digest()
