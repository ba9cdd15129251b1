"""Orders as all that was said of them has left them; and which later words may still change what an order earned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from domain.identities import Stamp
from domain.lateness import LATE


@dataclass(frozen=True, slots=True)
class Statement:
    """What one event says of an order."""

    stamp: Stamp
    properties: Mapping[str, Any]


def as_it_stands(statements: Iterable[Statement]) -> dict[str, Any]:
    """The order's properties: each as the last statement has it that says anything of it. Null says nothing."""
    stands: dict[str, Any] = {}
    for each in sorted(statements, key=lambda each: each.stamp):
        stands |= {name: value for name, value in each.properties.items() if value is not None}
    return stands


@dataclass(frozen=True, slots=True)
class Edit:
    """What was said of an order besides, such as an `Order Updated`. `at`: from when on it counts."""

    said: Statement
    at: datetime


@dataclass(frozen=True, slots=True)
class Edited:
    """`first`: the order's properties by what was said within a day of it. `later`: how each word since left them, and
    when. `over`: what came too late to change what the order earned.
    """

    first: Mapping[str, Any]
    later: Sequence[tuple[datetime, Mapping[str, Any]]]
    over: Sequence[Edit]


def edited(own: Statement, at: datetime, edits: Iterable[Edit], until: datetime) -> Edited:
    """What edits make of an order that counts `at` then and is open to them `until` some time."""
    in_turn = sorted(edits, key=lambda edit: (edit.at, edit.said.stamp))
    open_to = [edit for edit in in_turn if edit.at <= until]
    soon = [edit.said for edit in open_to if is_soon(edit, at)]
    late = [edit for edit in open_to if not is_soon(edit, at)]
    words = [own, *soon]
    later = [
        (edit.at, as_it_stands([*words, *(each.said for each in late[:count])])) for count, edit in enumerate(late, 1)
    ]
    return Edited(as_it_stands(words), later, [edit for edit in in_turn if edit.at > until])


def is_soon(edit: Edit, at: datetime) -> bool:
    """Whether it counts within a day of the order: then what was decided after the order is decided again."""
    return edit.at - at <= LATE
