"""Calendar periods by their keys: `2026-05-04`, `2026-W19`, `2026-05`, `2026-Q2`, `2026`.

Dates only, so that no change of the clocks matters; which zone makes an instant a local date is the caller's word.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from typing import Literal, assert_never
from zoneinfo import ZoneInfo

from domain.local_time import local_instant

Every = Literal["day", "week", "month", "quarter", "year"]

EVER = "ever"
"""The key of the one period of what has no calendar."""

_DAY = timedelta(days=1)


def period_of(day: date, every: Every | None) -> str:
    """The key of the period that a local date is in; ISO weeks begin on Monday."""
    match every:
        case None:
            return EVER
        case "day":
            return day.isoformat()
        case "week":
            year, week, _ = day.isocalendar()
            return f"{year:04}-W{week:02}"
        case "month":
            return f"{day.year:04}-{day.month:02}"
        case "quarter":
            return f"{day.year:04}-Q{(day.month + 2) // 3}"
        case "year":
            return f"{day.year:04}"
    assert_never(every)


def days_of(period: str) -> tuple[date, date] | None:
    """The first local date of a period and the first one after it; None for EVER. Raises ValueError for no key."""
    if period == EVER:
        return None
    if written := re.fullmatch(r"(\d{4})-W(\d{2})", period):
        monday = date.fromisocalendar(int(written[1]), int(written[2]), 1)
        return monday, monday + 7 * _DAY
    if written := re.fullmatch(r"(\d{4})-Q([1-4])", period):
        return _months(int(written[1]), int(written[2]) * 3 - 2, 3)
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", period):
        day = date.fromisoformat(period)
        return day, day + _DAY
    if written := re.fullmatch(r"(\d{4})-(\d{2})", period):
        return _months(int(written[1]), int(written[2]), 1)
    if re.fullmatch(r"\d{4}", period):
        return _months(int(period), 1, 12)
    raise ValueError(f"{period!r} is not a period")


def unit_of(day: date, unit: Literal["day", "week", "month"]) -> int:
    """Consecutive whole numbers for consecutive days, ISO weeks or months: what streaks are counted in."""
    match unit:
        case "day":
            return day.toordinal()
        case "week":
            return (day.toordinal() - 1) // 7  # 1 January of year 1 was a Monday
        case "month":
            return day.year * 12 + day.month - 1
    assert_never(unit)


def _months(year: int, month: int, count: int) -> tuple[date, date]:
    index = year * 12 + month - 1 + count
    return date(year, month, 1), date(index // 12, index % 12 + 1, 1)


def ends_at(period: str, zone: ZoneInfo) -> datetime | None:
    """The instant at which a period is over on the calendar of a zone; None for EVER."""
    bounds = days_of(period)
    return None if bounds is None else local_instant(bounds[1], time(0), zone)
