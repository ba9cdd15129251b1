"""Which thresholds the transactions of a book have crossed. Pure; `database/thresholds.py` tells of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from domain.accounts import Bucket
from domain.book import Book
from domain.thresholds import PointsFigure, Threshold
from domain.transactions import Kind, Transaction

_BUCKETS: Final[dict[PointsFigure, Bucket]] = {  # where a figure stands
    "available": Bucket.AVAILABLE,
    "pending": Bucket.PENDING,
    "spent": Bucket.REDEEMED,
}
_BY_RULES: Final = frozenset({Kind.EARN, Kind.CLAWBACK})
"""What changes the points earned; anything else that is issued was given."""

_Figures = dict[PointsFigure, int]


@dataclass(frozen=True, slots=True)
class FigureMove:
    """What one transaction made of one figure of one account."""

    account: UUID
    transaction_id: UUID
    figure: PointsFigure
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Crossing:
    """One threshold, crossed by one transaction."""

    threshold: Threshold
    move: FigureMove


def issues(book: Book) -> bool:
    """Whether anything was issued: else what is earned stays as it was."""
    return any(bucket is Bucket.ISSUED for made in book.written for _, bucket in made.postings)


def figure_moves(book: Book, earned: Mapping[UUID, int]) -> list[FigureMove]:
    """How the figures of the accounts went, in the order in which the transactions were written.

    `earned`: the points that each account had earned after all of it; of no matter where nothing was issued.

    Every transaction counts by itself, so that it makes no difference whether the nightly job or the next move settles
    an account. A merge is no move: the survivor's figures go on from the higher of the two.
    """
    figures = _figures_before(book, earned)
    return [move for made in book.written for move in _moves(figures, made)]


def crossings(moves: Sequence[FigureMove], thresholds: Collection[Threshold]) -> list[Crossing]:
    """The thresholds that were crossed, in the order of the moves."""
    return [
        Crossing(threshold, move)
        for move in moves
        for threshold in sorted(thresholds)
        if threshold.figure == move.figure and threshold.is_crossed(move.before, move.after)
    ]


def _figures_before(book: Book, earned: Mapping[UUID, int]) -> dict[UUID, _Figures]:
    """What the figures were before anything was written: what they are, less what was posted."""
    posted: Counter[tuple[UUID, Bucket]] = Counter()
    for made in book.written:
        posted.update(made.postings)
        if made.kind not in _BY_RULES and made.kind is not Kind.MERGE:
            posted.update({side: -amount for side, amount in made.postings.items() if side[1] is Bucket.ISSUED})
    return {
        id_: {
            **{figure: account.buckets[bucket] - posted[id_, bucket] for figure, bucket in _BUCKETS.items()},
            "earned": earned.get(id_, 0) + posted[id_, Bucket.ISSUED],
        }
        for id_, account in book.accounts.items()
    }


def _moves(figures: dict[UUID, _Figures], made: Transaction) -> Iterator[FigureMove]:
    """What a transaction made of the figures, which it changes to what they are after it."""
    before = {id_: dict(figures[id_]) for id_ in made.numbers}
    for (id_, bucket), amount in made.postings.items():
        for figure, own in _BUCKETS.items():
            figures[id_][figure] += amount if own is bucket else 0
        if bucket is Bucket.ISSUED and made.kind in _BY_RULES:
            figures[id_]["earned"] -= amount
    if made.kind is Kind.MERGE:
        _pass_on_earned(figures, made)
        higher = {figure: max(each[figure] for each in before.values()) for figure in before[made.account]}
        before = {id_: higher for id_ in before if id_ != made.account}  # the other account is given up
    for id_, old in sorted(before.items()):
        for figure, points in old.items():
            if figures[id_][figure] != points:
                yield FigureMove(id_, made.id, figure, points, figures[id_][figure])


def _pass_on_earned(figures: dict[UUID, _Figures], merge: Transaction) -> None:
    """What was given passes too, and stays given."""
    for id_ in merge.numbers:
        if id_ != merge.account:
            figures[id_]["earned"] += figures[merge.account]["earned"]
    figures[merge.account]["earned"] = 0
