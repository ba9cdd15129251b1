"""A second ledger, written apart from the product's: every single point is an object that is moved by hand.

It settles eagerly, one instant after the other, where the product settles lazily; both must come to the same figures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

FAR = datetime.max.replace(tzinfo=UTC)


@dataclass(eq=False)
class Point:
    """One point. `spent_by`: the key of what redeemed or corrected it away; `hold`: the hold that has or had it."""

    owner: str
    credit: str | None  # the key of the credit that a refund would take it back for; none after a transfer
    batch: int  # points that came in together, in order
    activates: datetime | None
    expires: datetime | None
    state: str  # pending | available | held | redeemed | corrected | expired | reversed | absorbed | never
    hold: str | None = None
    spent_by: str | None = None

    @property
    def turn(self) -> tuple[datetime, int]:
        return (self.expires or FAR, self.batch)

    @property
    def end(self) -> datetime:
        return max(self.expires, self.activates or self.expires) if self.expires else FAR


@dataclass
class Oracle:
    """All members. Every method answers whether the move is allowed, and does it if it is."""

    points: list[Point] = field(default_factory=list)
    debts: Counter[str] = field(default_factory=Counter)
    owed: Counter[str] = field(default_factory=Counter)  # reversed but nowhere to be found, less what was given back
    holds: dict[str, tuple[str, datetime]] = field(default_factory=dict)  # open ones: owner, time-out
    ended: dict[str, str] = field(default_factory=dict)
    clawed: Counter[str] = field(default_factory=Counter)
    returned: Counter[str] = field(default_factory=Counter)  # of these what a refund may give back
    given: dict[str, int] = field(default_factory=dict)  # points of each credit
    batches: int = 0
    issued: Counter[str] = field(default_factory=Counter)

    def settle(self, until: datetime) -> None:
        """Walk through every instant at which something is due."""
        while (at := min(self._instants(), default=FAR)) <= until:
            waking = [p for p in self.points if p.state == "pending" and p.activates and p.activates <= at]
            self._wake(waking)
            for hold in sorted(key for key, (_, out) in self.holds.items() if out <= at):
                self._let_go(hold, "expired", at)
            for point in self.points:
                if point.state == "available" and point.end <= at:
                    point.state = "expired"

    def _instants(self) -> Iterable[datetime]:
        yield from (p.activates for p in self.points if p.state == "pending" and p.activates)
        yield from (out for _, out in self.holds.values())
        yield from (p.end for p in self.points if p.state == "available")

    def credit(
        self, owner: str, key: str, n: int, *, activates: datetime | None, expires: datetime | None, now: datetime
    ) -> bool:
        self.batches += 1
        is_pending = activates is not None and activates > now
        new = [Point(owner, key, self.batches, activates, expires, "pending") for _ in range(n)]
        self.points += new
        self.issued[owner] += n
        self.given[key] = n
        if not is_pending:
            self._wake(new)
        self.settle(now)
        return True

    def debit(self, owner: str, key: str, n: int, *, correction: bool) -> bool:
        taken = self._take(owner, n)
        for point in taken or ():
            point.state, point.spent_by = ("corrected" if correction else "redeemed"), key
        return taken is not None

    def owe(self, owner: str, n: int) -> bool:
        usable = sorted((p for p in self.points if p.owner == owner and p.state == "available"), key=_turn)[:n]
        for point in usable:
            point.state = "reversed"
        self.debts[owner] += n - len(usable)
        self.owed[owner] += n - len(usable)
        return True

    def hold(self, owner: str, hold: str, n: int, until: datetime) -> bool:
        taken = self._take(owner, n)
        if taken is None:
            return False
        for point in taken:
            point.state, point.hold = "held", hold
        self.holds[hold] = (owner, until)
        return True

    def capture(self, hold: str, key: str, n: int | None, now: datetime) -> bool:
        if hold not in self.holds:
            return False
        mine = self._held(hold)
        wanted = len(mine) if n is None else n
        if wanted > len(mine):
            return False
        for point in mine[:wanted]:
            point.state, point.spent_by = "redeemed", key
        self._let_go(hold, "captured", now)
        return True

    def release(self, hold: str, now: datetime, until: datetime | None) -> bool:
        if hold not in self.holds:
            return False
        self._let_go(hold, "released", now, until)
        return True

    def restore(self, owner: str, of: str, n: int | None, now: datetime, until: datetime | None) -> bool:
        gone = [p for p in self.points if p.spent_by == of and p.state in ("redeemed", "corrected")]
        gone.sort(key=lambda p: p.turn, reverse=True)
        wanted = len(gone) if n is None else n
        if not gone or wanted > len(gone):
            return False
        for batch in _in_batches(gone[:wanted]):
            self._back(batch, now, until)
        return True

    def activate(self, of: str, expires: datetime | None, now: datetime) -> int:
        waiting = [p for p in self.points if p.credit == of and p.state == "pending"]
        for point in waiting:
            point.activates, point.expires = now, expires
        self._wake(waiting)
        self.settle(now)
        return len(waiting)

    def claw_back(self, owner: str, of: str, target: int, *, may_owe: bool) -> int:
        due, missing = self._take_of(owner, of, target, "reversed", may_owe=may_owe)
        self.owed[owner] += missing
        self.returned[of] += due
        return due

    def correct(self, owner: str, of: str, target: int, lowered_by: int) -> int:
        """What should never have been paid, also of what has lapsed."""
        due, _ = self._take_of(owner, of, target, "never", may_owe=True)
        lapsed = [p for p in self.points if p.state == "expired" and p.credit == of][: max(0, lowered_by - due)]
        for point in lapsed:
            point.state = "never"
        self.clawed[of] += len(lapsed)
        self.issued[owner] -= due + len(lapsed)
        return due + len(lapsed)

    def give_back(
        self, owner: str, of: str, target: int, *, activates: datetime | None, expires: datetime | None, now: datetime
    ) -> int:
        n = max(0, min(self.clawed[of] - target, self.returned[of]))
        given, issued = self.given[of], self.issued[owner]
        if n:
            self.credit(owner, of, n, activates=activates, expires=expires, now=now)
        self.given[of], self.issued[owner] = given, issued
        self.clawed[of] -= n
        self.returned[of] -= n
        self.owed[owner] -= n
        return n

    def _take_of(self, owner: str, of: str, target: int, state: str, *, may_owe: bool) -> tuple[int, int]:
        """How many points of a credit were due, and how many of them were nowhere to be found."""
        lapsed = sum(p.state == "expired" and p.credit == of for p in self.points)
        due = max(0, min(target, self.given[of]) - self.clawed[of] - lapsed)
        mine = [p for p in self.points if p.owner == owner]
        own = sorted((p for p in mine if p.credit == of and p.state in ("pending", "available")), key=_turn)
        others = sorted((p for p in mine if p.state == "available" and p not in own), key=_turn)
        taken = (own + others)[:due]
        due = due if may_owe else len(taken)
        for point in taken:
            point.state = state
        self.debts[owner] += due - len(taken)
        self.clawed[of] += due
        return due, due - len(taken)

    def transfer(self, owner: str, to: str, n: int) -> bool:
        taken = self._take(owner, n)
        if taken is None:
            return False
        for batch in _in_batches(taken):
            self.batches += 1
            for point in batch:
                point.owner, point.credit, point.batch = to, None, self.batches
        self._absorb(taken)
        return True

    def merge(self, loser: str, survivor: str) -> None:
        for point in self.points:
            point.owner = survivor if point.owner == loser else point.owner
        for counter in (self.debts, self.owed, self.issued):
            counter[survivor] += counter.pop(loser, 0)
        self.holds = {key: (survivor if who == loser else who, out) for key, (who, out) in self.holds.items()}
        usable = [p for p in self.points if p.owner == survivor and p.state == "available"]
        self._absorb(sorted(usable, key=_turn))

    def balance(self, owner: str) -> dict[str, int]:
        """The figures as the product shows them."""
        count = Counter(p.state for p in self.points if p.owner == owner)
        return {
            "available": count["available"] - self.debts[owner],
            "pending": count["pending"],
            "held": count["held"],
            "spent": count["redeemed"],
            "expired": count["expired"],
            "reversed": count["reversed"] + count["corrected"] + self.owed[owner],
            "earned": self.issued[owner],
        }

    def remainders(self, owner: str) -> list[tuple[datetime, int]]:
        """What is left of each batch, by expiry."""
        left = Counter(
            (p.turn, p.activates) for p in self.points if p.owner == owner and p.state in ("pending", "available")
        )
        return sorted((turn[0], n) for (turn, _), n in left.items())

    def _take(self, owner: str, n: int) -> list[Point] | None:
        usable = sorted((p for p in self.points if p.owner == owner and p.state == "available"), key=_turn)
        return usable[:n] if len(usable) - self.debts[owner] >= n else None

    def _held(self, hold: str) -> list[Point]:
        return sorted((p for p in self.points if p.hold == hold and p.state == "held"), key=_turn)

    def _let_go(self, hold: str, how: str, now: datetime, until: datetime | None = None) -> None:
        del self.holds[hold]
        self.ended[hold] = how
        for batch in _in_batches(self._held(hold)):
            self._back(batch, now, until)

    def _back(self, batch: list[Point], now: datetime, until: datetime | None) -> None:
        for point in batch:
            point.state, point.spent_by, point.hold = "available", None, None
        self._absorb(batch)
        rest = [point for point in batch if point.state == "available"]
        if until is not None and rest and rest[0].end < until:
            self.batches += 1
            for point in rest:
                point.expires, point.batch = until, self.batches
        elif rest and rest[0].end <= now:
            for point in rest:
                point.state = "expired"

    def _wake(self, points: list[Point]) -> None:
        for point in points:
            point.state = "available"
        self._absorb(points)

    def _absorb(self, points: list[Point]) -> None:
        for point in points:
            if point.state == "available" and self.debts[point.owner] > 0:
                point.state = "absorbed"
                self.debts[point.owner] -= 1


def _in_batches(points: list[Point]) -> list[list[Point]]:
    batches: dict[int, list[Point]] = {}
    for point in points:
        batches.setdefault(point.batch, []).append(point)
    return list(batches.values())


_turn: Callable[[Point], tuple[datetime, int]] = lambda point: point.turn  # noqa: E731
