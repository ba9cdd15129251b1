"""Durations as people write them: `30s 15m 6h 7d 2w` are exact, `1mo 1y` follow the calendar of a zone."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from domain.local_time import local_instant

_PATTERN = r"^-?[0-9]{1,6}(s|m|h|d|w|mo|y)$"
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_MONTHS = {"mo": 1, "y": 12}
LONGEST = timedelta(days=366 * 100)


def _up_to(limit: int) -> str:
    """A regular expression for the whole numbers from 0 to `limit`."""
    digits = str(limit)
    shorter = f"[0-9]{{1,{len(digits) - 1}}}"
    smaller = [f"{digits[:i]}[0-{int(d) - 1}][0-9]{{{len(digits) - i - 1}}}" for i, d in enumerate(digits) if d != "0"]
    return f"({'|'.join([digits, *smaller, shorter])})"


_MOST = {unit: min(999_999, int(LONGEST.total_seconds()) // seconds) for unit, seconds in _SECONDS.items()}
_PERIOD = "|".join(_up_to(most) + unit for unit, most in {**_MOST, "mo": 1_200, "y": 100}.items())
# What the JSON Schema shows: the same as `parse_duration` takes, limits included.
_PERIOD_PATTERN = f"^({_PERIOD})$"
_OFFSET_PATTERN = f"^-?({_PERIOD})$"
"""No duration is longer, so that none leads out of the calendar."""


class Duration(NamedTuple):
    """Exact seconds plus calendar months; one of them is zero."""

    seconds: int
    months: int

    def after(self, moment: datetime) -> datetime:
        """The moment this long after `moment`, in the zone of `moment`. A naive moment is a wall clock and stays one.

        Exact durations count real time: a day with 25 hours does not stretch `24h`. Calendar months keep the wall
        clock, clipped to the month's end and moved out of gaps as in local_time.py.
        """
        if self.months:
            wall = self._on_calendar(moment.replace(tzinfo=None))
            return local_instant(wall.date(), wall.time(), zone).astimezone(zone) if (zone := moment.tzinfo) else wall
        passed = timedelta(seconds=self.seconds)
        return (moment.astimezone(UTC) + passed).astimezone(zone) if (zone := moment.tzinfo) else moment + passed

    def before(self, moment: datetime) -> datetime:
        """The moment this long before `moment`."""
        return (-self).after(moment)

    def longest(self) -> timedelta:
        """An upper bound in days, for limits: a month counts as 31 days, a year as 366."""
        years, months = divmod(abs(self.months), 12)
        return timedelta(seconds=abs(self.seconds), days=366 * years + 31 * months)

    def __neg__(self) -> Duration:
        return Duration(-self.seconds, -self.months)

    def _on_calendar(self, wall: datetime) -> datetime:
        index = wall.year * 12 + wall.month - 1 + self.months
        year, month = index // 12, index % 12 + 1
        return wall.replace(year=year, month=month, day=min(wall.day, monthrange(year, month)[1]))


@lru_cache(maxsize=1_024)
def parse_duration(text: str) -> Duration:
    """Read `7d`, `-3d`, `1mo`. Raises ValueError with the accepted forms."""
    written = re.fullmatch(r"(-?[0-9]{1,6})(s|m|h|d|w|mo|y)", text)
    if written is None:
        raise ValueError(f"{text!r} is not a duration; write a number and a unit: 30s 15m 6h 7d 2w 1mo 1y")
    number, unit = int(written[1]), written[2]
    duration = Duration(0, number * _MONTHS[unit]) if unit in _MONTHS else Duration(number * _SECONDS[unit], 0)
    if duration.longest() > LONGEST:
        raise ValueError(f"{text!r} is too long; the longest duration is 100y")
    return duration


def _check(text: str) -> str:
    try:
        parse_duration(text)
    except ValueError as error:
        raise PydanticCustomError("duration", "{reason}", {"reason": str(error)}) from None
    return text


def _check_period(text: str) -> str:
    if text.startswith("-"):
        raise PydanticCustomError("duration", "a period has a length, not a direction: write it without the minus")
    return _check(text)


DurationText = Annotated[
    str, AfterValidator(_check), Field(examples=["15m", "7d", "1mo"], json_schema_extra={"pattern": _OFFSET_PATTERN})
]
"""May be negative, for offsets: `-3d`."""

PeriodText = Annotated[
    str,
    AfterValidator(_check_period),
    Field(examples=["15m", "7d", "1mo"], json_schema_extra={"pattern": _PERIOD_PATTERN}),
]
"""A duration that cannot be negative."""
