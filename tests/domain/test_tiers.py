"""Tiers are a pure function of what counts, the rules' versions, the moment and the zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.programmes.definition import ProgrammeDefinition
from domain.tier_figures import Gain, Loss
from domain.tier_histories import Override, TierHistory, TierReason, tier_history
from domain.tier_progress import Goal, tier_progress
from domain.tiers import Measure, Measured, TierRules, tier_rules

BERLIN = ZoneInfo("Europe/Berlin")
POINTS = Measured(Measure.POINTS)
START = datetime(2025, 1, 1, tzinfo=UTC)
JOINED = datetime(2024, 2, 29, 23, 30, tzinfo=UTC)  # 1 March in Berlin


def day(text: str) -> datetime:
    """Noon of a day in Berlin."""
    return datetime.fromisoformat(f"{text}T12:00").replace(tzinfo=BERLIN)


def rules(
    window: dict[str, object] | None = None,
    downgrade: dict[str, object] | None = None,
    *,
    version: int = 1,
    since: datetime = START,
    silver: int = 500,
    gold: int = 2_000,
) -> TierRules:
    levels: list[dict[str, object]] = [{"tier": "bronze", "from": 0}, {"tier": "silver", "from": silver}]
    levels.append({"tier": "gold", "from": gold})
    tiers = {"measure": {"points": "earned", "window": window or {"rolling": "12mo"}}, "levels": levels}
    definition = ProgrammeDefinition.model_validate(
        {"programme": "main", "tiers": tiers | {"downgrade": downgrade or {}}}
    )
    found = tier_rules(definition, version, since, BERLIN, "EUR")
    assert found is not None
    return found


def replayed(
    gains: list[Gain], *versions: TierRules, until: datetime, overrides: tuple[Override, ...] = ()
) -> TierHistory:
    return tier_history({POINTS: gains}, versions or [rules()], JOINED, until, overrides)


def told(history: TierHistory) -> list[tuple[str, str | None, str]]:
    return [
        (change.at.astimezone(BERLIN).strftime("%Y-%m-%d"), change.tier, change.reason) for change in history.changes
    ]


def test_who_has_done_nothing_stands_at_the_level_that_takes_nothing() -> None:
    assert replayed([], until=day("2025-06-01")).tier == "bronze"


def test_nobody_has_a_tier_before_the_programme_begins() -> None:
    assert replayed([Gain(day("2024-06-01"), 900)], until=day("2024-12-01")).tier is None


def test_what_was_earned_before_the_programme_began_counts_when_it_begins() -> None:
    history = replayed([Gain(day("2024-06-01"), 900)], until=day("2025-01-02"))
    assert told(history) == [("2025-01-01", "silver", "qualified")]


@pytest.mark.parametrize(("points", "tier"), [(499, "bronze"), (500, "silver"), (1_999, "silver"), (2_000, "gold")])
def test_a_threshold_is_reached_by_exactly_its_figure(points: int, tier: str) -> None:
    """The boundary and the choice among several levels: erpnext 22167, 14930, 24672, 33550."""
    assert replayed([Gain(day("2025-03-01"), points)], until=day("2025-03-02")).tier == tier


def test_levels_written_in_any_order_are_the_same_levels() -> None:
    """Erpnext 22168 takes the first level of the list that fits."""
    tiers = {
        "measure": {"points": "earned", "window": {"lifetime": True}},
        "levels": [{"tier": "gold", "from": 2_000}, {"tier": "bronze", "from": 0}, {"tier": "silver", "from": 500}],
    }
    definition = ProgrammeDefinition.model_validate({"programme": "main", "tiers": tiers})
    found = tier_rules(definition, 1, START, BERLIN, "EUR")
    assert found is not None
    assert replayed([Gain(day("2025-03-01"), 700)], found, until=day("2025-03-02")).tier == "silver"


def test_a_tier_is_lost_one_level_at_a_time_after_its_period_and_the_grace() -> None:
    history = replayed(
        [Gain(day("2025-03-01"), 2_100)], rules(downgrade={"by": "one", "grace": "30d"}), until=day("2027-12-31")
    )
    assert told(history) == [
        ("2025-03-01", "gold", "qualified"),
        ("2026-03-31", "silver", "period_ended"),  # 1 March plus 30 days
        ("2027-04-30", "bronze", "period_ended"),  # 31 March plus 12 months plus 30 days
    ]


def test_a_tier_is_lost_down_to_the_one_that_is_qualified_for() -> None:
    gains = [Gain(day("2025-03-01"), 2_100), Gain(day("2025-12-01"), 40)]
    history = replayed(gains, rules(downgrade={"by": "qualified"}), until=day("2026-06-01"))
    assert told(history)[1:] == [("2026-03-01", "bronze", "period_ended")]


def test_a_tier_is_kept_by_what_comes_in_its_period_and_the_gain_that_reached_it_does_not_count_again() -> None:
    gains = [Gain(day("2025-03-01"), 2_000), Gain(day("2025-09-01"), 2_000)]
    history = replayed(gains, until=day("2028-01-01"))
    assert told(history) == [
        ("2025-03-01", "gold", "qualified"),
        ("2027-03-01", "silver", "period_ended"),
    ]


def test_enough_within_the_grace_keeps_the_tier_and_begins_a_new_period() -> None:
    gains = [Gain(day("2025-03-01"), 2_000), Gain(day("2026-02-01"), 1_500), Gain(day("2026-03-20"), 500)]
    history = replayed(gains, rules(downgrade={"grace": "30d"}), until=day("2026-05-01"))
    assert told(history) == [("2025-03-01", "gold", "qualified")]
    assert history.due == day("2027-03-20")


def test_for_life_is_never_lost() -> None:
    tiers = {
        "measure": {"points": "earned", "window": {"rolling": "1mo"}},
        "levels": [
            {"tier": "bronze", "from": 0},
            {"tier": "silver", "from": 500, "for_life": True},
            {"tier": "gold", "from": 2_000},
        ],
        "downgrade": {"by": "qualified"},
    }
    definition = ProgrammeDefinition.model_validate({"programme": "main", "tiers": tiers})
    found = tier_rules(definition, 1, START, BERLIN, "EUR")
    assert found is not None
    history = replayed([Gain(day("2025-03-01"), 3_000)], found, until=day("2030-01-01"))
    assert told(history)[1:] == [("2025-04-01", "silver", "period_ended")]


def test_nothing_is_lost_where_the_rules_say_never() -> None:
    history = replayed([Gain(day("2025-03-01"), 3_000)], rules(downgrade={"when": "never"}), until=day("2040-01-01"))
    assert (history.tier, history.due) == ("gold", None)


def test_a_calendar_year_begins_at_midnight_of_the_programmes_zone() -> None:
    late = datetime(2025, 12, 31, 22, 59, tzinfo=UTC)  # 23:59 in Berlin
    window: dict[str, object] = {"calendar": "year"}
    split = replayed([Gain(late, 300), Gain(late + timedelta(minutes=1), 300)], rules(window), until=day("2026-02-01"))
    assert split.tier == "bronze"
    together = replayed([Gain(late, 300), Gain(late, 300)], rules(window), until=day("2026-02-01"))
    assert together.tier == "silver"


def test_a_tier_reached_in_a_calendar_year_lasts_through_the_next_one() -> None:
    history = replayed(
        [Gain(day("2025-03-01"), 2_000)], rules({"calendar": "year"}, {"grace": "31d"}), until=day("2028-12-31")
    )
    assert told(history) == [
        ("2025-03-01", "gold", "qualified"),
        ("2027-02-01", "silver", "period_ended"),
        ("2028-02-01", "bronze", "period_ended"),
    ]


def test_years_of_membership_begin_on_the_day_of_joining() -> None:
    yearly = rules({"anniversary": "1y"})  # from 1 March to 1 March
    apart = replayed([Gain(day("2025-02-20"), 300), Gain(day("2025-03-02"), 300)], yearly, until=day("2025-04-01"))
    assert apart.tier == "bronze"
    together = replayed([Gain(day("2025-03-02"), 600)], yearly, until=day("2026-01-01"))
    assert (together.tier, together.due) == ("silver", datetime(2026, 3, 1, tzinfo=BERLIN))


def test_a_rolling_month_ends_with_the_month_that_is_too_short() -> None:
    """31 January plus a month is the last day of February, and the gain does not count again on it."""
    at = day("2025-01-31")
    history = replayed([Gain(at, 600), Gain(day("2025-02-28"), 1)], rules({"rolling": "1mo"}), until=day("2025-03-01"))
    assert told(history) == [("2025-01-31", "silver", "qualified"), ("2025-02-28", "bronze", "period_ended")]


def test_a_rolling_period_of_calendar_days_keeps_the_wall_clock_over_the_change_of_clocks() -> None:
    history = replayed([Gain(day("2025-03-01"), 600)], rules({"rolling": "1mo"}), until=day("2025-03-02"))
    assert history.due == datetime(2025, 4, 1, 10, tzinfo=UTC)  # noon, in summer time by then


# Taken back ---------------------------------------------------------------------------------------------


def test_a_clawback_demotes_at_once_if_the_tier_would_never_have_been_reached() -> None:
    gain = Gain(day("2025-03-01"), 600, [Loss(day("2025-03-10"), 200)])
    history = replayed([gain], until=day("2025-04-01"))
    assert told(history) == [("2025-03-01", "silver", "qualified"), ("2025-03-10", "bronze", "taken_back")]


@pytest.mark.parametrize("window", [{"rolling": "12mo"}, {"calendar": "year"}, {"lifetime": True}])
def test_a_refund_that_is_restated_lower_gives_the_tier_back_at_once(window: dict[str, object]) -> None:
    gain = Gain(day("2025-03-01"), 600, [Loss(day("2025-03-10"), 200), Loss(day("2025-03-12"), -150)])
    history = replayed([gain], rules(window), until=day("2025-04-01"))
    assert told(history)[1:] == [("2025-03-10", "bronze", "taken_back"), ("2025-03-12", "silver", "qualified")]


def test_a_clawback_lifts_nobody_whose_tier_has_ended() -> None:
    """With less of March, April would have reached the tier, and it would last until then."""
    gains = [Gain(day("2025-03-01"), 500, [Loss(day("2026-03-15"), 100)]), Gain(day("2025-04-01"), 100)]
    history = replayed(gains, until=day("2026-03-20"))
    assert told(history) == [("2025-03-01", "silver", "qualified"), ("2026-03-01", "bronze", "period_ended")]


def test_a_clawback_leaves_the_tier_if_it_was_reached_all_the_same() -> None:
    gains = [Gain(day("2025-03-01"), 600, [Loss(day("2025-05-10"), 600)]), Gain(day("2025-04-01"), 500)]
    history = replayed(gains, until=day("2025-06-01"))
    assert told(history) == [("2025-03-01", "silver", "qualified")]
    assert history.due == day("2026-03-01")


def test_many_partial_refunds_end_where_one_does() -> None:
    once = Gain(day("2025-03-01"), 600, [Loss(day("2025-03-12"), 300)])
    often = Gain(day("2025-03-01"), 600, [Loss(day("2025-03-10") + timedelta(hours=i), 30) for i in range(10)])
    first, second = (replayed([gain], until=day("2025-04-01")) for gain in (once, often))
    assert (first.tier, first.standing) == (second.tier, second.standing)


# Versions and overrides ---------------------------------------------------------------------------------


def test_higher_thresholds_count_when_the_period_ends_lower_ones_at_once() -> None:
    gains = [Gain(day("2025-03-01"), 600), Gain(day("2025-06-01"), 600)]
    higher = rules(version=2, since=day("2025-07-01"), silver=1_000)
    assert told(replayed(gains, rules(), higher, until=day("2026-03-02"))) == [
        ("2025-03-01", "silver", "qualified"),
        ("2026-03-01", "bronze", "period_ended"),
    ]
    lower = rules(version=2, since=day("2025-07-01"), gold=1_200)
    assert told(replayed(gains, rules(), lower, until=day("2025-08-01")))[1:] == [
        ("2025-07-01", "gold", "rules_changed")
    ]


def test_a_tier_that_is_no_more_becomes_the_next_lower_one() -> None:
    tiers = {
        "measure": {"points": "earned", "window": {"rolling": "12mo"}},
        "levels": [{"tier": "bronze", "from": 0}, {"tier": "platinum", "from": 5_000}],
    }
    definition = ProgrammeDefinition.model_validate({"programme": "main", "tiers": tiers})
    newer = tier_rules(definition, 2, day("2025-04-01"), BERLIN, "EUR")
    assert newer is not None
    history = replayed([Gain(day("2025-03-01"), 2_000)], rules(), newer, until=day("2025-05-01"))
    assert told(history)[1:] == [("2025-04-01", "bronze", "rules_changed")]


def test_an_override_holds_until_its_end_whatever_is_earned_meanwhile() -> None:
    override = Override("gold", day("2025-02-01"), day("2025-05-01"))
    history = replayed([Gain(day("2025-03-01"), 600)], until=day("2025-06-01"), overrides=(override,))
    assert told(history) == [("2025-02-01", "gold", "override"), ("2025-05-01", "silver", "override_ended")]


def test_the_later_override_takes_the_place_of_the_earlier() -> None:
    overrides = (Override("silver", day("2025-02-01")), Override("gold", day("2025-03-01"), day("2025-04-01")))
    assert told(replayed([], until=day("2025-06-01"), overrides=overrides)) == [
        ("2025-02-01", "silver", "override"),
        ("2025-03-01", "gold", "override"),
        ("2025-04-01", "bronze", "override_ended"),
    ]


# Progress -----------------------------------------------------------------------------------------------


def test_progress_says_what_is_missing_to_rise_and_to_keep() -> None:
    gains = [Gain(day("2025-03-01"), 600), Gain(day("2025-04-01"), 150)]
    progress = tier_progress(replayed(gains, until=day("2025-05-01")), day("2025-05-01"))
    assert progress.next == Goal("gold", 2_000, 750)
    assert progress.next.missing == 1_250
    assert progress.keep == Goal("silver", 500, 150, day("2026-03-01"))


def test_the_highest_tier_has_no_next_and_the_lowest_nothing_to_keep() -> None:
    highest = tier_progress(replayed([Gain(day("2025-03-01"), 5_000)], until=day("2025-05-01")), day("2025-05-01"))
    lowest = tier_progress(replayed([], until=day("2025-05-01")), day("2025-05-01"))
    assert highest.next is None
    assert lowest.keep is None


# Properties ---------------------------------------------------------------------------------------------

_moments = st.integers(0, 900).map(lambda days: START + timedelta(days=days, hours=days % 24))
_losses = st.lists(st.builds(Loss, _moments, st.integers(1, 900)), max_size=2)
_gains = st.lists(st.builds(Gain, _moments, st.integers(1, 2_500), _losses), max_size=12)
_windows = st.sampled_from(
    [{"rolling": "12mo"}, {"rolling": "30d"}, {"calendar": "quarter"}, {"anniversary": "6mo"}, {"lifetime": True}]
)
_downgrades = st.sampled_from([{}, {"grace": "30d"}, {"by": "qualified"}, {"by": "qualified", "grace": "1mo"}])


@given(gains=_gains, window=_windows, downgrade=_downgrades, seed=st.integers())
def test_the_order_in_which_things_came_in_does_not_matter(
    gains: list[Gain], window: dict[str, object], downgrade: dict[str, object], seed: int
) -> None:
    """Buttondown 2912: a late event resolved to a lower tier."""
    shuffled = gains.copy()
    Random(seed).shuffle(shuffled)
    until = START + timedelta(days=1_000)
    one, other = (replayed(each, rules(window, downgrade), until=until) for each in (gains, shuffled))
    assert (one.changes, one.standing) == (other.changes, other.standing)


@given(gains=_gains, window=_windows, downgrade=_downgrades, at=_moments)
def test_what_comes_later_does_not_change_what_was(
    gains: list[Gain], window: dict[str, object], downgrade: dict[str, object], at: datetime
) -> None:
    """The history up to a moment is the beginning of every later one, so a stored row stays true."""
    known = [
        Gain(gain.at, gain.amount, [loss for loss in gain.losses if loss.at <= at]) for gain in gains if gain.at <= at
    ]
    then = replayed(known, rules(window, downgrade), until=at)
    later = replayed(gains, rules(window, downgrade), until=START + timedelta(days=1_000))
    assert [change for change in later.changes if change.at <= at] == then.changes


@given(gains=_gains, window=_windows, downgrade=_downgrades)
def test_a_tier_is_never_lost_before_its_period_has_ended_but_for_a_clawback(
    gains: list[Gain], window: dict[str, object], downgrade: dict[str, object]
) -> None:
    ladder = ["bronze", "silver", "gold"]
    history = replayed(
        [Gain(gain.at, gain.amount) for gain in gains], rules(window, downgrade), until=START + timedelta(days=1_000)
    )
    before = "bronze"
    for change in history.changes:
        assert change.tier is not None
        rose = ladder.index(change.tier) > ladder.index(before)
        assert change.reason == (TierReason.QUALIFIED if rose else TierReason.PERIOD_ENDED)
        before = change.tier


@given(gains=_gains, window=_windows, downgrade=_downgrades)
def test_a_refund_never_lifts_anybody(
    gains: list[Gain], window: dict[str, object], downgrade: dict[str, object]
) -> None:
    ladder = ["bronze", "silver", "gold"]
    before = "bronze"
    for change in replayed(gains, rules(window, downgrade), until=START + timedelta(days=1_000)).changes:
        assert change.tier is not None
        assert change.reason is not TierReason.TAKEN_BACK or ladder.index(change.tier) < ladder.index(before)
        before = change.tier


@given(gains=_gains)
def test_over_a_lifetime_the_tier_is_that_of_the_sum(gains: list[Gain]) -> None:
    """An oracle of one line: with no window and nothing taken back there is nothing else to decide."""
    found = rules({"lifetime": True})
    history = replayed([Gain(gain.at, gain.amount) for gain in gains], found, until=START + timedelta(days=1_000))
    assert history.tier == found.tier(found.rank_for(sum(gain.amount for gain in gains)))
