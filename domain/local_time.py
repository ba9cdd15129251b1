"""Wall-clock time in IANA zones: when a local time comes next, once per local date, whatever the clocks do.

A local time that does not exist (spring forward) moves to the first valid instant after it; one that happens twice
(fall back) counts at its first occurrence. Everything takes and answers aware datetimes; answers are UTC.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from domain.errors import Invalid

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

ZONES = frozenset(files("tzdata").joinpath("zones").read_text().split())
"""Every IANA zone name, from the tzdata package: the same on every machine, without the machine's own `localtime`."""

_DAY = timedelta(days=1)


def resolve_zone(customer_zone: str | None, shop_zone: str | None = None) -> ZoneInfo:
    """The customer's zone if it is an IANA name, else the shop's, else UTC."""
    return next((ZoneInfo(name) for name in (customer_zone, shop_zone) if name in ZONES and name), ZoneInfo("UTC"))


def local_instant(day: date, at: time, zone: tzinfo, *, last: bool = False) -> datetime:
    """The instant (UTC) of a local time on a local date; `last` takes the second of two readings."""
    reading = datetime.combine(day, at, zone).replace(fold=int(last))
    instant = reading.astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == reading.replace(tzinfo=None):
        return instant
    return _end_of_gap(reading.replace(fold=0).astimezone(UTC), zone)


def _end_of_gap(instant: datetime, zone: tzinfo) -> datetime:
    """When the offset that holds at an instant began: the change of the clocks within the day before it."""
    offset = instant.astimezone(zone).utcoffset()
    low, high = int((instant - _DAY).timestamp()), int(instant.timestamp())
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == offset:
            high = middle
        else:
            low = middle
    return datetime.fromtimestamp(high, UTC)


def first_at(at: time, after: datetime, zone: ZoneInfo, days: Collection[str] | None = None) -> datetime:
    """The first occurrence at or after `after` of a local time, on the weekdays given (`mon` .. `sun`; None: all)."""
    wanted = range(7) if days is None else [WEEKDAYS.index(name) for name in days]
    today = after.astimezone(zone).date()
    for ahead in range(-1, 9):  # from yesterday, whose time a gap may have moved past midnight
        day = today + ahead * _DAY
        if day.weekday() in wanted and (instant := local_instant(day, at, zone)) >= after:
            return instant
    raise ValueError("days must name at least one weekday")


def quiet_until(moment: datetime, start: time, end: time, zone: ZoneInfo) -> datetime | None:
    """When the quiet hours around `moment` end, None outside them. They may cross midnight; equal ends mean none.

    Around an hour that happens twice the window begins at its first and ends at its last reading.
    """
    if start == end:
        return None
    today = moment.astimezone(zone).date()
    for ahead in (-1, 0, 1):
        day = today + ahead * _DAY
        closes = local_instant(day if start < end else day + _DAY, end, zone, last=True)
        if local_instant(day, start, zone) <= moment < closes:
            return closes
    return None


@lru_cache(maxsize=1_024)
def check_cron(expression: str) -> None:
    """Raises Invalid unless `expression` is a cron expression of five fields that comes round at all."""
    try:
        if len(expression.split()) != 5:
            raise CronSimError("write five fields: minute hour day month weekday")
        next(CronSim(expression, datetime(2000, 1, 1)))  # noqa: DTZ001  wall clock of no zone in particular
    except (CronSimError, StopIteration) as error:
        problem = str(error) or "it never comes round"
        raise Invalid(f"{expression!r} is not a usable cron expression: {problem}", code="cron_invalid") from None


def next_cron(expression: str, after: datetime, zone: ZoneInfo) -> datetime:
    """The first time after `after` (not at it) that a cron expression names on the wall clock of `zone`; or Invalid.

    Times in a gap fire once together at its end; times in a doubled hour fire in its first reading only.
    """
    check_cron(expression)
    for wall in CronSim(expression, after.astimezone(zone).replace(tzinfo=None)):
        instant = local_instant(wall.date(), wall.time(), zone)
        if instant > after:
            return instant
    raise Invalid(f"{expression!r} never comes round after {after.isoformat()}", code="cron_invalid")


def in_year(day: date, year: int) -> date:
    """The same day and month in another year; 29 February falls on 28 February where there is none."""
    try:
        return day.replace(year=year)
    except ValueError:
        return day.replace(year=year, day=28)


def next_anniversary(day: date, today: date) -> date | None:
    """The first anniversary of `day` on or after `today`, a year after `day` at least; None past the calendar."""
    years = max(1, today.year - day.year)
    for year in (day.year + years, day.year + years + 1):
        if year <= date.max.year and (anniversary := in_year(day, year)) >= today:
            return anniversary
    return None
