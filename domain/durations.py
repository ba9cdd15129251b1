"""Durations as people write them: `30s 15m 6h 7d 2w` are exact, `1mo 1y` follow the calendar of a zone."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, datetime, timedelta
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

_PATTERN = r"^-?[0-9]{1,6}(s|m|h|d|w|mo|y)$"
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_MONTHS = {"mo": 1, "y": 12}


class Duration(NamedTuple):
    """Exact seconds plus calendar months; one of them is zero."""

    seconds: int
    months: int

    def after(self, moment: datetime) -> datetime:
        """The moment this long after `moment` (aware): calendar months keep the wall clock of its zone, clipped to the month's end."""
        if not self.months:
            if moment.tzinfo is None:
                return moment + timedelta(seconds=self.seconds)
            # Adding to a local time would move its wall clock; a day of 25 hours must not stretch `24h`.
            return (moment.astimezone(UTC) + timedelta(seconds=self.seconds)).astimezone(moment.tzinfo)
        index = moment.year * 12 + moment.month - 1 + self.months
        year, month = index // 12, index % 12 + 1
        return moment.replace(year=year, month=month, day=min(moment.day, monthrange(year, month)[1]))

    def before(self, moment: datetime) -> datetime:
        """The moment this long before `moment`."""
        return Duration(-self.seconds, -self.months).after(moment)

    def longest(self) -> timedelta:
        """An upper bound in days, for limits: a month counts as 31 days, a year as 366."""
        years, months = divmod(abs(self.months), 12)
        return timedelta(seconds=abs(self.seconds), days=366 * years + 31 * months)


def parse_duration(text: str) -> Duration:
    """Read `7d`, `-3d`, `1mo`. Raises ValueError with the accepted forms."""
    if not re.match(_PATTERN, text) or text.endswith("\n"):
        raise ValueError(f"{text!r} is not a duration; write a number and a unit: 30s 15m 6h 7d 2w 1mo 1y")
    number, unit = re.fullmatch(r"(-?\d+)(\D+)", text).groups()  # type: ignore[union-attr]  # matched above
    if unit in _MONTHS:
        return Duration(0, int(number) * _MONTHS[unit])
    return Duration(int(number) * _SECONDS[unit], 0)


def _check(text: str) -> str:
    try:
        parse_duration(text)
    except ValueError as error:
        raise PydanticCustomError("duration", "{reason}", {"reason": str(error)}) from None
    return text


DurationText = Annotated[
    str, AfterValidator(_check), Field(examples=["15m", "7d", "1mo"], json_schema_extra={"pattern": _PATTERN})
]
