"""The points machine: accounts, a move and an instant in; transactions or a refusal out.

`database/points.py` does them on what is stored.
The rules, with their reasons, are in docs/loyalty/points.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import assert_never
from uuid import UUID

from domain.accounts import Account, Bucket, HeldPoints, HoldState, Lot, Part, Use
from domain.book import Book, in_turn
from domain.points import (
    CORRECTION,
    Activate,
    Capture,
    Clawback,
    Credit,
    CreditKind,
    Debit,
    DebitKind,
    GiveBack,
    Hold,
    Merge,
    Move,
    Moved,
    Refusal,
    Release,
    Restore,
    Transfer,
)
from domain.settling import end_hold, settle
from domain.transactions import Kind, PastMove, Transaction, fingerprint_of, kind_of

REDEEMING = frozenset({Kind.DEDUCT, Kind.REDEEM, Kind.ADJUST, Kind.CAPTURE})
CREDITING = frozenset({Kind.EARN, Kind.AWARD, Kind.REWARD, Kind.ADJUST})


def apply(book: Book, move: Move, as_of: datetime) -> Moved:
    """Settle the accounts of a move and do it. A refusal changes nothing but what was due anyway."""
    touched = [book.accounts[id_] for id_ in accounts_of(move)]
    for account in touched:
        settle(book, account, as_of)
    balance = touched[0].balance()
    if earlier := book.past.get(move.key):
        return _again(earlier, move, Moved(None, balance, refusal=Refusal.KEY_REUSED))
    made = _do(book, move, as_of)
    if isinstance(made, Refusal):
        return Moved(None, balance, refusal=made)
    book.past[move.key] = remembered = _remembered(made)
    for account in touched:
        settle(book, account, as_of, since=as_of)  # what has come in may have lapsed long ago
    made.balance = touched[0].balance()
    remembered.answer = made.answer()
    return remembered.answer


def accounts_of(move: Move) -> Sequence[UUID]:
    """Whose accounts a move touches; the first is the one that it is about."""
    return (move.account, move.to) if isinstance(move, Transfer | Merge) else (move.account,)


def _again(earlier: PastMove, move: Move, otherwise: Moved) -> Moved:
    is_same = earlier.fingerprint == fingerprint_of(move) and earlier.account == move.account
    return replace(earlier.answer, repeated=True) if is_same else otherwise


def _do(book: Book, move: Move, as_of: datetime) -> Transaction | Refusal:
    match move:
        case Credit():
            return _credit(book, move, as_of)
        case Debit():
            return _debit(book, move, as_of)
        case Hold():
            return _hold(book, move, as_of)
        case Capture():
            return _capture(book, move, as_of)
        case Release():
            return _release(book, move, as_of)
        case Restore():
            return _restore(book, move, as_of)
        case Activate() | Clawback() | GiveBack():
            return _change_credit(book, move, as_of)
        case Transfer() | Merge():
            return _transfer(book, move, as_of) if isinstance(move, Transfer) else _merge(book, move, as_of)
        case _ as unreachable:
            assert_never(unreachable)


def _credit(book: Book, move: Credit, as_of: datetime) -> Transaction:
    transaction = _begin(book, move, as_of, _positive(move.points), author=move.author)
    _bring_in(book, transaction, move, source=Bucket.ISSUED, origin=transaction.id)
    return transaction


def _bring_in(book: Book, transaction: Transaction, move: Credit | GiveBack, *, source: Bucket, origin: UUID) -> None:
    """Open a lot for all points of the transaction."""
    account, points, as_of = book.accounts[move.account], transaction.points, transaction.effective_at
    is_pending = move.activates_at is not None and move.activates_at > as_of
    book.transfer(transaction, account, source, Bucket.PENDING if is_pending else Bucket.AVAILABLE, points)
    lot = Lot(
        id=transaction.id,
        account=account.id,
        origin=origin,
        kind=transaction.kind.value if isinstance(move, Credit) else CreditKind.EARN.value,
        source=move.source,
        original=points,
        remaining=points,
        number=transaction.numbers[account.id],
        earned_at=move.earned_at,
        activates_at=move.activates_at,
        expires_at=move.expires_at,
        is_pending=is_pending,
    )
    book.open_lot(transaction, account, lot)


def _debit(book: Book, move: Debit, as_of: datetime) -> Transaction | Refusal:
    account = book.accounts[move.account]
    if account.available < _positive(move.points) and move.kind is not DebitKind.OPENING:
        return Refusal.INSUFFICIENT
    is_spent = move.kind in (DebitKind.DEDUCT, DebitKind.REDEEM)
    transaction = _begin(book, move, as_of, move.points, author=move.author)
    to, use = (Bucket.REDEEMED, Use.REDEEMED) if is_spent else (Bucket.REVERSED, Use.REVERSED)
    _, missing = book.take_usable(transaction, account, move.points, use)
    account.deficit += missing
    book.transfer(transaction, account, Bucket.AVAILABLE, to, move.points)
    return transaction


def _hold(book: Book, move: Hold, as_of: datetime) -> Transaction | Refusal:
    account = book.accounts[move.account]
    if account.available < _positive(move.points):
        return Refusal.INSUFFICIENT
    transaction = _begin(book, move, as_of, move.points)
    parts, _ = book.take_usable(transaction, account, move.points, Use.HELD)
    book.transfer(transaction, account, Bucket.AVAILABLE, Bucket.HELD, move.points)
    hold = HeldPoints(
        id=move.hold_id,
        account=account.id,
        transaction_id=transaction.id,
        points=move.points,
        expires_at=move.expires_at,
        state=HoldState.OPEN,
        parts=parts,
    )
    account.holds[hold.id] = book.holds[hold.id] = transaction.hold = hold
    transaction.detail = {"hold_id": str(hold.id), "expires_at": hold.expires_at.isoformat()}
    return transaction


def _capture(book: Book, move: Capture, as_of: datetime) -> Transaction | Refusal:
    found = _open_hold(book, move)
    if isinstance(found, Refusal):
        return found
    account, hold = book.accounts[move.account], found
    points = hold.points if move.points is None else _positive(move.points)
    if points > hold.points:
        return Refusal.BEYOND_HOLD
    transaction = _begin(book, move, as_of, points, of=hold.transaction_id)
    end_hold(book, account, hold, HoldState.CAPTURED, points)
    left = points
    for part in in_turn(hold.parts, account.lots):
        taken = min(left, part.left)
        if taken:
            book.take_on(transaction, part, taken, Use.REDEEMED)
            left -= taken
        if part.left:
            book.give_back(transaction, account, part, part.left, source=Bucket.HELD, at=as_of)
    book.transfer(transaction, account, Bucket.HELD, Bucket.REDEEMED, points)
    return transaction


def _release(book: Book, move: Release, as_of: datetime) -> Transaction | Refusal:
    found = _open_hold(book, move)
    if isinstance(found, Refusal):
        return found
    account, hold = book.accounts[move.account], found
    transaction = _begin(book, move, as_of, hold.points, of=hold.transaction_id)
    end_hold(book, account, hold, HoldState.RELEASED)
    for part in in_turn(hold.parts, account.lots):
        book.give_back(transaction, account, part, part.left, source=Bucket.HELD, at=as_of, until=move.restore_until)
    return transaction


def _open_hold(book: Book, move: Capture | Release) -> HeldPoints | Refusal:
    hold = book.holds.get(move.hold_id)
    if hold is None or hold.account != move.account:
        return Refusal.UNKNOWN_HOLD
    match hold.state:
        case HoldState.OPEN:
            return hold
        case HoldState.EXPIRED:
            return Refusal.HOLD_EXPIRED
        case HoldState.CAPTURED | HoldState.RELEASED:
            return Refusal.HOLD_ENDED
        case _ as unreachable:
            assert_never(unreachable)


def _restore(book: Book, move: Restore, as_of: datetime) -> Transaction | Refusal:
    spent = book.past.get(move.of)
    if spent is None or spent.account != move.account or spent.kind not in REDEEMING:
        return Refusal.UNKNOWN_MOVE
    account = book.accounts[move.account]
    parts = in_turn(spent.parts, account.lots)
    left = sum(part.left for part in parts)
    points = left if move.points is None else _positive(move.points)
    if not left or points > left:
        return Refusal.NOTHING_LEFT
    transaction = _begin(book, move, as_of, points, of=spent.transaction_id, author=move.author)
    for part in reversed(parts):  # what was taken last comes back first: the lots that live longest
        given = min(points, part.left)
        if given:
            source = Bucket.REVERSED if part.use is Use.REVERSED else Bucket.REDEEMED
            book.give_back(transaction, account, part, given, source=source, at=as_of, until=move.restore_until)
            points -= given
    return transaction


def _change_credit(book: Book, move: Activate | Clawback | GiveBack, as_of: datetime) -> Transaction | Refusal:
    """What happens to a credit after it was made; it must be this account's."""
    credit = book.past.get(move.of)
    if credit is None or credit.account != move.account or credit.kind not in CREDITING or credit.parts:
        return Refusal.UNKNOWN_MOVE
    if isinstance(move, Activate):
        return _activate(book, move, credit, as_of)
    if isinstance(move, GiveBack):
        return _give_back(book, move, credit, as_of)
    return _claw_back(book, move, credit, as_of)


def _activate(book: Book, move: Activate, credit: PastMove, as_of: datetime) -> Transaction:
    account = book.accounts[move.account]
    own = (lot for lot in account.lots.values() if lot.origin == credit.transaction_id)
    waiting = [lot for lot in own if lot.is_pending and lot.remaining]
    transaction = _begin(book, move, as_of, sum(lot.remaining for lot in waiting), of=credit.transaction_id)
    for lot in waiting:
        lot.is_pending, lot.activates_at, lot.expires_at = False, as_of, move.expires_at
        book.changed[lot.id] = lot
        book.transfer(transaction, account, Bucket.PENDING, Bucket.AVAILABLE, lot.remaining)
        book.absorb(transaction, account, lot)
    return transaction


def _claw_back(book: Book, move: Clawback, credit: PastMove, as_of: datetime) -> Transaction:
    account = book.accounts[move.account]
    to = Bucket.ISSUED if move.source == CORRECTION else Bucket.REVERSED
    target = min(move.target, credit.points)
    due = max(0, target - credit.clawed - credit.expired)
    if not move.may_owe:
        due = min(due, _takeable(account, credit.transaction_id))
    lapsed = max(0, min(move.lowered_by - due, credit.expired))
    transaction = _begin(book, move, as_of, due + lapsed, of=credit.transaction_id)
    if lapsed:
        book.transfer(transaction, account, Bucket.EXPIRED, Bucket.ISSUED, lapsed)
    credit.clawed += due + lapsed
    credit.expired -= lapsed
    credit.reversed += due if to is Bucket.REVERSED else 0
    left = _take_own(book, transaction, account, credit.transaction_id, points=due, to=to)
    _, missing = book.take_usable(transaction, account, left, Use.REVERSED)
    account.deficit += missing
    if left:
        book.transfer(transaction, account, Bucket.AVAILABLE, to, left)
    transaction.detail = {"deficit": missing}
    return transaction


def _give_back(book: Book, move: GiveBack, credit: PastMove, as_of: datetime) -> Transaction:
    points = max(0, min(credit.clawed - move.target, credit.reversed))
    transaction = _begin(book, move, as_of, points, of=credit.transaction_id)
    credit.clawed -= points
    credit.reversed -= points
    if points:
        _bring_in(book, transaction, move, source=Bucket.REVERSED, origin=credit.transaction_id)
    return transaction


def _takeable(account: Account, origin: UUID) -> int:
    """What can be taken back of a credit without owing: all that is available, and its own points that wait."""
    own = (lot for lot in account.lots.values() if lot.origin == origin and lot.is_pending)
    return max(account.available, 0) + sum(lot.remaining for lot in own)


def _take_own(book: Book, transaction: Transaction, account: Account, origin: UUID, *, points: int, to: Bucket) -> int:
    """Take points out of the lots that the credit opened, also while they are pending; answers how many are missing."""
    own = sorted(
        (lot for lot in account.lots.values() if lot.origin == origin and lot.remaining), key=lambda lot: lot.turn
    )
    for lot in own:
        taken = min(points, lot.remaining)
        if taken:
            source = Bucket.PENDING if lot.is_pending else Bucket.AVAILABLE
            book.take(transaction, lot, taken, Use.REVERSED)
            book.transfer(transaction, account, source, to, taken)
            points -= taken
    return points


def _transfer(book: Book, move: Transfer, as_of: datetime) -> Transaction | Refusal:
    giver, taker = book.accounts[move.account], book.accounts[move.to]
    if giver is taker:
        raise ValueError("a transfer goes to another account")
    if giver.available < _positive(move.points):
        return Refusal.INSUFFICIENT
    transaction = _begin(book, move, as_of, move.points)
    parts, _ = book.take_usable(transaction, giver, move.points, Use.TRANSFERRED)
    book.post(transaction, giver, Bucket.AVAILABLE, -move.points)
    book.post(transaction, taker, Bucket.AVAILABLE, move.points)
    for part in parts:
        _hand_over(book, transaction, giver.lots[part.lot_id], part, taker)
    return transaction


def _hand_over(book: Book, transaction: Transaction, given: Lot, part: Part, taker: Account) -> None:
    """A lot of the taker's, with the dates of the one that the points came out of."""
    id_ = book.new_id()
    lot = replace(
        given,
        id=id_,
        account=taker.id,
        origin=id_,
        kind=Kind.TRANSFER.value,
        source=transaction.source,
        original=part.left,
        remaining=part.left,
        number=transaction.numbers[taker.id],
    )
    book.open_lot(transaction, taker, lot)


def _merge(book: Book, move: Merge, as_of: datetime) -> Transaction:
    """Every bucket passes, with lots, holds and deficit, so that nothing is issued, spent or earned by it."""
    loser, survivor = book.accounts[move.account], book.accounts[move.to]
    if loser is survivor:
        raise ValueError("a merge takes two accounts")
    transaction = _begin(book, move, as_of, abs(loser.available))
    for bucket, points in loser.buckets.items():
        if points:
            book.post(transaction, survivor, bucket, points)
    for (_, bucket), points in list(transaction.postings.items()):
        book.post(transaction, loser, bucket, -points)
    survivor.deficit, loser.deficit = survivor.deficit + loser.deficit, 0
    for lot in loser.lots.values():
        lot.account = survivor.id
    for hold in loser.holds.values():
        hold.account = survivor.id
    survivor.lots |= loser.lots
    survivor.holds |= loser.holds
    loser.lots, loser.holds = {}, {}
    for lot in survivor.usable():
        book.absorb(transaction, survivor, lot)
    return transaction


def _begin(
    book: Book, move: Move, as_of: datetime, points: int, *, of: UUID | None = None, author: str | None = None
) -> Transaction:
    return book.write(
        Transaction(
            id=book.new_id(),
            account=move.account,
            kind=kind_of(move),
            key=move.key,
            fingerprint=fingerprint_of(move),
            effective_at=as_of,
            source=getattr(move, "source", kind_of(move).value),
            points=points,
            of=of,
            author=author,
            reference=getattr(move, "reference", None),
            order_id=getattr(move, "order_id", None),
        )
    )


def _remembered(made: Transaction) -> PastMove:
    """The transaction as later moves of the same batch may name it."""
    taken = [each for each in made.consumptions if each.use in (Use.REDEEMED, Use.REVERSED)]
    return PastMove(
        transaction_id=made.id,
        account=made.account,
        kind=made.kind,
        fingerprint=made.fingerprint,
        answer=made.answer(),
        points=made.points,
        parts=[Part(each.id, each.lot_id, each.use, each.points) for each in taken],
    )


def _positive(points: int) -> int:
    if points <= 0:
        raise ValueError("points of a move are above zero")
    return points
