"""Crossings of thresholds: what the balances show when they are read after every move, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.accounts import Account
from domain.book import Book
from domain.crossings import crossings, figure_moves
from domain.ids import new_id
from domain.ledger import apply
from domain.points import Credit, CreditKind, Debit, DebitKind, Merge
from domain.thresholds import Threshold
from tests.factories import NOON

UP, DOWN = Threshold("available", "reaches", 100), Threshold("available", "falls_below", 100)
DAY = timedelta(days=1)


def crossed(book: Book) -> list[tuple[str, int, int]]:
    moves = figure_moves(book, {})
    return [(each.threshold.change, each.move.before, each.move.after) for each in crossings(moves, [UP, DOWN])]


@given(st.lists(st.integers(-120, 120).filter(bool), max_size=12), st.integers(0, 12))
@settings(max_examples=50)
def test_crossings_are_those_of_the_balances_in_turn_however_the_moves_are_batched(
    amounts: list[int], cut: int
) -> None:
    account, balances, found = Account(new_id()), [0], []
    for batch in (amounts[:cut], amounts[cut:]):
        book = Book({account.id: account}, new_id)
        balances += [balance for amount in batch if (balance := _moved(book, account, amount)) is not None]
        found += crossed(book)

    assert found == [
        ("reaches" if before < after else "falls_below", before, after)
        for before, after in pairwise(balances)
        if (before < 100) != (after < 100)
    ]


def _moved(book: Book, account: Account, amount: int) -> int | None:
    """The balance after one move; None if it was refused."""
    key = str(new_id())
    if amount > 0:
        move: Credit | Debit = Credit(account.id, key, amount, CreditKind.AWARD, NOON, "test")
    else:
        move = Debit(account.id, key, -amount, DebitKind.DEDUCT, "test")
    moved = apply(book, move, NOON)
    return None if moved.refusal else moved.balance.available


def _book(*points: int) -> tuple[Book, Sequence[Account]]:
    accounts = [Account(new_id()) for _ in points]
    book = Book({account.id: account for account in accounts}, new_id)
    for account, amount in zip(accounts, points, strict=True):
        _moved(book, account, amount)
    book.written.clear()
    return book, accounts


def test_what_a_late_credit_brought_and_lost_again_crosses_both_ways() -> None:
    book, (account,) = _book(10)
    late = Credit(account.id, "late", 200, CreditKind.EARN, NOON - 9 * DAY, "test", expires_at=NOON - DAY)
    apply(book, late, NOON)
    assert crossed(book) == [("reaches", 10, 210), ("falls_below", 210, 10)]


def test_a_merge_goes_on_from_the_higher_of_both_and_leaves_nobody_behind() -> None:
    for points, expected in (((60, 70), [("reaches", 70, 130)]), ((130, 10), []), ((10, 130), []), ((20, 30), [])):
        book, (loser, survivor) = _book(*points)
        apply(book, Merge(loser.id, "merge", survivor.id), NOON)
        assert crossed(book) == expected
