"""The points machine without a database, against the ledger that was written apart: thousands of moves in seconds.

The same moves run over the real database in tests/database/test_ledger_agrees.py.
"""

from __future__ import annotations

import copy
from dataclasses import asdict
from itertools import count
from uuid import UUID

from domain.accounts import Account
from domain.book import Book
from domain.ledger import apply
from domain.points import Merge, Move, Moved
from domain.settling import settle
from tests.database.ledger_machine import Entry, LedgerMachine, Names, start
from tests.point_oracle import FAR


class PureMachine(LedgerMachine):
    """The moves of the real thing, on one book that stays open."""

    def open(self) -> None:
        ids = count(1)
        accounts = {id_: Account(id_) for id_ in self.accounts.values()}
        self.book = Book(accounts, lambda: UUID(int=next(ids)))

    def close(self) -> None:
        for made in self.book.written:
            assert sum(made.postings.values()) == 0
        for account in self.book.accounts.values():
            settle(self.book, account, self.now)
            assert all(0 <= lot.remaining <= lot.original for lot in account.lots.values())
        self.compare_with_replay(
            [
                Entry(account, bucket, amount, made.effective_at)
                for made in self.book.written
                for (account, bucket), amount in made.postings.items()
            ]
        )

    def post(self, move: Move) -> Moved:
        return apply(self.book, move, self.now)

    def merge_accounts(self) -> None:
        loser, survivor = self.accounts["twin"], self.accounts["ann"]
        apply(self.book, Merge(loser, f"merge/{loser}", survivor), self.now)
        for past in self.book.past.values():
            past.account = survivor if past.account == loser else past.account

    def figures(self) -> Names:
        found: Names = {}
        book = copy.deepcopy(Book(self.book.accounts, self.book.new_id, holds=self.book.holds))
        for name, id_ in self.accounts.items():
            account = book.accounts[id_]
            settle(book, account, self.now)
            left = sorted((lot.expires_at or FAR, lot.remaining) for lot in account.lots.values() if lot.remaining)
            found[name] = (asdict(account.balance()), left)
        return found


def test_any_moves_in_any_order_agree_with_a_ledger_that_was_written_apart() -> None:
    start(PureMachine, examples=100, steps=60)
