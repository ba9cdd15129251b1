"""Durations as people write them: exact ones count real time, calendar ones follow the wall clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from domain.durations import LONGEST, DurationText, PeriodText, parse_duration

_BERLIN = ZoneInfo("Europe/Berlin")
_NOON = datetime(2026, 3, 28, 12, tzinfo=_BERLIN)  # the clocks change in the night that follows


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", timedelta(seconds=30)),
        ("15m", timedelta(minutes=15)),
        ("6h", timedelta(hours=6)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
        ("-3d", timedelta(days=-3)),
        ("0s", timedelta()),
    ],
)
def test_exact_durations_are_exact(text: str, expected: timedelta) -> None:
    moment = datetime(2026, 5, 1, tzinfo=UTC)
    assert parse_duration(text).after(moment) == moment + expected
    assert parse_duration(text).before(moment) == moment - expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "d",
        "7 d",
        "7D",
        "1.5h",
        "7d ",
        "7d\n",
        "1h30m",
        "٧d",
        "1234567s",
        "--1d",
        "+1d",
        "1M",
        "101y",
        "1201mo",
    ],
)
def test_anything_else_is_refused_with_the_accepted_forms(text: str) -> None:
    with pytest.raises(ValueError, match=r"30s 15m 6h 7d 2w 1mo 1y|longest duration is 100y"):
        parse_duration(text)


def test_a_day_of_real_time_is_24_hours_also_when_the_clocks_change() -> None:
    assert parse_duration("1d").after(_NOON).isoformat() == "2026-03-29T13:00:00+02:00"


def test_a_calendar_month_keeps_the_wall_clock_when_the_clocks_change() -> None:
    assert parse_duration("1mo").after(_NOON).isoformat() == "2026-04-28T12:00:00+02:00"


@pytest.mark.parametrize(
    ("start", "text", "expected"),
    [
        ("2026-01-31", "1mo", "2026-02-28"),
        ("2024-01-31", "1mo", "2024-02-29"),
        ("2026-12-15", "1mo", "2027-01-15"),
        ("2024-02-29", "1y", "2025-02-28"),
        ("2024-02-29", "4y", "2028-02-29"),
        ("2026-03-31", "-1mo", "2026-02-28"),
        ("2026-01-15", "-13mo", "2024-12-15"),
    ],
)
def test_a_calendar_month_is_clipped_to_the_months_end(start: str, text: str, expected: str) -> None:
    assert parse_duration(text).after(datetime.fromisoformat(start)) == datetime.fromisoformat(expected)


def test_a_calendar_month_that_ends_in_a_gap_moves_out_of_it() -> None:
    moment = datetime(2026, 2, 28, 2, 30, tzinfo=_BERLIN)
    assert parse_duration("29d").after(moment.replace(tzinfo=None)).isoformat() == "2026-03-29T02:30:00"
    in_gap = datetime(2026, 4, 29, 2, 30, tzinfo=_BERLIN)
    assert parse_duration("1mo").before(in_gap).isoformat() == "2026-03-29T03:00:00+02:00"


@given(number=st.integers(-999_999, 999_999), unit=st.sampled_from(["s", "m", "h", "d", "w", "mo", "y"]))
def test_every_duration_that_is_read_leads_to_a_moment_within_its_upper_bound(number: int, unit: str) -> None:
    try:
        duration = parse_duration(f"{number}{unit}")
    except ValueError:
        return
    moment = datetime(2026, 3, 28, 12, tzinfo=UTC)
    assert duration.longest() <= LONGEST
    assert abs(duration.after(moment) - moment) <= duration.longest()
    assert (duration.after(moment) < moment) == (number < 0)


def test_an_offset_may_be_negative_and_a_period_may_not() -> None:
    assert TypeAdapter(DurationText).validate_python("-3d") == "-3d"
    assert TypeAdapter(PeriodText).validate_python("3d") == "3d"
    with pytest.raises(ValidationError, match="without the minus"):
        TypeAdapter(PeriodText).validate_python("-3d")
    with pytest.raises(ValidationError, match="is not a duration"):
        TypeAdapter(PeriodText).validate_python("3 days")
