"""The credits that one decision has posted, and what brings them to other sums: a further credit, clawbacks, or points
that clawbacks had taken.

A decision may pay more or less than it did, because a late event came before it or its order was edited; and more or
less of it may have come back, for a refund that is stated once more counts as it was stated last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Posted:
    """A credit under its key. `taken`: how much of it was taken back, over all clawbacks; `returned` of that because it
    came back, the rest because it should never have been paid. `turn`: how often less came back than was told before.
    """

    key: str
    points: int
    taken: int = 0
    returned: int = 0
    turn: int = 0

    @property
    def left(self) -> int:
        """What the customer has of it, whatever was spent."""
        return self.points - self.taken


@dataclass(frozen=True, slots=True)
class Step:
    """A credit after it has changed, and by how many points."""

    credit: Posted
    by: int


@dataclass(frozen=True, slots=True)
class Adjustment:
    """The credits as they are to be, and what brings them there, in this order. `added`: a new one among them."""

    credits: Sequence[Posted]
    given_back: Sequence[Step] = ()
    added: Posted | None = None
    corrected: Sequence[Step] = ()
    returned: Sequence[Step] = ()


def adjusted(posted: Sequence[Posted], points: int, returned: int, key: str) -> Adjustment:
    """Bring credits to `points` that are paid, of which so many are `returned`.

    The first credit goes by `key`, the later ones by it and their number. What came last is taken first, and what was
    taken last is given back first.
    """
    kept, given_back = _in_turn(posted, sum(each.returned for each in posted) - returned, _returned, _give_back)
    missing = points - sum(each.left + each.returned for each in kept)
    added = Posted(f"{key}/{len(kept)}" if kept else key, missing) if missing > 0 else None
    latest_first = [*([added] if added else ()), *reversed(kept)]
    latest_first, corrected = _in_turn(latest_first, -missing, _left, _correct)
    missing = returned - sum(each.returned for each in latest_first)
    latest_first, gone = _in_turn(latest_first, missing, _left, _return)
    return Adjustment(latest_first[::-1], given_back, added, corrected, gone)


def _in_turn(
    posted: Iterable[Posted], points: int, room: Callable[[Posted], int], change: Callable[[Posted, int], Posted]
) -> tuple[list[Posted], list[Step]]:
    """Change one credit after the other by as much as there is room, until all points are done."""
    after: list[Posted] = []
    steps: list[Step] = []
    for credit in posted:
        by = max(0, min(points, room(credit)))
        points -= by
        after.append(change(credit, by) if by else credit)
        steps += [Step(after[-1], by)] if by else []
    return after, steps


def _left(credit: Posted) -> int:
    return credit.left


def _returned(credit: Posted) -> int:
    return credit.returned


def _correct(credit: Posted, by: int) -> Posted:
    return replace(credit, taken=credit.taken + by)


def _return(credit: Posted, by: int) -> Posted:
    return replace(credit, taken=credit.taken + by, returned=credit.returned + by)


def _give_back(credit: Posted, by: int) -> Posted:
    return replace(credit, taken=credit.taken - by, returned=credit.returned - by, turn=credit.turn + 1)


def credits_row(posted: Sequence[Posted], returned: int) -> list[dict[str, Any]]:
    """Credits as they are stored: as earlier releases read them, unless that would say something else."""
    plain = [Posted(each.key, each.points, each.taken) for each in posted]
    if with_returns(plain, returned) == list(posted):
        return [{"key": each.key, "points": each.points, "taken": each.taken} for each in posted]
    return [asdict(each) for each in posted]


def credits_of(stored: Sequence[Mapping[str, Any]], returned: int) -> list[Posted]:
    """The same as they were; where nothing else is kept, what came last came back first."""
    posted = [Posted(**credit) for credit in stored]
    return posted if any("returned" in credit for credit in stored) else with_returns(posted, returned)


def with_returns(posted: Sequence[Posted], returned: int) -> list[Posted]:
    """Credits of which earlier releases kept only how much was taken: what came last came back first."""
    latest_first, _ = _in_turn(posted[::-1], returned, _taken, lambda credit, by: replace(credit, returned=by))
    return latest_first[::-1]


def _taken(credit: Posted) -> int:
    return credit.taken
