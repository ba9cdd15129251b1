"""When waits end: durations are exact, local times are the customer's, dates come from traits and from events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from domain.journeys.deadlines import CannotWait, EndsAt, Facts, Zones, end_of
from domain.journeys.steps import Wait

BERLIN = Zones("Europe/Berlin", "UTC")
FRIDAY = datetime(2026, 3, 27, 12, 0, tzinfo=UTC)  # two days before clocks go forward in Berlin


def end(
    wait: dict[str, Any],
    traits: dict[str, Any] | None = None,
    zones: Zones = BERLIN,
    entry: dict[str, Any] | None = None,
) -> EndsAt | CannotWait:
    return end_of(Wait.model_validate(wait), FRIDAY, Facts(traits or {}, entry or {}), zones, max_days=60)


def ends(
    wait: dict[str, Any],
    traits: dict[str, Any] | None = None,
    zones: Zones = BERLIN,
    entry: dict[str, Any] | None = None,
) -> datetime:
    found = end(wait, traits, zones, entry)
    assert isinstance(found, EndsAt)
    return found.at


def test_a_duration_is_exact_over_a_change_of_clocks() -> None:
    assert ends({"for": "3d"}) - FRIDAY == timedelta(days=3)


def test_a_calendar_month_keeps_the_wall_clock() -> None:
    assert ends({"for": "1mo"}) == datetime(2026, 4, 27, 11, 0, tzinfo=UTC)


def test_until_is_the_next_such_local_time() -> None:
    assert ends({"until": "14:00"}) == datetime(2026, 3, 27, 13, 0, tzinfo=UTC)
    assert ends({"until": "13:00"}) == FRIDAY


def test_for_and_until_give_the_first_such_time_at_or_after_the_duration() -> None:
    assert ends({"for": "1d", "until": "10:00"}) == datetime(2026, 3, 29, 8, 0, tzinfo=UTC)


def test_days_choose_the_weekday() -> None:
    assert ends({"until": "09:00", "days": ["mon"]}) == datetime(2026, 3, 30, 7, 0, tzinfo=UTC)


def test_a_time_that_does_not_exist_moves_to_the_first_valid_instant() -> None:
    assert ends({"for": "1d", "until": "02:30"}) == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "hour"), [("customer", 8), ("shop", 9), ("Asia/Tokyo", 0)], ids=["customer", "shop", "named"]
)
def test_the_zone_is_the_customers_the_shops_or_a_named_one(zone: str, hour: int) -> None:
    assert ends({"until": "09:00", "zone": zone}, zones=BERLIN).hour == hour


def test_a_customer_without_a_real_zone_lives_in_the_shops() -> None:
    assert ends({"until": "09:00"}, zones=Zones("Mars/Base", "Asia/Tokyo")) == datetime(2026, 3, 28, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "until", "expected"),
    [
        ("2026-05-01", {}, datetime(2026, 5, 1, 7, 0, tzinfo=UTC)),
        ("2026-05-01", {"offset": "-3d", "at": "18:00"}, datetime(2026, 4, 28, 16, 0, tzinfo=UTC)),
        ("2026-05-01T10:30:00Z", {}, datetime(2026, 5, 1, 10, 30, tzinfo=UTC)),
        ("2020-05-01", {}, datetime(2020, 5, 1, 7, 0, tzinfo=UTC)),
    ],
)
def test_until_date_reads_a_trait(value: str, until: dict[str, str], expected: datetime) -> None:
    assert ends({"until_date": {"trait": "plan.renews", **until}}, {"plan": {"renews": value}}) == expected


@pytest.mark.parametrize(("traits", "reason"), [({}, "trait_missing"), ({"d": "soon"}, "trait_not_a_date")])
def test_without_a_date_there_is_nothing_to_wait_for(traits: dict[str, Any], reason: str) -> None:
    assert end({"until_date": {"trait": "d"}}, traits) == CannotWait(reason)


@pytest.mark.parametrize(
    ("never", "until"),
    [
        ("9999-12-31", {}),
        ("9999-12-31", {"offset": "1d"}),
        ("9999-12-31", {"offset": "-1y"}),
        ("9999-12-31", {"at": "23:59"}),
        ("9999-12-31T23:59:59Z", {}),
        ("9999-12-31T23:59:59.9999999+02:00", {"offset": "-3d"}),
        ("9998-12-31T23:59:59Z", {"offset": "2y"}),
        ("2999-12-31", {}),
        ("2999-12-31T00:00:00+01:00", {"offset": "-1mo"}),
    ],
)
@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin", "Pacific/Kiritimati", "UTC"])
def test_a_date_that_means_never_is_nothing_to_wait_for_in_any_zone(
    never: str, until: dict[str, str], zone: str
) -> None:
    by_trait = end({"until_date": {"trait": "d", **until}}, {"d": never}, Zones(zone, "UTC"))
    by_event = end({"until_date": {"event": "properties.at", **until}}, {}, Zones(zone, "UTC"), delivered(at=never))

    assert by_trait == by_event == CannotWait("date_out_of_range")


def test_a_date_in_a_hundred_years_is_waited_for() -> None:
    assert ends({"until_date": {"trait": "d"}}, {"d": "2126-12-31"}) == datetime(2126, 12, 31, 8, 0, tzinfo=UTC)


def delivered(**properties: Any) -> dict[str, Any]:
    return {"event": "Order Delivered", "properties": properties, "timestamp": "2026-03-27T12:00:00+00:00"}


def test_until_date_reads_the_entry_event() -> None:
    until = {"until_date": {"event": "properties.parcels[0].at", "offset": "2d", "at": "10:00"}}

    assert ends(until, entry=delivered(parcels=[{"at": "2026-04-01"}])) == datetime(2026, 4, 3, 8, 0, tzinfo=UTC)
    assert ends({"until_date": {"event": "timestamp", "offset": "1d"}}, entry=delivered()) - FRIDAY == timedelta(days=1)


@pytest.mark.parametrize(
    ("properties", "reason"),
    [({}, "property_missing"), ({"at": None}, "property_missing"), ({"at": 5}, "property_not_a_date")],
)
def test_an_event_without_a_date_gives_nothing_to_wait_for(properties: dict[str, Any], reason: str) -> None:
    assert end({"until_date": {"event": "properties.at"}}, entry=delivered(**properties)) == CannotWait(reason)


@pytest.mark.parametrize(
    ("days", "unit", "expected"),
    [
        (3, "d", timedelta(days=3)),
        ("3", "d", timedelta(days=3)),
        (3.0, "d", timedelta(days=3)),
        (1.5, "h", timedelta(minutes=90)),
        (0, "d", timedelta()),
        (1, "mo", timedelta(days=31, hours=-1)),
        (61, "d", timedelta(days=60)),
        (10**9, "w", timedelta(days=60)),
        (10**9, "y", timedelta(days=60)),
    ],
)
def test_a_duration_comes_from_the_entry_event_and_is_no_longer_than_the_journey_may_last(
    days: Any, unit: str, expected: timedelta
) -> None:
    wait = {"for": {"event": "properties.days", "unit": unit}}

    assert ends(wait, entry=delivered(days=days)) - FRIDAY == expected


def test_a_duration_from_an_event_may_be_followed_by_a_local_time() -> None:
    wait = {"for": {"event": "properties.days", "unit": "d"}, "until": "10:00"}

    assert ends(wait, entry=delivered(days=1)) == datetime(2026, 3, 29, 8, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("days", "unit", "reason"),
    [
        (None, "d", "property_missing"),
        (-1, "d", "property_not_a_duration"),
        ("soon", "d", "property_not_a_duration"),
        ("NaN", "d", "property_not_a_duration"),
        (True, "d", "property_not_a_duration"),
        ([3], "d", "property_not_a_duration"),
        (1.5, "mo", "property_not_a_duration"),
    ],
)
def test_what_is_no_length_of_time_gives_nothing_to_wait_for(days: Any, unit: str, reason: str) -> None:
    wait = {"for": {"event": "properties.days", "unit": unit}}

    assert end(wait, entry=delivered(days=days)) == CannotWait(reason)


@pytest.mark.parametrize("date", [{}, {"trait": "d", "event": "properties.d"}])
def test_a_date_comes_from_one_place(date: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="say where the date is"):
        Wait.model_validate({"until_date": date})


@pytest.mark.parametrize(
    "written",
    [
        {"until_date": {"trait": "d"}, "on_missing": "skip"},
        {"until_date": {"trait": "d", "on_missing": "skip"}},
        {"until_date": {"event": "properties.d", "on_missing": "skip"}},
        {"for": {"event": "properties.d", "unit": "d", "on_missing": "skip"}},
    ],
)
def test_what_a_missing_date_does_may_stand_beside_the_date_or_with_it(written: dict[str, Any]) -> None:
    assert Wait.model_validate(written).on_missing == "skip"


def test_only_a_date_can_be_missing() -> None:
    with pytest.raises(ValidationError, match="on_missing is about the date"):
        Wait.model_validate({"for": "1d", "on_missing": "skip"})
