"""Random moves of points against a ledger that was written apart (tests/point_oracle.py).

Invariants 1 to 3 and 5 to 8, after every step, and once more at every past instant at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from domain.ids import new_id
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
    Move,
    Moved,
    Release,
    Restore,
    Transfer,
)
from tests.factories import NOON
from tests.point_oracle import Oracle

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

    @precondition(lambda self: self.credits)
    @rule(data=st.data(), up_to=st.integers(0, 15), by=FEW)
    def correct(self, data: st.DataObject, up_to: int, by: int) -> None:
        """A rule should have paid less, also where it has lapsed."""
        name, of = data.draw(st.sampled_from(self.credits))
        name = self.who(name)
        moved = self.move(Clawback(self.accounts[name], self.key(), of, up_to, source=CORRECTION, lowered_by=by))
        assert moved.points == (0 if of in self.moved_in else self.oracle.correct(name, of, up_to, by))

    @precondition(lambda self: self.credits)
    @rule(data=st.data(), down_to=st.integers(0, 15), activates=st.none() | DAYS, expires=DAYS)
    def give_back(self, data: st.DataObject, down_to: int, activates: int | None, expires: int) -> None:
        """Less came back than was told: nothing is issued anew."""
        name, of = data.draw(st.sampled_from(self.credits))
        name, key = self.who(name), self.key()
        start = self.now + activates * DAY if activates else None
        end = (start or self.now) + expires * DAY + timedelta(microseconds=self.count)
        moved = self.move(GiveBack(self.accounts[name], key, of, down_to, self.now, "rule", start, end))
        given = 0
        if of not in self.moved_in:
            given = self.oracle.give_back(name, of, down_to, activates=start, expires=end, now=self.now)
        assert moved.points == given

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


def start(machine: type[LedgerMachine], *, examples: int, steps: int) -> None:
    """Let Hypothesis try so many sequences of up to so many moves."""
    healthy = list(HealthCheck)
    wanted = settings(max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=healthy)
    run_state_machine_as_test(machine, settings=wanted)
