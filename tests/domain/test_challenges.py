"""Challenges as pure functions: what events come to, whatever order they came in and whatever the clocks did."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.challenges.checks import Surroundings, check_challenge
from domain.challenges.definition import ChallengeDefinition, Freezes
from domain.challenges.facts import Fact, RecordedEvent, fact_reader
from domain.challenges.progress import Standing, standings
from domain.challenges.streaks import now, walk
from domain.periods import unit_of

BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2026, 1, 1, tzinfo=UTC)
LATER = datetime(2027, 12, 31, tzinfo=UTC)


def challenge(**members: Any) -> ChallengeDefinition:
    """Buy twice, unless something else is said."""
    document: dict[str, Any] = {
        "challenge": "two-orders",
        "metric": {"count": "Order Completed"},
        "levels": [{"level": "done", "at": 2, "points": 50}],
    }
    return ChallengeDefinition.model_validate(document | members)


def event(number: int, at: str | datetime, name: str = "Order Completed", **given_: Any) -> RecordedEvent:
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    kept = given_.pop("kept", Fraction(1))
    context = given_.pop("context", {})
    return RecordedEvent(UUID(int=number), name, moment, given_, context, kept)


def stand(
    definition: ChallengeDefinition, events: Sequence[RecordedEvent], zone: ZoneInfo = BERLIN, as_of: datetime = LATER
) -> dict[str, Standing]:
    read = fact_reader(definition, START)
    return standings(definition, [fact for each in events if (fact := read(each, zone))], as_of)


def only(found: dict[str, Standing]) -> Standing:
    [standing] = found.values()
    return standing


def test_two_orders_complete_it_at_the_second_ones_time_and_the_third_changes_nothing() -> None:
    orders = [event(n, f"2026-03-0{n}T12:00:00+00:00") for n in (1, 2, 3)]

    standing = only(stand(challenge(), orders))

    assert standing.figure == 3
    [reached] = standing.reached
    assert (reached.level, reached.round, reached.event_id) == ("done", 1, UUID(int=2))
    assert reached.at == datetime(2026, 3, 2, 12, tzinfo=UTC)


def test_every_level_is_reached_once_and_one_event_may_reach_several() -> None:
    levels = [{"level": "bronze", "at": 100}, {"level": "silver", "at": 1_000}]
    spent = challenge(metric={"sum": "properties.total", "over": "Order Completed", "currency": "EUR"}, levels=levels)

    standing = only(stand(spent, [event(1, "2026-03-01T12:00:00+00:00", total=14.280000000000001)]))

    assert standing.figure == 1_428
    assert [reached.level for reached in standing.reached] == ["bronze", "silver"]


def test_another_currency_and_what_is_no_number_add_nothing() -> None:
    spent = challenge(metric={"sum": "properties.total", "over": "Order Completed", "currency": "EUR"})
    told: list[dict[str, Any]] = [
        {"total": 5, "currency": "USD"},
        {"total": "much"},
        {"total": None},
        {"total": 1e300},
        {},
    ]

    assert stand(spent, [event(n, "2026-03-01T12:00:00+00:00", **each) for n, each in enumerate(told)]) == {}


def test_no_order_takes_from_what_others_count_for() -> None:
    spent = challenge(metric={"sum": "properties.total", "over": "Order Completed", "currency": "EUR"})
    orders = [
        replace(event(n, "2026-03-01T12:00:00+00:00", total=total), order_id=f"o-{n}")
        for n, total in enumerate((130, -130, 5))
    ]

    assert only(stand(spent, orders)).figure == 13_500


def test_distinct_values_count_once_each() -> None:
    tasted = challenge(metric={"distinct": "properties.product_id", "over": "Product Reviewed"})
    ids = ["rose", "rose", "fern", 1, "1", True]
    reviews = [event(n, "2026-03-01T12:00:00+00:00", "Product Reviewed", product_id=id_) for n, id_ in enumerate(ids)]

    assert only(stand(tasted, reviews)).figure == 5


def test_events_from_before_the_first_publication_count_only_where_from_says_so() -> None:
    early = [event(1, "2025-12-31T12:00:00+00:00")]

    assert stand(challenge(), early) == {}
    assert only(stand(challenge(**{"from": "2025-12-31"}), early)).figure == 1


def test_the_last_day_of_until_counts_to_its_local_midnight() -> None:
    until = challenge(until="2026-03-28")
    in_time, too_late = event(1, "2026-03-28T22:59:59+00:00"), event(2, "2026-03-28T23:00:00+00:00")

    assert only(stand(until, [in_time, too_late])).figure == 1


def test_the_same_event_twice_counts_once() -> None:
    """Trophy's idempotency key; opencode #28402 counted metric events twice."""
    twice = [event(1, "2026-03-01T12:00:00+00:00")] * 2

    assert only(stand(challenge(), twice)).figure == 1


def test_a_month_ends_at_the_members_midnight_and_each_month_stands_alone() -> None:
    monthly = challenge(window={"every": "month"})
    # In Berlin 31 January, 1 February (00:30) and 28 February; the year has no 29th.
    orders = ["2026-01-31T22:30:00+00:00", "2026-01-31T23:30:00+00:00", "2026-02-28T22:59:00+00:00"]

    found = stand(monthly, [event(n, at) for n, at in enumerate(orders)])

    assert {period: standing.figure for period, standing in found.items()} == {"2026-01": 1, "2026-02": 2}
    assert [len(found[period].reached) for period in ("2026-01", "2026-02")] == [0, 1]


def test_repeating_begins_anew_after_the_last_level_and_stops_at_most() -> None:
    again = challenge(repeat={"most": 2})
    orders = [event(n, START + timedelta(days=n)) for n in range(1, 8)]

    standing = only(stand(again, orders))

    assert [(reached.round, reached.event_id.int) for reached in standing.reached] == [(1, 2), (2, 4)]
    assert standing.figure == 5  # of the last round, which goes on counting


def test_a_rolling_window_forgets_what_it_left_behind() -> None:
    rolling = challenge(window={"rolling": "7d"}, levels=[{"level": "done", "at": 2}])
    apart = [event(1, "2026-03-01T12:00:00+00:00"), event(2, "2026-03-08T12:00:00+00:00")]
    close = [event(1, "2026-03-01T12:00:00+00:00"), event(2, "2026-03-08T11:59:59+00:00")]

    assert only(stand(rolling, apart)).reached == ()
    assert len(only(stand(rolling, close)).reached) == 1
    assert only(stand(rolling, close)).figure == 0  # as of the end of next year


def test_facts_of_the_future_wait_for_their_time() -> None:
    tomorrow = [event(1, "2026-03-02T12:00:00+00:00")]

    assert stand(challenge(), tomorrow, as_of=datetime(2026, 3, 1, tzinfo=UTC)) == {}


# Refunds -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("policy", "figure"), [("ignore", 2), ("uncount", 1), ("revoke", 1)])
def test_a_returned_order_counts_only_where_refunds_are_ignored(policy: str, figure: int) -> None:
    """Talon.One `allow_rollback_after_completion`: the order was refunded after the achievement."""
    orders = [event(1, "2026-03-01T12:00:00+00:00"), event(2, "2026-03-02T12:00:00+00:00", kept=Fraction(0))]

    assert only(stand(challenge(refunds=policy), orders)).figure == figure


def test_half_an_order_returned_leaves_half_of_its_sum_rounded_down() -> None:
    spent = challenge(metric={"sum": "properties.total", "over": "Order Completed", "currency": "EUR"})

    assert only(stand(spent, [event(1, "2026-03-01T12:00:00+00:00", total=9.99, kept=Fraction(1, 2))])).figure == 499


# Streaks -----------------------------------------------------------------------------------------

NO_FREEZES = Freezes()


def streak_challenge(**members: Any) -> ChallengeDefinition:
    metric = {"streak": "day", "over": "Store Visited", **members.pop("metric", {})}
    return challenge(metric=metric, levels=[{"level": "week", "at": 7}], **members)


def visits(days: Sequence[datetime], **given_: Any) -> list[RecordedEvent]:
    return [event(n, at, "Store Visited", **given_) for n, at in enumerate(days)]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "UTC"])
@pytest.mark.parametrize("first", [date(2026, 3, 26), date(2026, 10, 22), date(2026, 3, 5), date(2026, 10, 29)])
def test_a_visit_late_each_evening_is_a_streak_through_every_change_of_the_clocks(zone: str, first: date) -> None:
    """habitica #6103, #3433, #3231, #4211 and readingstreak.koplugin #12: days of 23 and 25 hours broke streaks."""
    place = ZoneInfo(zone)
    evenings = [
        datetime.combine(first + timedelta(days=n), datetime.min.time(), place).replace(hour=23, minute=55)
        for n in range(7)
    ]

    standing = only(stand(streak_challenge(), visits([at.astimezone(UTC) for at in evenings]), place))

    assert standing.figure == 7
    assert [reached.level for reached in standing.reached] == ["week"]


def test_a_day_of_25_hours_is_one_day() -> None:
    """25 October 2026 in Berlin lasts 25 hours; its first and last minute are one active day."""
    long_day = [datetime(2026, 10, 24, 22, 0, tzinfo=UTC), datetime(2026, 10, 25, 22, 59, tzinfo=UTC)]

    assert only(stand(streak_challenge(), visits(long_day))).figure == 1


def test_travelling_keeps_the_dates_of_where_one_was() -> None:
    """monkeytype #4735, tome #344, dailydotdev #1543 and #1676: the streak was judged anew in today's zone."""
    at_home = visits(
        [datetime(2026, 5, n, 22, 30, tzinfo=UTC) for n in range(1, 8)], context={"timezone": "Europe/Berlin"}
    )  # 00:30 of the following day

    in_berlin = only(stand(streak_challenge(), at_home, BERLIN))
    after_moving = only(stand(streak_challenge(), at_home, ZoneInfo("Asia/Tokyo")))

    assert in_berlin == after_moving
    assert in_berlin.figure == 7


def test_a_missed_day_breaks_a_streak_and_the_best_stays() -> None:
    days = [unit_of(date(2026, 5, n), "day") for n in (1, 2, 3, 5, 6)]

    state = walk(days, NO_FREEZES)

    assert (state.length, state.best) == (2, 3)


def test_freezes_bridge_missed_days_are_spent_and_earned_again() -> None:
    freezes = Freezes(start=1, every=3, most=2)

    bridged = walk([1, 2, 4], freezes)  # day 3 missed: the first freeze is spent, the third active day earns one
    broken = walk([1, 2, 4, 7, 8], freezes)  # days 5 and 6 missed, one freeze left: broken

    assert (bridged.length, bridged.freezes, bridged.used) == (3, 1, 1)
    assert (broken.length, broken.best) == (2, 3)


def test_a_streak_is_at_risk_today_and_broken_when_freezes_no_longer_bridge_the_gap() -> None:
    state = walk([10, 11, 12], Freezes(start=1))

    assert now(state, 12) == now(state, 12).__class__(3, 3, 1, at_risk=False)
    assert now(state, 13) == now(state, 12).__class__(3, 3, 1, at_risk=True)
    assert now(state, 14) == now(state, 12).__class__(3, 3, 0, at_risk=True)
    assert now(state, 15).length == 0


@given(st.sets(st.integers(0, 60)), st.builds(Freezes, start=st.integers(0, 2), every=st.integers(1, 5)))
def test_a_streak_agrees_with_counting_days_one_by_one(units: set[int], freezes: Freezes) -> None:
    """An oracle that walks the calendar day by day instead of jumping from one active day to the next."""
    length = best = left = 0
    alive, missed = False, 0
    for day in range(62):
        if day not in units:
            missed += 1
            continue
        if alive and missed <= left:
            left, length = left - missed, length + 1
        else:
            left, length, alive = min(freezes.start, freezes.most), 1, True
        if freezes.every and length % freezes.every == 0:
            left = max(left, min(left + 1, freezes.most))
        best, missed = max(best, length), 0

    state = walk(units, freezes)

    assert (state.length, state.best) == (length if units else 0, best)


# Invariant 12 ------------------------------------------------------------------------------------

METRICS = st.sampled_from(
    [
        {"count": "Order Completed"},
        {"sum": "properties.total", "over": "Order Completed"},
        {"distinct": "properties.total", "over": "Order Completed"},
        {"streak": "day", "over": "Order Completed", "freezes": {"start": 1, "every": 2}},
    ]
)
WINDOWS = st.sampled_from([None, {"every": "week"}, {"every": "month"}, {"rolling": "5d"}])


@given(
    metric=METRICS,
    window=WINDOWS,
    repeat=st.sampled_from([None, {"most": 3}]),
    hours=st.lists(st.tuples(st.integers(0, 24 * 40), st.integers(1, 5)), max_size=25),
    seed=st.randoms(use_true_random=False),
)
def test_progress_does_not_depend_on_the_order_of_arrival(
    metric: dict[str, Any],
    window: dict[str, Any] | None,
    repeat: dict[str, Any] | None,
    hours: list[tuple[int, int]],
    seed: random.Random,
) -> None:
    """Invariant 12: a pure function of the events, with one completion per level, round and period."""
    if "streak" in metric and window and "rolling" in window:
        window = None
    definition = challenge(metric=metric, window=window, repeat=repeat, levels=[{"level": "a", "at": 2}])
    events = [event(n, START + timedelta(hours=at), total=total) for n, (at, total) in enumerate(hours)]
    shuffled = [*events, *events[:3]]
    seed.shuffle(shuffled)

    found = stand(definition, events)

    assert stand(definition, shuffled) == found
    for standing in found.values():
        keys = [(reached.level, reached.round) for reached in standing.reached]
        assert len(set(keys)) == len(keys)
        assert [each.at for each in standing.reached] == sorted(each.at for each in standing.reached)


@given(st.lists(st.integers(0, 24 * 40), max_size=20), st.lists(st.integers(0, 24 * 40), max_size=20))
def test_two_members_become_one_without_losing_or_doubling_anything(first: list[int], second: list[int]) -> None:
    """Invariant 12: a merge conserves counts: the joined facts come to the sum of both."""
    ours = [event(n, START + timedelta(hours=at)) for n, at in enumerate(first)]
    theirs = [event(100 + n, START + timedelta(hours=at)) for n, at in enumerate(second)]

    joined = stand(challenge(), [*ours, *theirs])

    assert sum((each.figure for each in joined.values()), Decimal()) == len(ours) + len(theirs)


def test_a_fact_is_the_same_whenever_it_is_read() -> None:
    recent = [{"property": "ordered_on", "within_last": "2d"}]
    read = fact_reader(challenge(metric={"count": "Order Completed", "where": recent}), START)

    told = read(event(1, "2026-03-01T12:00:00+00:00", ordered_on="2026-02-28"), BERLIN)

    assert isinstance(told, Fact)  # judged by the time of the event, not by today


# Checks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "code"),
    [
        (
            {"metric": {"count": "A", "where": [{"property": "x", "eq": {"customer": "traits.x"}}]}},
            "refers_to_customer",
        ),
        ({"metric": {"sum": "total", "over": "A"}}, "unknown_path"),
        ({"metric": {"sum": "properties.total - properties.tax", "over": "A"}}, "unknown_path"),
        ({"from": "2026-05-02", "until": "2026-05-01"}, "ends_before_it_starts"),
        ({"requires": ["nothing"]}, "unknown_challenge"),
        ({"requires": ["other"]}, "requires_cycle"),
        ({"levels": [{"level": "a", "at": 1, "reward": "no-such"}]}, "unknown_reward"),
        ({"metric": {"count": "Challenge Completed"}, "repeat": {}}, "counts_itself"),
        ({}, "no_programme"),
    ],
)
def test_the_checks_find(members: dict[str, Any], code: str) -> None:
    around = Surroundings(requires={"other": ["further"], "further": ["two-orders"]})

    assert code in [finding.code for finding in check_challenge(challenge(**members), around)]


@pytest.mark.parametrize(
    "members",
    [
        {"levels": []},
        {"levels": [{"level": "a", "at": 2}, {"level": "b", "at": 2}]},
        {"levels": [{"level": "a", "at": 2}, {"level": "a", "at": 3}]},
        {"levels": [{"level": "a", "at": 2, "expires": "30d"}]},
        {"metric": {"streak": "day", "over": "A"}, "window": {"rolling": "7d"}},
        {"window": {"rolling": "7d"}, "leaderboard": {}},
        {"zone": "Mars/Olympus"},
        {"requires": ["two-orders"]},
    ],
)
def test_contradictions_are_refused(members: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"[a-z]"):
        challenge(**members)
