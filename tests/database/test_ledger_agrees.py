"""Random moves over the real database against a ledger that was written apart (ledger_machine.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import pytest
from sqlalchemy import text

from database import point_figures, point_totals, points
from database.guarantees import QUESTIONS, offenders
from database.session import Database
from domain.ids import new_id
from domain.points import (
    Move,
    Moved,
    Release,
)
from tests.database.ledger_machine import Entry, LedgerMachine, Names, start
from tests.point_oracle import FAR

Answer = TypeVar("Answer")


class StoredMachine(LedgerMachine):
    """The real thing: every move is a transaction, and every reading starts from what is stored."""

    url: str

    def open(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.database = Database(self.url, pool_size=1)
        self.programme = f"programme-{new_id()}"

    def close(self) -> None:
        self.run(self._verify())
        self.run(self.database.close())
        self.loop.close()

    def post(self, move: Move) -> Moved:
        return self.run(self._post(move))

    def merge_accounts(self) -> None:
        self.run(self._merge())

    def figures(self) -> Names:
        return self.run(self._figures())

    def run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        return self.loop.run_until_complete(work)

    async def _post(self, move: Move) -> Moved:
        async with self.database.transaction() as session:
            (moved,) = await points.post(session, self.programme, [move], self.now)
        return moved

    async def _merge(self) -> None:
        async with self.database.transaction() as session:
            await points.merge_accounts(session, self.accounts["twin"], self.accounts["ann"], self.now)

    async def _figures(self) -> Names:
        found: Names = {}
        async with self.database.read() as session:
            balances = await points.balances(session, self.programme, self.accounts.values(), self.now)
            for name, account in self.accounts.items():
                holdings = await points.lots_of(session, self.programme, account, self.now)
                left = sorted((lot.expires_at or FAR, lot.remaining) for lot in holdings.lots)
                found[name] = (asdict(holdings.balance), left)
                assert balances[account] == holdings.balance
            assert (await session.scalars(_MISTAKEN, {"programme": self.programme})).all() == []
        return found

    async def _verify(self) -> None:
        """Everything that the doctor asks, and every balance that was seen, replayed from the entries as of then."""
        async with self.database.transaction() as session:  # settles nothing: every account once more, as a move would
            for question in QUESTIONS:
                if question.guarantee == "points" and "next_due" not in question.statement:
                    assert list(await offenders(session, question, self.now)) == [], question.promise
            for account in self.accounts.values():
                await points.post(session, self.programme, [_nothing(account)], self.now)
            entries = [Entry(*row) for row in await session.execute(_ENTRIES, {"programme": self.programme})]
        self.compare_with_replay(entries)
        await self._compare_liability(entries)

    async def _compare_liability(self, entries: Sequence[Entry]) -> None:
        """The liability's figures, half of their notes added up, are those of the entries, whatever the window."""
        moments = sorted({each.effective_at for each in entries} | {self.now})
        async with self.database.transaction() as session:
            await point_totals.add_up(session, limit=len(entries) // 2)
            for since, until in [(None, moments[-1]), *zip(moments[::3], moments[2::3], strict=False)]:
                found = await point_figures.figures(session, self.programme, since, until)
                assert found == _figures_of(entries, since, until)


# Accounts whose next moment is not the first at which one of their lots or holds falls due: moves that are not due
# read no more lots than they take, so that they have to know.
_MISTAKEN = text("""
    SELECT balances.account FROM point_balances AS balances
    LEFT JOIN (
        SELECT account, min(CASE WHEN is_pending THEN activates_at ELSE expires_at END) AS first FROM point_lots
        WHERE programme = :programme AND remaining > 0 GROUP BY account
    ) AS lots USING (account)
    LEFT JOIN (
        SELECT account, min(expires_at) AS first FROM point_holds
        WHERE programme = :programme AND state = 'open' GROUP BY account
    ) AS holds USING (account)
    WHERE programme = :programme AND next_due IS DISTINCT FROM least(lots.first, holds.first)
""")
_ENTRIES = text("""
    SELECT point_entries.account, bucket, amount, effective_at FROM point_entries
    JOIN point_transactions ON point_transactions.id = transaction_id WHERE point_entries.programme = :programme
""")


def _figures_of(entries: Sequence[Entry], since: datetime | None, until: datetime) -> point_figures.PointFigures:
    ended = [each for each in entries if each.effective_at < until]
    moved = [each for each in ended if since is None or each.effective_at >= since]

    def total(of: Sequence[Entry], *buckets: str) -> int:
        return sum(each.amount for each in of if each.bucket in buckets)

    return point_figures.PointFigures(
        issued=-total(moved, "issued"),
        redeemed=total(moved, "redeemed"),
        expired=total(moved, "expired"),
        reversed=total(moved, "reversed"),
        outstanding=total(ended, "pending", "available", "held"),
        ended_redeemed=total(ended, "redeemed"),
        ended_expired=total(ended, "expired"),
    )


def _nothing(account: UUID) -> Move:
    """A move that is refused, so that its account is settled and stored and nothing else happens."""
    return Release(account, f"nothing/{account}", new_id())


@pytest.mark.slow
def test_any_moves_in_any_order_agree_with_a_ledger_that_was_written_apart(database_url: str) -> None:
    class Machine(StoredMachine):
        url = database_url

    start(Machine, examples=12, steps=30)
