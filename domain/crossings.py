"""Which thresholds the transactions of a book have crossed. Pure; `database/thresholds.py` tells of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from domain.accounts import Bucket
from domain.book import Book
from domain.thresholds import PointsFigure, Threshold
from domain.transactions import Kind, Transaction

_BUCKETS: Final[dict[PointsFigure, tuple[Bucket, int]]] = {  # where a figure stands, and with which sign
    "available": (Bucket.AVAILABLE, 1),
    "pending": (Bucket.PENDING, 1),
    "earned": (Bucket.ISSUED, -1),
    "spent": (Bucket.REDEEMED, 1),
}

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


def figure_moves(book: Book) -> list[FigureMove]:
    """How the figures of the accounts went, in the order in which the transactions were written.

    Every transaction counts by itself, so that it makes no difference whether the nightly job or the next move settles
    an account. A merge is no move: the survivor's figures go on from the higher of the two.
    """
    figures = _figures_before(book)
    return [move for made in book.written for move in _moves(figures, made)]


def crossings(moves: Sequence[FigureMove], thresholds: Collection[Threshold]) -> list[Crossing]:
    """The thresholds that were crossed, in the order of the moves."""
    return [
        Crossing(threshold, move)
        for move in moves
        for threshold in sorted(thresholds)
        if threshold.figure == move.figure and threshold.is_crossed(move.before, move.after)
    ]


def _figures_before(book: Book) -> dict[UUID, _Figures]:
    """What the figures were before anything was written: what they are, less what was posted."""
    posted: Counter[tuple[UUID, Bucket]] = Counter()
    for made in book.written:
        posted.update(made.postings)
    return {
        id_: {
            figure: sign * (account.buckets[bucket] - posted[id_, bucket])
            for figure, (bucket, sign) in _BUCKETS.items()
        }
        for id_, account in book.accounts.items()
    }


def _moves(figures: dict[UUID, _Figures], made: Transaction) -> Iterator[FigureMove]:
    """What a transaction made of the figures, which it changes to what they are after it."""
    before = {id_: dict(figures[id_]) for id_ in made.numbers}
    for (id_, bucket), amount in made.postings.items():
        for figure, (own, sign) in _BUCKETS.items():
            figures[id_][figure] += sign * amount if own is bucket else 0
    if made.kind is Kind.MERGE:
        higher = {figure: max(each[figure] for each in before.values()) for figure in _BUCKETS}
        before = {id_: higher for id_ in before if id_ != made.account}  # the other account is given up
    for id_, old in sorted(before.items()):
        for figure, points in old.items():
            if figures[id_][figure] != points:
                yield FigureMove(id_, made.id, figure, points, figures[id_][figure])
