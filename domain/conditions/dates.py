"""Dates in conditions: what counts as one, and how days and windows are judged in a customer's zone."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from domain.durations import Duration

DATE = r"^[1-9][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$"
"""A plain day. The same patterns guard the casts in SQL, so they use nothing that POSIX and Python read differently."""

_BEFORE_9999 = "(?!9999)"

INSTANT = (
    rf"^{_BEFORE_9999}"
    r"[1-9][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[T ]([01][0-9]|2[0-3]):[0-5][0-9]"
    r"(:[0-5][0-9](\.[0-9]{1,9})?)?(Z|[+-](0[0-9]|1[0-4]):?[0-5][0-9])?$"
)
"""An instant (RFC 3339, seconds and offset optional; without an offset UTC). Digits past microseconds are dropped.
Instants end before the year 9999, so that no zone can carry one past the calendar."""

OFFSET = r"(Z|[+-][0-9]{2}:?[0-9]{2})$"
FRACTION = r"(\.[0-9]{6})[0-9]+"


@lru_cache(maxsize=16_384)
def _parsed(text: str) -> date | datetime | None:
    try:
        if re.fullmatch(DATE, text):
            return date.fromisoformat(text)
        if re.fullmatch(INSTANT, text):
            moment = datetime.fromisoformat(re.sub(FRACTION, r"\1", text))
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except ValueError:  # 30 February
        return None
    return None


def moment_of(value: Any) -> date | datetime | None:
    """A JSON value as a plain date or an aware instant in UTC; anything else than such a text is none."""
    return _parsed(value) if type(value) is str else None


def is_beyond_instants(value: Any) -> bool:
    """Whether a JSON value is an instant of the year 9999, by which systems say "never"."""
    return type(value) is str and re.fullmatch(INSTANT.replace(_BEFORE_9999, ""), value) is not None


def order(left: date | datetime, right: date | datetime, zone: ZoneInfo) -> int:
    """-1, 0 or 1. A plain date stands for its whole day: it compares with the local day of an instant."""
    if isinstance(left, datetime) and isinstance(right, datetime):
        return (left > right) - (left < right)
    first, second = local_day(left, zone), local_day(right, zone)
    return (first > second) - (first < second)


def in_period(moment: date | datetime, start: datetime, end: datetime, zone: ZoneInfo) -> bool:
    """Whether a moment lies between two instants, both included; a plain date lies in the days they fall on."""
    return order(moment, start, zone) >= 0 and order(moment, end, zone) <= 0


def local_day(moment: date | datetime, zone: ZoneInfo) -> date:
    """The day of a moment in a zone; a plain date is that day everywhere."""
    return moment.astimezone(zone).date() if isinstance(moment, datetime) else moment


def shifted(moment: datetime, duration: Duration, sign: int, zone: ZoneInfo) -> datetime:
    """`moment` moved by a duration, back for sign -1. Calendar months keep the wall clock of the zone.

    A wall clock time with two readings (or none) at a change of the clocks takes the later instant, which is what
    PostgreSQL does: the end of a window, unlike a wake-up, fires nothing.
    """
    signed = Duration(duration.seconds * sign, duration.months * sign)
    if not signed.months:
        return signed.after(moment)
    wall = signed.after(moment.astimezone(zone).replace(tzinfo=None))
    return max(wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
