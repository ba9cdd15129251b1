"""What an entry is about, and whether earlier runs of a journey bar another one: the occasion first, then `again`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import orjson

from domain.conditions.paths import reader, steps_of
from domain.conditions.scope import JsonObject
from domain.durations import parse_duration
from domain.journeys.definition import Again, Enter

ITEM = "item"
"""The member of an entry that holds its item, in a journey that enters once for each of a list."""

MOST_ITEMS = 50
"""Items of one event that enter; those after them do not."""

_LARGEST = 2**63  # whole numbers from there on come in as floats anyway


class Bar(StrEnum):
    """Which rule bars the entry."""

    OCCASION_TAKEN = "occasion_taken"
    ALREADY_ACTIVE = "already_active"
    AGAIN_AFTER = "again_after"
    AGAIN_AT_MOST = "again_at_most"


def barred_by(
    again: Again | None,
    *,
    occasion_taken: bool,
    is_active: bool,
    last_entered_at: datetime | None,
    entered_within: int,
    as_of: datetime,
) -> Bar | None:
    """The rule that bars an entry; `entered_within` counts the entries in the window of `at_most`."""
    again = again or Again()
    if occasion_taken:
        return Bar.OCCASION_TAKEN
    if is_active and not again.while_active:
        return Bar.ALREADY_ACTIVE
    if again.after and last_entered_at and parse_duration(again.after).after(last_entered_at) > as_of:
        return Bar.AGAIN_AFTER
    if again.at_most is not None and entered_within >= again.at_most:
        return Bar.AGAIN_AT_MOST
    return None


@dataclass(frozen=True, slots=True)
class Item:
    """One item of the list of a `for_each`; `position` counts from 0, over items that are null too."""

    position: int
    value: Any  # any JSON but null


def items_of(path: str, entry: JsonObject) -> list[Item]:
    """The items that the entry's list has at a path, at most MOST_ITEMS; none where there is no list."""
    found = reader(path)(entry)
    listed = found[0] if found and isinstance(found[0], list) else []
    return [Item(position, each) for position, each in enumerate(listed[:MOST_ITEMS]) if each is not None]


def occasion_of(enter: Enter, entry: JsonObject, message_id: str, item: Item | None) -> str | None:
    """What an entry is about; None where the event lacks it. Items of one list are never about the same, unless the
    occasion is a path into the item: then two items with one value are.
    """
    path = enter.occasion
    found = [message_id] if path is None else reader(path)(entry)
    if not found:
        return None
    text = occasion_text(found[0])
    return text if item is None or (path is not None and steps_of(path)[0] == ITEM) else f"{text}/{item.position}"


def occasion_text(value: Any) -> str:  # any JSON value
    """An occasion as it is stored and compared: 7, 7.0 and "7" are one, as shops write one id in all these ways."""
    return value if isinstance(value, str) else orjson.dumps(_canonical(value), option=orjson.OPT_SORT_KEYS).decode()


def _canonical(value: Any) -> Any:  # any JSON value
    """Whole numbers are written as such, at any depth."""
    match value:
        case float() if value.is_integer() and abs(value) < _LARGEST:
            return int(value)
        case list():
            return [_canonical(each) for each in value]
        case dict():
            return {name: _canonical(each) for name, each in value.items()}
        case _:
            return value
