"""When a `wait` ends: durations, local times, dates that are looked up. Pure; asked again when a zone changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from domain.conditions.dates import is_beyond_instants, moment_of
from domain.conditions.paths import reader
from domain.durations import Duration, parse_duration
from domain.journeys.step_bodies import EventLength, UntilDate
from domain.journeys.steps import Wait
from domain.local_time import first_at, local_instant, resolve_zone
from domain.money import amount_of

DATE_TIME_OF_DAY = time(9)
"""When a date without a time of day falls due, as for date entries."""

_FURTHEST_YEARS: Final = 100
"""Dates later than so many years ahead, such as 9999-12-31 and 2999-12-31, are those by which systems say "never"."""

_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Zones:
    """The customer's zone, if known and real, and the shop's."""

    customer: str | None
    shop: str

    def named(self, name: str) -> ZoneInfo:
        """The zone that a step's `zone` means: `customer` (else the shop's), `shop`, or an IANA name."""
        return resolve_zone({"customer": self.customer, "shop": self.shop}.get(name, name), self.shop)


@dataclass(frozen=True, slots=True)
class EndsAt:
    """The wait ends at this instant, which people read in `zone`."""

    at: datetime
    zone: str


@dataclass(frozen=True, slots=True)
class CannotWait:
    """There is nothing to wait for, for this reason; `on_missing` says what follows."""

    reason: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Where dates and durations are looked up: the customer's traits and the event that entered (any JSON objects)."""

    traits: Mapping[str, Any]
    entry: Mapping[str, Any]


def end_of(wait: Wait, entered: datetime, facts: Facts, zones: Zones, *, max_days: int) -> EndsAt | CannotWait:
    """When a wait that was entered at `entered` ends. The instant may lie in the past: the run goes on at once.

    A duration from an event is no longer than `max_days`, as one that is written out.
    """
    zone = zones.named(wait.zone)
    if wait.until_date is not None:
        return _end_of_date(wait.until_date, facts, zone, last_year=entered.year + _FURTHEST_YEARS)
    duration = _length_of(wait.for_, facts.entry, max_days)
    if isinstance(duration, CannotWait):
        return duration
    earliest = _after(duration, entered, zone)
    if isinstance(wait.for_, EventLength):
        earliest = min(earliest, entered + timedelta(days=max_days))
    if wait.until is None:
        return EndsAt(earliest, zone.key)
    return EndsAt(first_at(time.fromisoformat(wait.until), earliest, zone, wait.days), zone.key)


def _length_of(written: str | EventLength | None, entry: Mapping[str, Any], max_days: int) -> Duration | CannotWait:
    if not isinstance(written, EventLength):
        return parse_duration(written or "0s")
    found = reader(written.event)(entry)
    if not found:
        return CannotWait("property_missing")
    number, one = amount_of(found[0]), parse_duration(f"1{written.unit}")
    if number is None or number < 0 or (one.months and number != number.to_integral_value()):  # no half months
        return CannotWait("property_not_a_duration")
    counted = min(number, Decimal(max_days) if one.months else Decimal(max_days * _DAY_SECONDS) / one.seconds)
    return Duration(int(counted * one.seconds), int(counted * one.months))


def _end_of_date(until: UntilDate, facts: Facts, zone: ZoneInfo, *, last_year: int) -> EndsAt | CannotWait:
    source = "trait" if until.event is None else "property"
    found = reader(until.trait)(facts.traits) if until.trait is not None else reader(until.event or "")(facts.entry)
    if not found:
        return CannotWait(f"{source}_missing")
    moment = moment_of(found[0])
    if moment is None:
        return CannotWait("date_out_of_range" if is_beyond_instants(found[0]) else f"{source}_not_a_date")
    day, clock = _on_the_clock(moment, zone)
    try:
        if until.offset is not None:
            moved = parse_duration(until.offset).after(datetime.combine(day, clock))
            day, clock = moved.date(), moved.time()
        if day.year > last_year:
            return CannotWait("date_out_of_range")
        return EndsAt(local_instant(day, time.fromisoformat(until.at) if until.at else clock, zone), zone.key)
    except (OverflowError, ValueError):  # an offset has carried it past the calendar
        return CannotWait("date_out_of_range")


def _on_the_clock(moment: date | datetime, zone: ZoneInfo) -> tuple[date, time]:
    if not isinstance(moment, datetime):
        return moment, DATE_TIME_OF_DAY
    local = moment.astimezone(zone)
    return local.date(), local.time()


def _after(duration: Duration, moment: datetime, zone: ZoneInfo) -> datetime:
    """Exact durations are exact; months keep the wall clock of the zone, as far as its clocks show that time."""
    if not duration.months:
        return duration.after(moment)
    local = duration.after(moment.astimezone(zone).replace(tzinfo=None))
    return local_instant(local.date(), local.time(), zone)
