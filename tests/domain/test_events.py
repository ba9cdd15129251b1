"""When something happened, what it is called, whose it is, and when two bodies are the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.events import EARLIEST, EventKind, NewEvent, corrected_time, fingerprint
from domain.ids import new_id

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
EVENT = NewEvent("shop", "m-1", EventKind.TRACK, "Product Viewed", NOW, NOW, user_id="ann", properties={"a": 1, "b": 2})
TIMES = st.datetimes(timezones=st.just(UTC))


@pytest.mark.parametrize(
    ("claimed", "sent_at", "happened"),
    [
        (None, None, NOW),
        (None, NOW - timedelta(days=3), NOW),
        (NOW - timedelta(days=90), None, NOW - timedelta(days=90)),
        (NOW - timedelta(hours=5), NOW - timedelta(hours=4), NOW - timedelta(hours=1)),
        (NOW - timedelta(seconds=90), NOW - timedelta(seconds=59), NOW - timedelta(seconds=90)),
        (NOW - timedelta(seconds=90), NOW - timedelta(seconds=60), NOW - timedelta(seconds=30)),
        (NOW + timedelta(seconds=30), NOW + timedelta(seconds=59), NOW),
        (NOW + timedelta(seconds=30), NOW + timedelta(seconds=60), NOW - timedelta(seconds=30)),
        (NOW + timedelta(days=400), NOW + timedelta(days=400, minutes=5), NOW - timedelta(minutes=5)),
        (NOW + timedelta(hours=20), None, NOW),
        (datetime(1990, 1, 1, tzinfo=UTC), None, datetime(1990, 1, 1, tzinfo=UTC)),
        (datetime(1970, 1, 1, tzinfo=UTC), None, NOW),
        (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), NOW),
    ],
)
def test_a_claimed_time_is_corrected_by_the_senders_clock_and_absurd_ones_are_not_believed(
    claimed: datetime | None, sent_at: datetime | None, happened: datetime
) -> None:
    assert corrected_time(claimed, sent_at, NOW) == happened


@given(claimed=st.none() | TIMES, sent_at=st.none() | TIMES)
def test_whatever_is_claimed_the_time_is_one_a_shop_can_have(
    claimed: datetime | None, sent_at: datetime | None
) -> None:
    assert EARLIEST <= corrected_time(claimed, sent_at, NOW) <= NOW


@given(
    offset=st.timedeltas(timedelta(days=-3_000), timedelta(days=3_000)).filter(
        lambda by: abs(by) >= timedelta(minutes=1)
    ),
    age=st.timedeltas(timedelta(0), timedelta(1)),
)
def test_how_wrong_the_senders_clock_is_does_not_matter(offset: timedelta, age: timedelta) -> None:
    assert corrected_time(NOW - age + offset, NOW + offset, NOW) == NOW - age


def test_an_event_belongs_to_the_user_or_else_to_the_anonymous_visitor() -> None:
    assert replace(EVENT, anonymous_id="anon").subject == "u:ann"
    assert replace(EVENT, user_id=None, anonymous_id="anon").subject == "a:anon"
    with pytest.raises(ValueError, match="user id or an anonymous id"):
        replace(EVENT, user_id=None)


@pytest.mark.parametrize(
    "retry",
    [
        replace(EVENT, properties={"b": 2, "a": 1}),
        replace(EVENT, timestamp=NOW + timedelta(seconds=1), received_at=NOW + timedelta(hours=1)),
        replace(EVENT, context={"ip": "1.2.3.4"}),
        replace(EVENT, id=new_id()),
    ],
)
def test_a_retry_has_the_fingerprint_of_its_first_try(retry: NewEvent) -> None:
    assert fingerprint(retry) == fingerprint(EVENT)


@pytest.mark.parametrize(
    "other",
    [
        replace(EVENT, properties={"a": 1}),
        replace(EVENT, name="Product Added"),
        replace(EVENT, user_id="bob"),
        replace(EVENT, traits={"a": 1}),
        replace(EVENT, kind=EventKind.PAGE),
    ],
)
def test_other_content_has_another_fingerprint(other: NewEvent) -> None:
    assert fingerprint(other) != fingerprint(EVENT)


def test_ids_made_one_after_the_other_sort_in_that_order() -> None:
    ids = [new_id() for _ in range(1_000)]

    assert ids == sorted(ids)
    assert {made.version for made in ids} == {7}
