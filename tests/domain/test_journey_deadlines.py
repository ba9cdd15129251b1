"""When waits end: durations are exact, local times are the customer's, dates come from traits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from domain.journeys.deadlines import CannotWait, EndsAt, Zones, end_of
from domain.journeys.steps import Wait

BERLIN = Zones("Europe/Berlin", "UTC")
FRIDAY = datetime(2026, 3, 27, 12, 0, tzinfo=UTC)  # two days before clocks go forward in Berlin


def ends(wait: dict[str, Any], traits: dict[str, Any] | None = None, zones: Zones = BERLIN) -> datetime:
    found = end_of(Wait.model_validate(wait), FRIDAY, traits or {}, zones)
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
    wait = Wait.model_validate({"until_date": {"trait": "d"}})

    assert end_of(wait, FRIDAY, traits, BERLIN) == CannotWait(reason)


@pytest.mark.parametrize(
    ("never", "until"),
    [("9999-12-31", {"offset": "1d"}), ("9999-12-31", {"at": "23:59"}), ("9998-12-31T23:59:59Z", {"offset": "2y"})],
)
def test_a_date_that_means_never_is_nothing_to_wait_for(never: str, until: dict[str, str]) -> None:
    wait = Wait.model_validate({"until_date": {"trait": "d", **until}})

    assert end_of(wait, FRIDAY, {"d": never}, Zones("America/New_York", "UTC")) == CannotWait("date_out_of_range")


@pytest.mark.parametrize(
    "written",
    [
        {"until_date": {"trait": "d"}, "on_missing": "skip"},
        {"until_date": {"trait": "d", "on_missing": "skip"}},
    ],
)
def test_what_a_missing_date_does_may_stand_beside_the_date_or_with_it(written: dict[str, Any]) -> None:
    assert Wait.model_validate(written).on_missing == "skip"


def test_only_a_date_can_be_missing() -> None:
    with pytest.raises(ValidationError, match="on_missing is about the date"):
        Wait.model_validate({"for": "1d", "on_missing": "skip"})
