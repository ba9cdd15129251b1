"""Exact local time (G10): one fire per local date, never in a gap, the first of two readings, in every IANA zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from domain.errors import Invalid
from domain.local_time import (
    ZONES,
    check_cron,
    first_at,
    local_instant,
    next_anniversary,
    next_cron,
    quiet_until,
    resolve_zone,
)

_FIRST, _LAST = datetime(2024, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)
_STEP = timedelta(days=5)
_MOMENT = timedelta(microseconds=1)
_NEW_YORK, _TOKYO, _BERLIN = ZoneInfo("America/New_York"), ZoneInfo("Asia/Tokyo"), ZoneInfo("Europe/Berlin")


def _instants(first: int, last: int) -> st.SearchStrategy[datetime]:
    between = st.integers(
        int(datetime(first, 1, 1, tzinfo=UTC).timestamp()), int(datetime(last, 1, 1, tzinfo=UTC).timestamp())
    )
    return between.map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@lru_cache(maxsize=1)
def clock_changes() -> dict[str, list[datetime]]:
    """Every change of the clocks from 2024 to 2035, for each zone that has one."""
    changes = {name: _changes(ZoneInfo(name)) for name in sorted(ZONES)}
    return {name: found for name, found in changes.items() if found}


def _changes(zone: ZoneInfo) -> list[datetime]:
    found, moment = [], _FIRST
    while moment < _LAST:
        if moment.astimezone(zone).utcoffset() != (moment + _STEP).astimezone(zone).utcoffset():
            found.append(_change_between(moment, moment + _STEP, zone))
        moment += _STEP
    return found


def _change_between(low: datetime, high: datetime, zone: ZoneInfo) -> datetime:
    offset = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) // 2
        middle = middle.replace(microsecond=0)
        low, high = (middle, high) if middle.astimezone(zone).utcoffset() == offset else (low, middle)
    return high


def _exists(wall: datetime, zone: ZoneInfo) -> bool:
    return any(
        wall.replace(tzinfo=zone, fold=fold).astimezone(UTC).astimezone(zone).replace(tzinfo=None) == wall
        for fold in (0, 1)
    )


def _times_around(change: datetime, zone: ZoneInfo) -> list[time]:
    """Local times before, at, within and after what the change skips or repeats."""
    return [
        (change + timedelta(minutes=minutes)).astimezone(zone).time()
        for minutes in (-61, -60, -31, -30, -1, 0, 29, 30, 59, 60)
    ] + [
        (change - timedelta(minutes=1)).astimezone(zone).replace(tzinfo=None).time(),
        time(2, 30),
        time(0, 0),
        time(23, 59),
    ]


def test_every_zone_fires_once_per_local_date_at_every_change_of_the_clocks() -> None:
    """All IANA zones; each zone's changes are sampled so that every pair of offsets it has is met."""
    for name, changes in clock_changes().items():
        zone = ZoneInfo(name)
        for change in _distinct(changes, zone):
            for at in set(_times_around(change, zone)):
                _fires_once_per_date(at, change, zone)


def _distinct(changes: list[datetime], zone: ZoneInfo) -> list[datetime]:
    by_kind = {}
    for change in changes:
        before, after = (change - _MOMENT).astimezone(zone), change.astimezone(zone)
        by_kind[(before.utcoffset(), after.utcoffset(), after.time())] = change
    return list(by_kind.values())


def _fires_once_per_date(at: time, change: datetime, zone: ZoneInfo) -> None:
    fire = first_at(at, change - timedelta(days=2), zone)
    day = fire.astimezone(zone).date()
    for days_later in range(5):
        _is_exact(fire, day + timedelta(days=days_later), at, zone)
        fire = first_at(at, fire + _MOMENT, zone)


def _is_exact(fire: datetime, day: date, at: time, zone: ZoneInfo) -> None:
    """The fire is this local date's: the time itself, at its first reading, or the first instant after its gap."""
    wall = datetime.combine(day, at)
    assert fire == local_instant(day, at, zone)
    local = fire.astimezone(zone)
    if _exists(wall, zone):
        assert (local.replace(tzinfo=None, fold=0), local.fold) == (wall, 0)
    else:
        assert local.replace(tzinfo=None) > wall
        just_before = (fire - _MOMENT).astimezone(zone).replace(tzinfo=None)
        assert just_before < wall  # nothing valid lies between the skipped time and the fire


@given(
    zone=st.sampled_from(sorted(ZONES)).map(ZoneInfo),
    after=_instants(1970, 2100),
    at=st.times(),
    days=st.none() | st.sets(st.sampled_from(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]), min_size=1),
)
def test_the_first_time_at_or_after_a_moment_leaves_none_out(
    zone: ZoneInfo, after: datetime, at: time, days: set[str] | None
) -> None:
    fire = first_at(at, after, zone, days)
    assert fire >= after
    today = after.astimezone(zone).date()
    weekdays = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    candidates = [today + timedelta(days=ahead) for ahead in range(-2, 10)]
    allowed = [day for day in candidates if days is None or weekdays[day.weekday()] in days]
    assert fire == min(instant for day in allowed if (instant := local_instant(day, at, zone)) >= after)


# What peers got wrong (a weekday taken in UTC, one offset for the whole calculation) ------------------------


def test_friday_evening_in_new_york_is_friday_evening() -> None:
    friday_noon = datetime(2026, 1, 9, 17, 0, tzinfo=UTC)
    assert first_at(time(20), friday_noon, _NEW_YORK, ["fri"]) == datetime(2026, 1, 10, 1, 0, tzinfo=UTC)
    assert first_at(time(20), friday_noon, _NEW_YORK, ["fri"]).astimezone(_NEW_YORK).strftime("%a %H:%M") == "Fri 20:00"


def test_monday_morning_in_tokyo_is_monday_morning() -> None:
    sunday = datetime(2026, 1, 11, 3, 0, tzinfo=UTC)
    assert first_at(time(8), sunday, _TOKYO, ["mon"]) == datetime(2026, 1, 11, 23, 0, tzinfo=UTC)


def test_nine_in_the_morning_stays_nine_over_the_change_of_the_clocks() -> None:
    saturday_evening = datetime(2026, 3, 8, 1, 0, tzinfo=UTC)
    assert first_at(time(9), saturday_evening, _NEW_YORK) == datetime(2026, 3, 8, 13, 0, tzinfo=UTC)


def test_a_time_in_the_gap_moves_to_the_first_valid_instant_after_it() -> None:
    assert local_instant(date(2026, 3, 29), time(2, 30), _BERLIN) == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    assert local_instant(date(2026, 3, 29), time(2, 30), _BERLIN, last=True) == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)


def test_a_gap_of_half_an_hour_and_one_of_a_whole_day_are_gaps_too() -> None:
    lord_howe, apia = ZoneInfo("Australia/Lord_Howe"), ZoneInfo("Pacific/Apia")
    assert local_instant(date(2026, 10, 4), time(2, 15), lord_howe).astimezone(lord_howe).time() == time(2, 30)
    # Samoa had no 30 December 2011.
    assert local_instant(date(2011, 12, 30), time(12), apia).astimezone(apia) == datetime(2011, 12, 31, tzinfo=apia)


def test_a_gap_at_midnight_moves_the_fire_to_the_next_date_and_loses_neither() -> None:
    nuuk = ZoneInfo("America/Nuuk")
    saturday = first_at(time(23, 30), datetime(2025, 3, 29, 12, tzinfo=UTC), nuuk)
    assert saturday.astimezone(nuuk).isoformat() == "2025-03-30T00:00:00-01:00"
    assert first_at(time(23, 30), saturday, nuuk) == saturday
    sunday = first_at(time(23, 30), saturday + _MOMENT, nuuk)
    assert sunday.astimezone(nuuk).isoformat() == "2025-03-30T23:30:00-01:00"


def test_a_doubled_time_fires_at_its_first_reading_only() -> None:
    first = first_at(time(2, 30), datetime(2026, 10, 24, 12, tzinfo=UTC), _BERLIN)
    assert first == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert first_at(time(2, 30), first + _MOMENT, _BERLIN).astimezone(_BERLIN).date() == date(2026, 10, 26)


def test_no_weekday_at_all_is_refused_and_never_searched_for() -> None:
    with pytest.raises(ValueError, match="weekday"):
        first_at(time(9), _FIRST, _BERLIN, [])


# Zones -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("customer", "shop", "expected"),
    [
        ("Asia/Tokyo", "Europe/Berlin", "Asia/Tokyo"),
        (None, "Europe/Berlin", "Europe/Berlin"),
        ("", "Europe/Berlin", "Europe/Berlin"),
        ("Atlantis/Capital", "Europe/Berlin", "Europe/Berlin"),
        ("localtime", "Europe/Berlin", "Europe/Berlin"),
        ("../../etc/passwd", None, "UTC"),
        ("PST8PDT\0", "x", "UTC"),
    ],
)
def test_the_customers_zone_counts_else_the_shops(customer: str | None, shop: str | None, expected: str) -> None:
    assert resolve_zone(customer, shop).key == expected


# Quiet hours -------------------------------------------------------------------------------------------------


def quiet(moment: str, start: str, end: str, zone: ZoneInfo = _BERLIN) -> str | None:
    local = datetime.fromisoformat(moment).replace(tzinfo=zone)
    until = quiet_until(local.astimezone(UTC), time.fromisoformat(start), time.fromisoformat(end), zone)
    return None if until is None else until.astimezone(zone).isoformat()


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-06-01T20:59", None),
        ("2026-06-01T21:00", "2026-06-02T08:00:00+02:00"),
        ("2026-06-01T23:59", "2026-06-02T08:00:00+02:00"),
        ("2026-06-02T00:00", "2026-06-02T08:00:00+02:00"),
        ("2026-06-02T07:59", "2026-06-02T08:00:00+02:00"),
        ("2026-06-02T08:00", None),
        ("2026-03-28T23:00", "2026-03-29T08:00:00+02:00"),
        ("2026-10-24T23:00", "2026-10-25T08:00:00+01:00"),
    ],
)
def test_quiet_hours_last_over_midnight(moment: str, expected: str | None) -> None:
    assert quiet(moment, "21:00", "08:00") == expected


def test_quiet_hours_within_a_day_and_none_at_all() -> None:
    assert quiet("2026-06-01T13:00", "12:00", "14:00") == "2026-06-01T14:00:00+02:00"
    assert quiet("2026-06-01T11:59", "12:00", "14:00") is None
    assert quiet("2026-06-01T12:00", "12:00", "12:00") is None


def test_quiet_hours_that_end_in_a_doubled_hour_last_to_its_second_reading() -> None:
    second_reading = datetime(2026, 10, 25, 1, 15, tzinfo=UTC)  # 02:15 for the second time
    assert quiet_until(second_reading, time(22), time(2, 30), _BERLIN) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


@given(
    zone=st.sampled_from(sorted(ZONES)).map(ZoneInfo),
    moment=_instants(2024, 2035),
    start=st.times(),
    end=st.times(),
)
def test_it_is_quiet_exactly_while_the_wall_clock_shows_a_quiet_time(
    zone: ZoneInfo, moment: datetime, start: time, end: time
) -> None:
    around = {(moment + timedelta(days=days)).astimezone(zone).utcoffset() for days in range(-3, 4)}
    assume(len(around) == 1)  # the changes of the clocks have tests of their own, above
    shown = moment.astimezone(zone).time()
    is_quiet = start <= shown < end if start <= end else shown >= start or shown < end
    until = quiet_until(moment, start, end, zone)
    assert (until is not None) == is_quiet
    if until is not None:
        assert moment < until <= moment + timedelta(days=1)
        assert until.astimezone(zone).time() == end


# Cron --------------------------------------------------------------------------------------------------------


def cron_times(expression: str, after: datetime, zone: ZoneInfo, count: int) -> list[str]:
    times = []
    for _ in range(count):
        after = next_cron(expression, after, zone)
        times.append(after.astimezone(zone).isoformat())
    return times


def test_cron_runs_on_the_wall_clock_of_its_zone() -> None:
    assert cron_times("0 9 * * 1", datetime(2026, 3, 23, 12, tzinfo=UTC), _BERLIN, 2) == [
        "2026-03-30T09:00:00+02:00",
        "2026-04-06T09:00:00+02:00",
    ]


def test_cron_times_in_a_gap_fire_once_at_its_end_and_doubled_ones_once_at_their_first_reading() -> None:
    assert cron_times("*/20 2 * * *", datetime(2026, 3, 28, 12, tzinfo=UTC), _BERLIN, 2) == [
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:00:00+02:00",
    ]
    assert cron_times("30 2 * * *", datetime(2026, 10, 24, 12, tzinfo=UTC), _BERLIN, 2) == [
        "2026-10-25T02:30:00+02:00",
        "2026-10-26T02:30:00+01:00",
    ]


def test_cron_is_exclusive_of_the_moment_asked_at() -> None:
    at = next_cron("0 9 * * *", datetime(2026, 6, 1, tzinfo=UTC), _BERLIN)
    assert next_cron("0 9 * * *", at, _BERLIN) == at + timedelta(days=1)


@pytest.mark.parametrize("expression", ["", "x", "* * * *", "* * * * * *", "61 * * * *", "0 0 30 2 *", "@daily", "\0"])
def test_an_unusable_cron_expression_is_refused_with_its_reason(expression: str) -> None:
    with pytest.raises(Invalid, match="cron expression") as refusal:
        check_cron(expression)
    assert refusal.value.code == "cron_invalid"


# Anniversaries -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "today", "expected"),
    [
        ("1990-05-01", "2026-04-30", "2026-05-01"),
        ("1990-05-01", "2026-05-01", "2026-05-01"),
        ("1990-05-01", "2026-05-02", "2027-05-01"),
        ("2000-02-29", "2026-02-01", "2026-02-28"),
        ("2000-02-29", "2026-03-01", "2027-02-28"),
        ("2000-02-29", "2028-01-01", "2028-02-29"),
        ("2026-05-01", "2026-05-01", "2027-05-01"),
        ("2030-05-01", "2026-05-01", "2031-05-01"),
    ],
)
def test_the_29th_of_february_falls_on_the_28th_in_other_years(day: str, today: str, expected: str) -> None:
    assert next_anniversary(date.fromisoformat(day), date.fromisoformat(today)) == date.fromisoformat(expected)


def test_there_is_no_anniversary_past_the_calendar() -> None:
    assert next_anniversary(date(9999, 12, 31), date(2026, 1, 1)) is None
