"""Random moves over the real database against a ledger that was written apart (tests/point_oracle.py).

Invariants 1 to 3 and 5 to 8, after every step, and once more at every past instant at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import text

from database import point_figures, point_totals, points
from database.guarantees import QUESTIONS, offenders
from database.session import Database
from domain.ids import new_id
from domain.points import (
    Activate,
    Capture,
    Clawback,
    Credit,
    CreditKind,
    Debit,
    DebitKind,
    Hold,
    Move,
    Moved,
    Release,
    Restore,
    Transfer,
)
from tests.factories import NOON
from tests.point_oracle import FAR, Oracle

Answer = TypeVar("Answer")
Names = dict[str, tuple[dict[str, int], list[tuple[datetime, int]]]]
"""By name: the balance, and what is left of each lot by expiry."""
DAY = timedelta(days=1)
DAYS = st.integers(1, 12)
FEW = st.integers(1, 12)
# "twin" gives and takes no gifts, so that no two of its lots and ann's expire at one instant when they become one.
ANYBODY = st.sampled_from(["ann", "bob", "twin"])
FRIENDS = st.sampled_from([("ann", "bob"), ("bob", "ann")])


_NAMES = {"redeemed": "spent", "issued": "earned"}


class Entry(NamedTuple):
    """One side of a transaction, by when it took effect."""

    account: UUID
    bucket: str
    amount: int
    effective_at: datetime


class LedgerMachine(RuleBasedStateMachine):
    """Moves in any order, at ever later times. Where they are kept is a subclass's."""

    def open(self) -> None:
        """Make an empty ledger for `accounts`."""
        raise NotImplementedError

    def close(self) -> None:
        """Check what can be checked at the end only."""
        raise NotImplementedError

    def post(self, move: Move) -> Moved:
        """Do a move as of `now`."""
        raise NotImplementedError

    def merge_accounts(self) -> None:
        """Merge twin's account into ann's."""
        raise NotImplementedError

    def figures(self) -> Names:
        """What everybody has as of `now`."""
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.accounts: dict[str, UUID] = {name: new_id() for name in ("ann", "bob", "twin")}
        self.oracle, self.now, self.count = Oracle(), NOON, 0
        self.credits: list[tuple[str, str]] = []
        self.spendings: list[tuple[str, str]] = []
        self.moved_in: set[str] = set()  # keys of what came from elsewhere: nothing here gave it or spent it
        self.holds: dict[str, tuple[str, UUID]] = {}
        self.seen: list[tuple[datetime, dict[str, dict[str, int]]]] = []
        self.is_merged = False
        self.open()

    def teardown(self) -> None:
        self.close()

    @rule(days=st.integers(0, 4), hours=st.sampled_from([0, 1, 12]))
    def time_passes(self, days: int, hours: int) -> None:
        self.now += days * DAY + timedelta(hours=hours)

    @rule(
        name=ANYBODY,
        n=FEW,
        activates=st.none() | DAYS,
        expires=st.none() | DAYS | st.integers(-3, -1),
        is_short=st.booleans(),
        kind=st.sampled_from(list(CreditKind)),
    )
    def credit(
        self, *, name: str, n: int, activates: int | None, expires: int | None, is_short: bool, kind: CreditKind
    ) -> None:
        """Points that are `is_short` may expire before they can be used; some had lapsed before they came in."""
        name, key = self.who(name), self.key()
        if name == "twin" and expires is None:
            expires = 5
        start = self.now + activates * DAY if activates else None
        begin = start if start and not is_short else self.now
        end = begin + expires * DAY + timedelta(microseconds=self.count) if expires else None
        moved = self.move(Credit(self.accounts[name], key, n, kind, self.now, "rule", start, end))
        assert moved.refusal is None
        self.oracle.credit(name, key, n, activates=start, expires=end, now=self.now)
        self.credits.append((name, key))
        if kind is CreditKind.OPENING:
            self.moved_in.add(key)

    @rule(name=ANYBODY, n=FEW, kind=st.sampled_from(list(DebitKind)))
    def debit(self, name: str, n: int, kind: DebitKind) -> None:
        name, key = self.who(name), self.key()
        moved = self.move(Debit(self.accounts[name], key, n, kind, "spend"))
        if kind is DebitKind.OPENING:
            self.compare(moved, self.oracle.owe(name, n))
            self.moved_in.add(key)
        else:
            self.compare(moved, self.oracle.debit(name, key, n, correction=kind is DebitKind.ADJUST))
        self.spendings.append((name, key))

    @rule(name=ANYBODY)
    def spend_everything(self, name: str) -> None:
        """So that refunds find nothing, and leave something to be owed."""
        name = self.who(name)
        self.oracle.settle(self.now)
        if (left := self.oracle.balance(name)["available"]) > 0:
            self.debit(name, left, DebitKind.REDEEM)

    @rule(name=ANYBODY, n=FEW, days=DAYS)
    def hold(self, name: str, n: int, days: int) -> None:
        name, key, hold_id = self.who(name), self.key(), new_id()
        until = self.now + days * DAY
        moved = self.move(Hold(self.accounts[name], key, hold_id, n, until, "checkout"))
        self.compare(moved, self.oracle.hold(name, key, n, until))
        self.holds[key] = (name, hold_id)

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), n=st.none() | FEW)
    def capture(self, data: st.DataObject, n: int | None) -> None:
        hold = data.draw(st.sampled_from(sorted(self.holds)))
        name, hold_id = self.holds[hold]
        name, key = self.who(name), self.key()
        moved = self.move(Capture(self.accounts[name], key, hold_id, n))
        self.compare(moved, self.oracle.capture(hold, key, n, self.now))
        self.spendings.append((name, key))

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), days=st.none() | DAYS)
    def release(self, data: st.DataObject, days: int | None) -> None:
        hold = data.draw(st.sampled_from(sorted(self.holds)))
        name, hold_id = self.holds[hold]
        until = self.now + days * DAY + timedelta(seconds=1) if days else None
        moved = self.move(Release(self.accounts[self.who(name)], self.key(), hold_id, until))
        self.compare(moved, self.oracle.release(hold, self.now, until))

    @precondition(lambda self: self.spendings)
    @rule(data=st.data(), n=st.none() | FEW, days=st.none() | DAYS)
    def restore(self, data: st.DataObject, n: int | None, days: int | None) -> None:
        name, of = data.draw(st.sampled_from(self.spendings))
        name, until = self.who(name), self.now + days * DAY + timedelta(seconds=1) if days else None
        moved = self.move(Restore(self.accounts[name], self.key(), of, n, until))
        self.compare(moved, of not in self.moved_in and self.oracle.restore(name, of, n, self.now, until))

    @precondition(lambda self: self.credits)
    @rule(data=st.data(), expires=st.none() | DAYS)
    def activate(self, data: st.DataObject, expires: int | None) -> None:
        """What still waits of a credit need wait no longer; nothing if it does not."""
        name, of = data.draw(st.sampled_from(self.credits))
        if name == "twin" and expires is None:
            expires = 5
        key = self.key()
        end = self.now + expires * DAY + timedelta(microseconds=self.count) if expires else None
        moved = self.move(Activate(self.accounts[self.who(name)], key, of, end))
        assert moved.points == (0 if of in self.moved_in else self.oracle.activate(of, end, self.now))

    @precondition(lambda self: self.credits)
    @rule(data=st.data(), up_to=st.integers(0, 15), may_owe=st.booleans())
    def claw_back(self, data: st.DataObject, up_to: int, may_owe: bool) -> None:
        name, of = data.draw(st.sampled_from(self.credits))
        name = self.who(name)
        moved = self.move(Clawback(self.accounts[name], self.key(), of, up_to, may_owe))
        taken = 0 if of in self.moved_in else self.oracle.claw_back(name, of, up_to, may_owe=may_owe)
        assert moved.points == taken

    @rule(pair=FRIENDS, n=FEW)
    def transfer(self, pair: tuple[str, str], n: int) -> None:
        giver, taker = pair
        moved = self.move(Transfer(self.accounts[giver], self.key(), self.accounts[taker], n, "gift"))
        self.compare(moved, self.oracle.transfer(giver, taker, n))

    @precondition(lambda self: not self.is_merged and self.count > 12)
    @rule()
    def merge(self) -> None:
        self.tick()
        self.merge_accounts()
        self.oracle.merge("twin", "ann")
        self.is_merged = True

    @precondition(lambda self: self.credits)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """A key that moved before moves nothing, whatever points are asked for."""
        name, key = data.draw(st.sampled_from(self.credits))
        moved = self.move(Credit(self.accounts[self.who(name)], key, 99, CreditKind.EARN, self.now, "rule"))
        assert moved.refusal is not None

    @invariant()
    def both_ledgers_agree(self) -> None:
        self.oracle.settle(self.now)
        figures = {name: self.oracle.balance(name) for name in self.accounts}
        for name, (balance, lots) in self.figures().items():
            assert balance == figures[name]
            assert lots == self.oracle.remainders(name)
        self.seen.append((self.now, figures))

    def compare_with_replay(self, entries: Sequence[Entry]) -> None:
        """Every balance that was seen follows from what had taken effect by then; all accounts are settled."""
        changes = sorted(entries, key=lambda entry: entry.effective_at)
        figures = {id_: dict.fromkeys(self.oracle.balance(name), 0) for name, id_ in self.accounts.items()}
        done = 0
        for at, seen in self.seen:
            while done < len(changes) and changes[done].effective_at <= at:
                account, bucket, amount, _ = changes[done]
                name = _NAMES.get(bucket, bucket)
                figures[account][name] += -amount if name == "earned" else amount
                done += 1
            for name, account in self.accounts.items():
                assert figures[account] == seen[name], at

    def move(self, move: Move) -> Moved:
        self.tick()
        return self.post(move)

    def tick(self) -> None:
        self.now += timedelta(microseconds=1)
        self.oracle.settle(self.now)

    def compare(self, moved: Moved, allowed: bool) -> None:
        assert (moved.refusal is None) is allowed

    def who(self, name: str) -> str:
        return "ann" if name == "twin" and self.is_merged else name

    def key(self) -> str:
        self.count += 1
        return f"key-{self.count:03}"


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


def start(machine: type[LedgerMachine], *, examples: int, steps: int) -> None:
    """Let Hypothesis try so many sequences of up to so many moves."""
    healthy = list(HealthCheck)
    wanted = settings(max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=healthy)
    run_state_machine_as_test(machine, settings=wanted)


@pytest.mark.slow
def test_any_moves_in_any_order_agree_with_a_ledger_that_was_written_apart(database_url: str) -> None:
    class Machine(StoredMachine):
        url = database_url

    start(Machine, examples=12, steps=30)
