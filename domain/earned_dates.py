"""When earned points become available, and when they lapse: calendar arithmetic in the programme's zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import assert_never
from zoneinfo import ZoneInfo

from domain.durations import parse_duration
from domain.local_time import in_year
from domain.programmes.definition import ProgrammeDefinition
from domain.programmes.periods import period_of, start_of
from domain.programmes.rules import (
    ExpiresAfter,
    ExpiresNever,
    ExpiresOn,
    Expiry,
    Pending,
    Rounding,
    UntilDay,
    UntilEvent,
    UntilPeriodEnd,
)

_PERIODS: dict[Rounding, str] = {
    "end_of_day": "1d",
    "end_of_month": "1mo",
    "end_of_quarter": "3mo",
    "end_of_year": "1y",
}


def activation(pending: Pending | None, at: datetime, zone: ZoneInfo) -> datetime | None:
    """When points earned at `at` become available; None: at once."""
    match pending:
        case None:
            return None
        case str():
            return _after(pending, at, zone)
        case UntilDay(date=day):
            matures = start_of(date.fromisoformat(day), zone)
            return matures if matures > at else None
        case UntilPeriodEnd(period_end=period):
            return period_of(at, period, zone).end
        case UntilEvent(within=within):
            return _after(within, at, zone)
    assert_never(pending)


def expiry(expires: Expiry | None, available: datetime, zone: ZoneInfo) -> datetime | None:
    """When points that became available then lapse (they are good until just before); None: never."""
    match expires:
        case None | ExpiresNever():
            return None
        case ExpiresAfter(after=after, round=rounding):
            lapse = _after(after, available, zone)
            return lapse if rounding is None else period_of(lapse, _PERIODS[rounding], zone).end
        case ExpiresOn(on=on):
            return _next_end(date.fromisoformat(f"2024-{on}"), available, zone)
    assert_never(expires)


def lapses(
    definition: ProgrammeDefinition, zone: ZoneInfo, rule: str, tier: str | None, available: datetime
) -> datetime | None:
    """When points of a rule lapse that become available then: by the tier's word, the rule's or the programme's."""
    found, level = definition.rule(rule), definition.level(tier)
    words = [level.expires if level else None, found.expires if found else None, definition.expires]
    return expiry(next((word for word in words if word is not None), None), available, zone)


def history_start(definition: ProgrammeDefinition, zone: ZoneInfo) -> datetime | None:
    """From when on imported history earns at its own dates; None: it has none."""
    day = definition.history_from
    return None if day is None else start_of(date.fromisoformat(day), zone)


def awaited_events(definition: ProgrammeDefinition) -> frozenset[str]:
    """The events that make points available which wait for them."""
    levels = definition.tiers.levels if definition.tiers is not None else []
    waits = [*(rule.pending for rule in definition.earn), *(level.pending for level in levels)]
    return frozenset(pending.event for pending in waits if isinstance(pending, UntilEvent))


def _after(length: str, moment: datetime, zone: ZoneInfo) -> datetime:
    return parse_duration(length).after(moment.astimezone(zone)).astimezone(UTC)


def _next_end(day: date, available: datetime, zone: ZoneInfo) -> datetime:
    """The end of the first such local day that is not over yet."""
    year = available.astimezone(zone).year
    ends = (start_of(in_year(day, each) + timedelta(days=1), zone) for each in (year, year + 1))
    return next(end for end in ends if end > available)
