"""Rounds below zero: what a member has beside a completion, from before two customers turned out to be one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from domain.challenges.definition import MOST_ROUNDS


def aside(round_: int) -> Iterator[int]:
    """The rounds below zero that stand for this one, the first one first."""
    own = true_round(round_)
    return (-(own + MOST_ROUNDS * further) for further in count())


def true_round(round_: int) -> int:
    """Which round it is, as it was reached."""
    return round_ if round_ > 0 else (-round_ - 1) % MOST_ROUNDS + 1
