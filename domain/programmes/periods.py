"""Calendar periods of a programme's zone: the month of a cap, the year of a tier, the end that expiry is rounded to.

Days are counted in blocks from a Monday, months from a January: `1w` is the ISO week, `3mo` the quarter, `1y` the year.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from domain.durations import parse_duration
from domain.local_time import local_instant

_MONDAY = date(1970, 1, 5)
_DAY_SECONDS = 86_400


class Period(NamedTuple):
    """From the first instant of a local day up to, and without, that of a later one; both UTC."""

    start: datetime
    end: datetime


def is_calendar(period: str) -> bool:
    """Whether a length is one of whole days, weeks, months or years, and so has a calendar."""
    duration = parse_duration(period)
    return duration.months > 0 or (duration.seconds > 0 and duration.seconds % _DAY_SECONDS == 0)


def period_of(moment: datetime, period: str, zone: ZoneInfo) -> Period:
    """The calendar period of this length that a moment is in. `period` must be one with a calendar."""
    today = moment.astimezone(zone).date()
    duration = parse_duration(period)
    if duration.months:
        return _between(*_months(today, duration.months), zone)
    days = duration.seconds // _DAY_SECONDS
    start = today - timedelta(days=(today - _MONDAY).days % days)
    return _between(start, start + timedelta(days=days), zone)


def _months(day: date, length: int) -> tuple[date, date]:
    index = day.year * 12 + day.month - 1
    first = index - index % length
    return _first_of(first), _first_of(first + length)


def _first_of(index: int) -> date:
    return date(index // 12, index % 12 + 1, 1)


def _between(start: date, end: date, zone: ZoneInfo) -> Period:
    return Period(start_of(start, zone), start_of(end, zone))


@lru_cache(maxsize=4_096)
def start_of(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of a local day (UTC); where midnight does not exist, the end of the gap."""
    return local_instant(day, time(), zone).astimezone(UTC)
