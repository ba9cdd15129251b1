"""What becomes of the points of a person who is erased: all that could still be used is forfeited, and nothing is owed.

So an account that nobody can use any more is no liability, and what somebody else has earned by it stays theirs.
"""

from __future__ import annotations

from datetime import datetime

from domain.accounts import Account, Bucket, HoldState, Use
from domain.book import Book
from domain.settling import SETTLING_PRINT, end_hold, settle
from domain.transactions import Kind, Transaction

FORFEITABLE = (Bucket.PENDING, Bucket.AVAILABLE, Bucket.HELD)


def forfeit(book: Book, account: Account, as_of: datetime) -> int:
    """Settle a whole account and forfeit what is left in one transaction; answers how many points. Nothing left: none.

    A debt is written off: what a clawback could not take counts as taken back no longer.
    """
    settle(book, account, as_of)
    if not any(account.buckets[bucket] for bucket in FORFEITABLE):
        return 0
    transaction = _begin(book, account, as_of)
    for hold in list(account.holds.values()):
        for part in hold.parts:
            _lapse(book, transaction, account, Bucket.HELD, part.left)
            book.take_on(transaction, part, part.left, Use.EXPIRED)
        end_hold(book, account, hold, HoldState.EXPIRED)
    for lot in [lot for lot in account.lots.values() if lot.remaining]:
        _lapse(book, transaction, account, Bucket.PENDING if lot.is_pending else Bucket.AVAILABLE, lot.remaining)
        book.take(transaction, lot, lot.remaining, Use.EXPIRED)
    _write_off(book, transaction, account)
    transaction.balance = account.balance()
    return transaction.points


def _begin(book: Book, account: Account, as_of: datetime) -> Transaction:
    return book.write(
        Transaction(
            id=book.new_id(),
            account=account.id,
            kind=Kind.ERASED,
            key=f"{Kind.ERASED}/{account.id}/{account.number + 1}",
            fingerprint=SETTLING_PRINT,
            effective_at=as_of,
            source="erasure",
        )
    )


def _lapse(book: Book, transaction: Transaction, account: Account, source: Bucket, points: int) -> None:
    if points:
        book.transfer(transaction, account, source, Bucket.EXPIRED, points)
        transaction.points += points


def _write_off(book: Book, transaction: Transaction, account: Account) -> None:
    owed = min(account.deficit, account.buckets[Bucket.REVERSED])
    if owed:
        book.transfer(transaction, account, Bucket.REVERSED, Bucket.AVAILABLE, owed)
        account.deficit -= owed
