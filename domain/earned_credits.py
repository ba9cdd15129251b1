"""The credits that one decision has posted, and what brings them to another sum: a further credit, or a clawback.

A decision may pay more or less than it did, because a late event came before it or because its order was refunded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Posted:
    """A credit under its key. `taken`: how much of it has been taken back so far, over all clawbacks."""

    key: str
    points: int
    taken: int = 0

    @property
    def left(self) -> int:
        """What the customer has of it, whatever was spent."""
        return self.points - self.taken


@dataclass(frozen=True, slots=True)
class Adjustment:
    """The credits as they are to be. `added`: a new one among them; `lowered`: those to claw back from."""

    credits: Sequence[Posted]
    added: Posted | None = None
    lowered: Sequence[Posted] = ()


def adjusted(posted: Sequence[Posted], net: int, key: str) -> Adjustment:
    """Bring the sum of what is left to `net`: one more credit, or clawbacks from the latest credit on.

    The first credit goes by `key`, the later ones by it and their number.
    """
    missing = net - sum(credit.left for credit in posted)
    if missing > 0:
        added = Posted(f"{key}/{len(posted)}" if posted else key, missing)
        return Adjustment([*posted, added], added)
    kept: list[Posted] = []
    lowered: list[Posted] = []
    for credit in reversed(posted):
        due = min(-missing, credit.left)
        missing += due
        after = replace(credit, taken=credit.taken + due)
        kept.insert(0, after)
        if due:
            lowered.append(after)
    return Adjustment(kept, lowered=lowered)
