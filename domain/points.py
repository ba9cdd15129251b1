"""Moves of points: what can be asked of a customer's account, and what comes of it. `domain/ledger.py` decides them.

Points are whole numbers. A move has a `key`, natural and unique in its programme: the same key never moves twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class CreditKind(StrEnum):
    """Why points came in. Only what is earned counts for tiers that are measured in points."""

    EARN = "earn"  # by a rule of the programme
    AWARD = "award"  # by the shop, a journey or a person
    REWARD = "reward"  # by a referral, a challenge or a contest
    ADJUST = "adjust"  # a correction, with its author
    OPENING = "opening"  # moved in from a programme that was kept elsewhere


class DebitKind(StrEnum):
    """Why points went out."""

    DEDUCT = "deduct"
    ADJUST = "adjust"
    REDEEM = "redeem"
    OPENING = "opening"  # owed elsewhere: what is not there is owed here


class Refusal(StrEnum):
    """Why nothing was moved. The values are codes of the API."""

    INSUFFICIENT = "insufficient_points"
    UNKNOWN_HOLD = "not_found"
    HOLD_ENDED = "hold_ended"
    HOLD_EXPIRED = "hold_expired"
    BEYOND_HOLD = "beyond_hold"
    UNKNOWN_MOVE = "move_not_found"  # what is to be given or taken back never happened to this account
    NOTHING_LEFT = "already_restored"
    KEY_REUSED = "idempotency_mismatch"  # the key moved something else before


@dataclass(frozen=True, slots=True)
class Credit:
    """Opens a lot. `activates_at` in the future makes it pending; `expires_at` None: never."""

    account: UUID  # the customer's id
    key: str
    points: int  # > 0
    kind: CreditKind
    earned_at: datetime
    source: str  # what customers are shown: a rule, "referral", "challenge/first-steps", ...
    activates_at: datetime | None = None
    expires_at: datetime | None = None
    reference: str | None = None  # the shop's own, such as an order id
    author: str | None = None  # the key or person, of a correction


@dataclass(frozen=True, slots=True)
class Debit:
    """Takes available points, earliest expiry first; refused whole when there are too few, unless they were owed."""

    account: UUID
    key: str
    points: int  # > 0
    kind: DebitKind
    source: str
    reference: str | None = None
    author: str | None = None
    order_id: str | None = None  # the shop's own id of the order that they pay for


@dataclass(frozen=True, slots=True)
class Hold:
    """Reserves available points until `expires_at`."""

    account: UUID
    key: str
    hold_id: UUID
    points: int  # > 0
    expires_at: datetime
    source: str
    reference: str | None = None
    order_id: str | None = None


@dataclass(frozen=True, slots=True)
class Capture:
    """Spends a hold, or `points` of it and releases the rest. `order_id` None: the order that the hold names."""

    account: UUID
    key: str
    hold_id: UUID
    points: int | None = None
    order_id: str | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """Gives a hold back into its lots, with their dates. `restore_until`: a child lot until then where they lapsed."""

    account: UUID
    key: str
    hold_id: UUID
    restore_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Restore:
    """Gives back what the debit or capture under `of` took, into its lots; `restore_until` as in Release."""

    account: UUID
    key: str
    of: str | UUID  # the key of the debit or capture, or the id of its transaction
    points: int | None = None  # all that is not given back yet
    restore_until: datetime | None = None
    order_id: str | None = None  # what became of this order gives them back
    author: str | None = None  # the key or person, where somebody does


@dataclass(frozen=True, slots=True)
class Activate:
    """Makes what still waits of the credit under `of` available now; it lapses at `expires_at` (None: never)."""

    account: UUID
    key: str
    of: str  # the key of the credit
    expires_at: datetime | None = None


CORRECTION = "correction"
"""The source of clawbacks that follow no return: what was earned turned out to be another sum."""


@dataclass(frozen=True, slots=True)
class Clawback:
    """Takes back what the credit under `of` gave, up to `target` points altogether over all clawbacks of it.

    `may_owe` False: only points that are there, never into a deficit. `source` CORRECTION: the credit should never have
    been as high, so for tiers and for what was earned it never was; `lowered_by`: by so many points, which never were
    also where they have lapsed.
    """

    account: UUID
    key: str
    of: str  # the key of the credit
    target: int
    may_owe: bool = True
    source: str = "clawback"
    lowered_by: int = 0


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Gives back what clawbacks took of the credit under `of` beyond `target` points: less came back than was told.

    Nothing is issued by it, and what a correction took is never given back. The dates are those of the credit.
    """

    account: UUID
    key: str
    of: str  # the key of the credit
    target: int
    earned_at: datetime
    source: str
    activates_at: datetime | None = None
    expires_at: datetime | None = None
    order_id: str | None = None  # what became of this order gives them back


@dataclass(frozen=True, slots=True)
class Transfer:
    """Moves available points to another account, with the lots' dates."""

    account: UUID
    key: str
    to: UUID
    points: int  # > 0
    source: str
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Merge:
    """Passes everything of an account to another, when two customers turn out to be one. Nothing counts as earned."""

    account: UUID
    key: str
    to: UUID


Move = Credit | Debit | Hold | Capture | Release | Restore | Activate | Clawback | GiveBack | Transfer | Merge


@dataclass(frozen=True, slots=True)
class Balance:
    """An account at an instant, settled. `available` may be below zero after a clawback: that is the deficit."""

    available: int = 0
    pending: int = 0
    held: int = 0
    earned: int = 0  # ever issued, awards too; what rules paid of it: database/earned_points.py
    spent: int = 0
    expired: int = 0
    reversed: int = 0


@dataclass(frozen=True, slots=True)
class Moved:
    """What came of a move. `refusal`: nothing was written. `repeated`: the key had moved before, with this answer."""

    transaction_id: UUID | None
    balance: Balance
    points: int = 0  # that this move moved
    refusal: Refusal | None = None
    repeated: bool = False
    detail: Mapping[str, object] = field(default_factory=dict)
