"""What happens to an account by itself: pending points become available, holds time out, lots expire.

Each takes effect at the instant at which it was due, whenever it is noticed: by the next move, by a reading or by the
job of the night. At one instant activations come first, then holds, then expiries.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from domain.accounts import Account, Bucket, HeldPoints, HoldState, Lot
from domain.book import Book, in_turn
from domain.transactions import Kind, Transaction

_ACTIVATION, _TIMEOUT, _EXPIRY = range(3)
SETTLING_PRINT = b""
"""Settling is asked by nobody, so nobody repeats it with another wish."""


def settle(book: Book, account: Account, as_of: datetime, *, since: datetime | None = None) -> None:
    """Do everything that was due by `as_of` (inclusive), in order of time.

    `since`: when the account was settled last. What was due before then has come in since, and takes effect then: no
    points can lapse before they are there.
    """
    if min(account.dues(), default=as_of) > as_of:
        return
    agenda = _Agenda(as_of, since)
    for lot in account.lots.values():
        agenda.add_lot(lot)
    for hold in account.holds.values():
        agenda.add_hold(hold)
    while agenda.dues:
        due = heapq.heappop(agenda.dues)
        _do(book, account, due, agenda)


@dataclass(frozen=True, slots=True, order=True)
class _Due:
    at: datetime
    step: int
    turn: tuple[datetime, int, UUID]
    id: UUID


@dataclass(slots=True)
class _Agenda:
    until: datetime
    since: datetime | None
    dues: list[_Due] = field(default_factory=list)

    def add_lot(self, lot: Lot) -> None:
        if not lot.remaining:
            return
        if lot.is_pending and lot.activates_at:
            self._add(_Due(lot.activates_at, _ACTIVATION, lot.turn, lot.id))
        else:
            self._add(_Due(lot.lapses_at, _EXPIRY, lot.turn, lot.id))

    def add_hold(self, hold: HeldPoints) -> None:
        if hold.state is HoldState.OPEN:
            self._add(_Due(hold.expires_at, _TIMEOUT, (hold.expires_at, 0, hold.id), hold.id))

    def effective_at(self, due: _Due) -> datetime:
        """When what was due takes effect."""
        return due.at if self.since is None else max(due.at, self.since)

    def _add(self, due: _Due) -> None:
        if due.at <= self.until:
            heapq.heappush(self.dues, due)


def _do(book: Book, account: Account, due: _Due, agenda: _Agenda) -> None:
    at = agenda.effective_at(due)
    if due.step == _ACTIVATION:
        _activate(book, account, account.lots[due.id], at)
        agenda.add_lot(account.lots[due.id])
    elif due.step == _TIMEOUT:
        hold = account.holds[due.id]
        _time_out(book, account, hold, at)
        for part in hold.parts:
            agenda.add_lot(account.lots[part.lot_id])
    else:
        _expire(book, account, account.lots[due.id], at)


def _activate(book: Book, account: Account, lot: Lot, at: datetime) -> None:
    points = lot.remaining
    transaction = _begin(book, account, Kind.ACTIVATE, of=lot.id, points=points, at=at, source=lot.source)
    lot.is_pending = False
    book.changed[lot.id] = lot
    book.transfer(transaction, account, Bucket.PENDING, Bucket.AVAILABLE, points)
    book.absorb(transaction, account, lot)
    transaction.balance = account.balance()


def _time_out(book: Book, account: Account, hold: HeldPoints, at: datetime) -> None:
    transaction = _begin(book, account, Kind.LAPSE, of=hold.id, points=hold.points, at=at, source="hold")
    end_hold(book, account, hold, HoldState.EXPIRED)
    for part in in_turn(hold.parts, account.lots):
        book.give_back(transaction, account, part, part.left, source=Bucket.HELD, at=at)
    transaction.balance = account.balance()


def _expire(book: Book, account: Account, lot: Lot, at: datetime) -> None:
    if not lot.remaining:  # a hold that timed out had noted the lot a second time
        return
    transaction = _begin(book, account, Kind.EXPIRE, of=lot.id, points=lot.remaining, at=at, source=lot.source)
    book.expire(transaction, account, lot, lot.remaining)
    transaction.balance = account.balance()


def end_hold(book: Book, account: Account, hold: HeldPoints, state: HoldState, captured: int = 0) -> None:
    """A hold ends, once."""
    hold.state, hold.captured = state, captured
    book.ended[hold.id] = hold
    account.holds.pop(hold.id, None)


def _begin(
    book: Book, account: Account, kind: Kind, *, of: UUID, points: int, at: datetime, source: str
) -> Transaction:
    return book.write(
        Transaction(
            id=book.new_id(),
            account=account.id,
            kind=kind,
            key=f"{kind.value}/{of}/{account.number + 1}",
            fingerprint=SETTLING_PRINT,
            effective_at=at,
            source=source,
            points=points,
        )
    )
