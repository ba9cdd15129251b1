"""When a date that a customer's trait holds falls due for a date entry. Pure; asked again when trait or zone change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from domain.conditions.dates import local_day, moment_of
from domain.conditions.paths import reader
from domain.durations import parse_duration
from domain.journeys.definition import DateRule
from domain.local_time import in_year, local_instant


@dataclass(frozen=True, slots=True)
class DueDate:
    """An instant (UTC) and the local date on which it falls: a date fires once for each local date."""

    at: datetime
    day: date


def due_of(rule: DateRule, traits: Mapping[str, Any], zone: ZoneInfo, as_of: datetime) -> DueDate | None:
    """The next time at or after `as_of` that the entry falls due; None if it never does."""
    found = reader(rule.trait)(traits)
    moment = moment_of(found[0]) if found else None
    if moment is None:
        return None
    clock = time.fromisoformat(rule.at)
    for day in _days(rule, local_day(moment, zone), as_of.astimezone(zone).year):
        try:
            at = local_instant(day, clock, zone)
        except OverflowError:  # 9999-12-31, by which systems say "never", ends beyond the calendar of UTC
            return None
        if at >= as_of:
            return DueDate(at, day)
    return None


def _days(rule: DateRule, day: date, this_year: int) -> Iterator[date]:
    """The dates that may come next, in order: an offset of a year or two moves an anniversary into another year."""
    offset = parse_duration(rule.offset or "0d")
    reach = offset.longest().days // 365 + 1
    years = range(max(day.year, this_year - reach), this_year + reach + 2) if rule.yearly else [day.year]
    for year in years:
        try:
            yield offset.after(datetime.combine(in_year(day, year), time())).date()
        except (OverflowError, ValueError):
            return
