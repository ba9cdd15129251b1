"""What an entry is about, and whether earlier runs of a journey bar another one: the occasion first, then `again`."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import orjson

from domain.durations import parse_duration
from domain.journeys.definition import Again

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
