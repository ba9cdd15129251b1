"""Accounts in the midst of moves, and what moves are made of: postings, uses of lots, points given back.

Everything here keeps the books straight whatever is asked; whether it may be asked is decided in `ledger.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from domain.accounts import Account, Bucket, HeldPoints, Lot, Part, Use
from domain.transactions import Consumption, PastMove, Transaction


@dataclass(slots=True)
class Book:
    """Accounts as they were loaded and as moves leave them, with what is to be written."""

    accounts: Mapping[UUID, Account]
    new_id: Callable[[], UUID]
    past: dict[str | UUID, PastMove] = field(default_factory=dict)
    """What moves to come repeat or refer to, by key; by the transaction's id what they refer to by that."""

    holds: dict[UUID, HeldPoints] = field(default_factory=dict)  # those that moves to come name, ended ones too
    written: list[Transaction] = field(default_factory=list)
    changed: dict[UUID, Lot] = field(default_factory=dict)
    ended: dict[UUID, HeldPoints] = field(default_factory=dict)
    is_watched: bool = False  # whether journeys wait for figures to cross thresholds
    lookers: Sequence[str] = ()  # workflows of runs whose conditions look at the points of these accounts

    def write(self, transaction: Transaction) -> Transaction:
        """Begin a transaction; its postings follow."""
        self.written.append(transaction)
        self._number(transaction, transaction.account)
        return transaction

    def post(self, transaction: Transaction, account: Account, bucket: Bucket, points: int) -> None:
        """Add points, below zero to take, to one bucket. The caller posts the other side."""
        self._number(transaction, account.id)
        side = (account.id, bucket)
        transaction.postings[side] = transaction.postings.get(side, 0) + points
        account.buckets[bucket] += points

    def transfer(self, transaction: Transaction, account: Account, source: Bucket, to: Bucket, points: int) -> None:
        """Move points between two buckets of one account."""
        self.post(transaction, account, source, -points)
        self.post(transaction, account, to, points)

    def open_lot(self, transaction: Transaction, account: Account, lot: Lot) -> None:
        """A new lot, whose points were posted."""
        account.lots[lot.id] = lot
        transaction.opened.append(lot)
        if not lot.is_pending:
            self.absorb(transaction, account, lot)

    def take(self, transaction: Transaction, lot: Lot, points: int, use: Use) -> Part:
        """Take points out of a lot."""
        lot.remaining -= points
        self.changed[lot.id] = lot
        return self._use(transaction, lot.id, points, use)

    def take_on(self, transaction: Transaction, part: Part, points: int, use: Use) -> Part:
        """Put points that were taken out of a lot before to a further use."""
        part.left -= points
        return self._use(transaction, part.lot_id, points, use, follows=part.id)

    def take_usable(self, transaction: Transaction, account: Account, points: int, use: Use) -> tuple[list[Part], int]:
        """Take up to `points` out of active lots, earliest expiry first; what was taken, and how many were missing."""
        parts = []
        for lot in account.usable():
            if not points:
                break
            taken = min(points, lot.remaining)
            parts.append(self.take(transaction, lot, taken, use))
            points -= taken
        return parts, points

    def give_back(
        self,
        transaction: Transaction,
        account: Account,
        part: Part,
        points: int,
        *,
        source: Bucket,
        at: datetime,
        until: datetime | None = None,
    ) -> None:
        """Return points of a part to their lot. A deficit takes them first; what has lapsed by `at` expires.

        `until`: what would lapse before then lives until then, in a child lot.
        """
        lot = account.lots[part.lot_id]
        self.take_on(transaction, part, points, Use.RETURNED)
        self.changed[lot.id] = lot
        lot.remaining += points
        self.transfer(transaction, account, source, Bucket.AVAILABLE, points)
        rest = points - self.absorb(transaction, account, lot)
        if rest > 0 and until is not None and lot.lapses_at < until:
            self._reissue(transaction, account, lot, rest, until)
        elif rest > 0 and lot.lapses_at <= at:
            self.expire(transaction, account, lot, rest)

    def expire(self, transaction: Transaction, account: Account, lot: Lot, points: int) -> None:
        """Points of a lot lapse."""
        self.take(transaction, lot, points, Use.EXPIRED)
        self.transfer(transaction, account, Bucket.AVAILABLE, Bucket.EXPIRED, points)
        for past in self.past.values():
            past.expired += points if past.transaction_id == lot.origin else 0

    def absorb(self, transaction: Transaction, account: Account, lot: Lot) -> int:
        """Let the account's deficit take what became available in a lot; answers how many points it took."""
        taken = min(account.deficit, lot.remaining)
        if taken:
            self.take(transaction, lot, taken, Use.ABSORBED)
            account.deficit -= taken
        return taken

    def _reissue(self, transaction: Transaction, account: Account, lot: Lot, points: int, until: datetime) -> None:
        self.take(transaction, lot, points, Use.REISSUED)
        child = Lot(
            id=self.new_id(),
            account=account.id,
            origin=lot.origin,
            kind=lot.kind,
            source=lot.source,
            original=points,
            remaining=points,
            number=transaction.numbers[account.id],
            earned_at=lot.earned_at,
            activates_at=lot.activates_at,
            expires_at=until,
            is_pending=False,
        )
        self.open_lot(transaction, account, child)

    def _use(self, transaction: Transaction, lot_id: UUID, points: int, use: Use, follows: UUID | None = None) -> Part:
        consumption = Consumption(self.new_id(), lot_id, use, points, follows)
        transaction.consumptions.append(consumption)
        return Part(consumption.id, lot_id, use, points)

    def _number(self, transaction: Transaction, account_id: UUID) -> None:
        if account_id not in transaction.numbers:
            account = self.accounts[account_id]
            account.number += 1
            transaction.numbers[account_id] = account.number


def in_turn(parts: Iterable[Part], lots: Mapping[UUID, Lot]) -> list[Part]:
    """Parts with something left, earliest expiry of their lots first."""
    return sorted((part for part in parts if part.left), key=lambda part: lots[part.lot_id].turn)
