"""Calendar periods: every local date lies in exactly the period whose days enclose it."""

from __future__ import annotations

from datetime import date, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.periods import EVER, Every, days_of, period_of, unit_of

DAYS = st.dates(date(2000, 1, 1), date(2100, 12, 31))


@pytest.mark.parametrize(
    ("every", "key"),
    [("day", "2027-01-01"), ("week", "2026-W53"), ("month", "2027-01"), ("quarter", "2027-Q1"), ("year", "2027")],
)
def test_new_years_day_lies_in_these_periods(every: Every, key: str) -> None:
    assert period_of(date(2027, 1, 1), every) == key


@given(DAYS, st.sampled_from(get_args(Every)))
def test_a_period_encloses_its_days_and_no_others(day: date, every: Every) -> None:
    bounds = days_of(period_of(day, every))

    assert bounds is not None
    first, end = bounds
    assert first <= day < end
    assert period_of(end, every) != period_of(day, every) == period_of(end - timedelta(days=1), every)


@given(DAYS, st.sampled_from(["day", "week", "month"]))
def test_units_of_streaks_follow_each_other_without_gaps(day: date, unit: str) -> None:
    following = days_of(period_of(day, unit))  # type: ignore[arg-type]  # one of the three

    assert following is not None
    assert unit_of(following[1], unit) == unit_of(day, unit) + 1  # type: ignore[arg-type]


def test_what_has_no_calendar_has_one_period_without_bounds() -> None:
    assert period_of(date(2026, 5, 4), None) == EVER
    assert days_of(EVER) is None


@pytest.mark.parametrize("written", ["2026-13", "soon", "2026-Q5", "2026-W60"])
def test_other_texts_are_no_periods(written: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        days_of(written)
