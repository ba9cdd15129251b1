"""What events earn, by figures worked out by hand: rates, multipliers, limits, currencies, occasions, dates."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.conditions.memory import Scope
from domain.earned_amounts import shared
from domain.earning import (
    Boost,
    Circumstances,
    Decision,
    EarningEvent,
    Programme,
    Usage,
    decide_in_order,
)
from domain.ids import new_id
from domain.programmes.definition import ProgrammeDefinition
from domain.unpaid import Unpaid

NOON = datetime(2026, 5, 20, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
ANN, BO = UUID(int=1), UUID(int=2)
PER_EURO = {"per": {"amount": 100, "currency": "EUR"}, "of": "properties.subtotal", "points": 1}


def programme(*rules: dict[str, Any], **members: Any) -> Programme:
    """A programme of these rules; each pays for completed orders unless it says otherwise."""
    earn = [
        {"rule": f"r{n}", "on": {"event": "Order Completed"}, "amount": PER_EURO, **rule}
        for n, rule in enumerate(rules)
    ]
    written = {"programme": "main", "zone": "Europe/Berlin", "earn": earn, **members}
    return Programme("main", 1, ProgrammeDefinition.model_validate(written), BERLIN, "EUR")


def order(subtotal: Any = None, *, at: datetime = NOON, customer: UUID = ANN, **properties: Any) -> EarningEvent:
    """A trusted order of its own id; `subtotal` as the shop sends it."""
    id_ = new_id()
    told = {"order_id": str(id_), "currency": "EUR", "subtotal": subtotal, **properties}
    return EarningEvent(id_, str(id_), customer, "Order Completed", told, at)


def review(message_id: str, at: datetime = NOON, **properties: Any) -> EarningEvent:
    return EarningEvent(new_id(), message_id, ANN, "Product Reviewed", properties, at)


def decisions(under: Programme, *events: EarningEvent, usage: Usage | None = None, **about: Any) -> Sequence[Decision]:
    circumstances = Circumstances(Scope(as_of=NOON), **about)
    return list(decide_in_order(events, lambda _: under, lambda _: circumstances, usage or Usage()))


def points(under: Programme, *events: EarningEvent, **about: Any) -> list[int]:
    return [decision.points for decision in decisions(under, *events, **about)]


def reasons(under: Programme, *events: EarningEvent, **about: Any) -> list[str | None]:
    return [decision.reason for decision in decisions(under, *events, **about)]


# Amounts and rounding ------------------------------------------------------------------------------------


def test_all_matching_rules_pay_in_the_order_they_are_written() -> None:
    under = programme({"rule": "euros"}, {"rule": "order", "amount": {"points": 20}})

    assert [(each.rule, each.points) for each in decisions(under, order(49.90))] == [("euros", 49), ("order", 20)]


@pytest.mark.parametrize(
    ("how", "paid"), [("floor", 39), ("half_even", 40), ("ceiling", 40)]
)  # 19.99 euros x 2 = 39.98
def test_rate_and_multipliers_stay_exact_and_round_once(how: str, paid: int) -> None:
    under = programme({"amount": {**PER_EURO, "round": how}, "multiply": [{"by": 2}]})

    assert points(under, order(19.99)) == [paid]


def test_multipliers_multiply_each_other() -> None:
    """10 euros x 1.1 x 1.1 x 3 = 36.3, whereas rounding in between would give 33 or 39."""
    under = programme({"multiply": [{"by": 1.1}, {"by": 1.1}]}, multiply=[{"by": 3}])

    [decision] = decisions(under, order(10))

    assert decision.exact == Fraction(363, 10)
    assert decision.points == 36


def test_half_even_rounds_a_half_to_the_even_number() -> None:
    under = programme({"amount": {**PER_EURO, "points": 0.5, "round": "half_even"}})

    assert points(under, order(1), order(3), order(5)) == [0, 2, 2]


def test_rounding_is_for_the_order_and_never_for_each_line() -> None:
    """Three lines of 0.50 euros are one point, not none."""
    lines = [{"product_id": str(n), "price": 0.50, "quantity": 1} for n in range(3)]
    under = programme({"amount": {"per": {"amount": 100, "currency": "EUR"}, "lines": [], "points": 1}})

    assert points(under, order(products=lines)) == [1]


def test_floats_of_clients_round_half_even_to_the_cent_when_they_are_read() -> None:
    """14.280000000000001 is 14.28; 0.125 is 0.12 and 0.135 is 0.14."""
    under = programme({"amount": {**PER_EURO, "per": {"amount": 1, "currency": "EUR"}}})

    assert points(under, order(14.280000000000001), order(0.125), order(0.135)) == [1428, 12, 14]


@given(cents=st.integers(0, 10_000_000), rate=st.decimals(0, 10, places=2), by=st.decimals(0, 5, places=1))
def test_points_are_the_exact_product_rounded_once(cents: int, rate: Decimal, by: Decimal) -> None:
    under = programme(
        {"amount": {**PER_EURO, "points": float(rate), "round": "half_even"}, "multiply": [{"by": float(by)}]}
    )

    exact = Decimal(cents) / 100 * rate * by

    assert points(under, order(cents / 100)) == [int(exact.to_integral_value(ROUND_HALF_EVEN))]


def test_per_quantity_counts_pieces() -> None:
    lines = [{"product_id": "a", "quantity": 3}, {"product_id": "b", "quantity": 4}]
    amount = {"per": {"quantity": 2}, "of": "properties.products[].quantity", "points": 5}

    assert points(programme({"amount": amount}), order(products=lines)) == [17]  # 7 pieces x 5 / 2 = 17.5


def test_lines_narrow_what_is_counted() -> None:
    lines = [
        {"product_id": "a", "category": "tea", "price": 4.50, "quantity": 2},
        {"product_id": "b", "category": "cups", "price": 20, "quantity": 1},
    ]
    tea = [{"property": "category", "eq": "tea"}]
    by_money = {"per": {"amount": 100, "currency": "EUR"}, "lines": tea, "points": 1}
    by_piece = {"per": {"quantity": 1}, "lines": tea, "points": 10}

    assert points(programme({"amount": by_money}, {"amount": by_piece}), order(29, products=lines)) == [9, 20]


def test_another_currency_earns_nothing() -> None:
    assert reasons(programme({}), order(50, currency="USD")) == [Unpaid.CURRENCY]


def test_yen_have_no_cents() -> None:
    under = programme({"amount": {**PER_EURO, "per": {"amount": 100, "currency": "JPY"}}})

    assert points(under, order(1_250, currency="JPY")) == [12]


@pytest.mark.parametrize("subtotal", [None, "much", True, -5, [], float("nan")])
def test_what_is_no_amount_earns_nothing(subtotal: Any) -> None:
    assert reasons(programme({}), order(subtotal)) == [Unpaid.AMOUNT]


def test_less_than_a_point_is_nothing() -> None:
    assert reasons(programme({}), order(0.99)) == [Unpaid.NOTHING]


# Who and what --------------------------------------------------------------------------------------------


def test_where_compares_the_payload_as_it_was_sent() -> None:
    """30 is 30.00 euros, not 30 cents."""
    under = programme({"on": {"event": "Order Completed", "where": [{"property": "subtotal", "gte": 30}]}})

    [small, large] = decisions(under, order(29.99), order(30, at=NOON + timedelta(hours=1)))

    assert (small.points, small.reason, small.failed) == (0, Unpaid.WHERE, "/earn/0/on/where/0")
    assert large.points == 30


def test_conditions_decide_about_rules_and_multipliers() -> None:
    vip = {"trait": "vip", "eq": True}
    under = programme({"if": vip}, {"multiply": [{"if": vip, "by": 3}]})

    yes = decisions(under, order(10), truths={"/earn/0/if": True, "/earn/1/multiply/0/if": True})
    no = decisions(under, order(10), truths={"/earn/0/if": False, "/earn/1/multiply/0/if": False})

    assert [each.points for each in yes] == [10, 30]
    assert [(each.points, each.reason) for each in no] == [(0, Unpaid.CONDITION), (10, None)]


def test_browsers_and_imports_earn_nothing_unless_the_rule_takes_imports() -> None:
    under = programme({}, {"imports": True})
    told = order(10)
    by_browser = EarningEvent(told.id, "m", ANN, told.name, told.properties, NOON, trusted=False)
    imported = EarningEvent(told.id, "m", ANN, told.name, told.properties, NOON, is_history=True)

    assert reasons(under, by_browser) == [Unpaid.UNTRUSTED, Unpaid.UNTRUSTED]
    assert points(under, imported) == [0, 10]


def test_what_must_be_verified_is_not_paid_by_its_event() -> None:
    under = programme({"verify": "click_back", "amount": {"points": 10}})

    assert reasons(under, order(10)) == [Unpaid.VERIFY]


# Occasions -----------------------------------------------------------------------------------------------


def test_an_order_earns_once_whoever_tells_it_and_however_often() -> None:
    first = order(10, order_id="o-1")
    again = order(99, order_id="o-1", at=NOON + timedelta(hours=1), customer=BO)

    assert reasons(programme({}), first, again) == [None, Unpaid.ONCE]


def test_other_events_earn_once_each() -> None:
    under = programme({"on": {"event": "Product Reviewed"}, "amount": {"points": 50}})

    assert points(under, review("m-1"), review("m-2"), review("m-2")) == [50, 50, 0]


def test_once_per_customer_and_product() -> None:
    rule = {"on": {"event": "Product Reviewed"}, "amount": {"points": 50}}
    under = programme({**rule, "once_per": ["customer", "properties.product_id"]})

    assert points(under, *(review(f"m-{n}", product_id=product) for n, product in enumerate("aab"))) == [50, 0, 50]


# Limits --------------------------------------------------------------------------------------------------


def test_a_limit_clips_to_what_is_left() -> None:
    under = programme({"limit": {"per_customer": 100, "per": "1mo", "over": "clip"}})

    three = decisions(under, *(order(60, at=NOON + timedelta(hours=n)) for n in range(3)))

    assert [(each.points, each.wanted, each.reason) for each in three] == [
        (60, 60, None),
        (40, 60, Unpaid.CLIPPED),
        (0, 60, Unpaid.LIMIT),
    ]


def test_a_limit_rejects_what_does_not_fit_whole() -> None:
    under = programme({"limit": {"per_customer": 100, "per": "1mo", "over": "reject"}})

    assert points(under, *(order(euros, at=NOON + timedelta(hours=n)) for n, euros in enumerate((60, 60, 40)))) == [
        60,
        0,
        40,
    ]


def test_a_limit_on_a_fixed_amount_that_rejects_counts_times() -> None:
    """The review of the programme document: 50 points, three a month."""
    under = programme(
        {
            "on": {"event": "Product Reviewed"},
            "amount": {"points": 50},
            "limit": {"per_customer": 3, "per": "1mo", "over": "reject"},
        }
    )

    assert points(under, *(review(str(n)) for n in range(4))) == [50, 50, 50, 0]


def test_the_month_of_a_limit_is_that_of_the_zone_at_the_event() -> None:
    """31 May 23:30 in Berlin is 21:30 UTC; an hour later it is June there, and still May in UTC."""
    under = programme({"limit": {"per_customer": 50, "per": "1mo"}})
    may = datetime(2026, 5, 31, 21, 30, tzinfo=UTC)

    assert points(under, order(50, at=may), order(50, at=may + timedelta(hours=1))) == [50, 50]


def test_each_customer_has_a_limit_of_their_own() -> None:
    under = programme({"limit": {"per_customer": 50}})

    assert points(under, order(50), order(50, customer=BO), order(50)) == [50, 50, 0]


# Dates ---------------------------------------------------------------------------------------------------


def dates(**rule: Any) -> tuple[datetime | None, datetime | None]:
    [decision] = decisions(programme(rule), order(10))
    return decision.activates_at, decision.expires_at


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def test_expiry_counts_from_when_points_become_available() -> None:
    activates, expires = dates(pending="14d", expires={"after": "365d"})

    assert activates == instant("2026-06-03T14:00+02:00")
    assert expires == instant("2027-06-03T14:00+02:00")


def test_end_of_month_is_the_first_instant_of_the_next_local_month() -> None:
    _, expires = dates(expires={"after": "1y", "round": "end_of_month"})

    assert expires == instant("2027-06-01T00:00+02:00")


def test_a_month_after_31_january_is_the_last_day_of_february() -> None:
    [decision] = decisions(programme({"expires": {"after": "1mo"}}), order(10, at=instant("2026-01-31T12:00+01:00")))

    assert decision.expires_at == instant("2026-02-28T12:00+01:00")


def test_months_keep_the_clock_of_the_wall_when_the_clocks_change() -> None:
    [decision] = decisions(programme({"pending": "1mo"}), order(10, at=instant("2026-03-15T09:00+01:00")))

    assert decision.activates_at == instant("2026-04-15T09:00+02:00")


@pytest.mark.parametrize(
    ("pending", "activates"),
    [
        ({"date": "2026-12-24"}, "2026-12-24T00:00+01:00"),
        ({"period_end": "1mo"}, "2026-06-01T00:00+02:00"),
        ({"event": "Order Delivered", "within": "30d"}, "2026-06-19T14:00+02:00"),
    ],
)
def test_points_wait_until_a_day_a_period_or_an_event(pending: Any, activates: str) -> None:
    assert dates(pending=pending)[0] == instant(activates)


def test_a_day_that_has_come_keeps_nobody_waiting() -> None:
    assert dates(pending={"date": "2026-05-20"})[0] is None


@pytest.mark.parametrize(("on", "expires"), [("12-31", "2027-01-01T00:00+01:00"), ("05-19", "2027-05-20T00:00+02:00")])
def test_points_lapse_after_a_day_of_the_year(on: str, expires: str) -> None:
    assert dates(expires={"on": on})[1] == instant(expires)


def test_the_rule_overrides_the_programme_and_the_tier_overrides_the_rule() -> None:
    levels = [{"tier": "gold", "from": 0, "expires": {"never": True}, "pending": "1d", "multiply": 2}]
    tiers = {"measure": {"points": "earned", "window": {"lifetime": True}}, "levels": levels}
    under = programme({}, {"expires": {"after": "2d"}}, expires={"after": "1d"}, tiers=tiers)

    plain = decisions(under, order(10))
    golden = decisions(under, order(10), tier="gold")

    assert [each.expires_at for each in plain] == [NOON + timedelta(days=1), NOON + timedelta(days=2)]
    assert [(each.expires_at, each.activates_at, each.points) for each in golden] == [
        (None, NOON + timedelta(days=1), 20)
    ] * 2


def test_a_temporary_multiplier_counts_while_it_lasts() -> None:
    boost = Boost(Fraction(3, 2), NOON, NOON + timedelta(days=1), source="step/run/double")
    times = (NOON - timedelta(seconds=1), NOON, NOON + timedelta(days=1))

    assert points(programme({}), *(order(10, at=at) for at in times), boosts=[boost]) == [10, 15, 10]


# Order and shares ----------------------------------------------------------------------------------------


@given(st.permutations(range(4)))
def test_events_are_decided_in_the_order_they_happened(shuffled: list[int]) -> None:
    under = programme({"limit": {"per_customer": 100}})
    events = [order(30 + n, at=NOON + timedelta(hours=n)) for n in range(4)]

    found = decisions(under, *(events[n] for n in shuffled))

    assert [each.points for each in found] == [30, 31, 32, 7]


@given(total=st.integers(0, 10**9), weights=st.lists(st.integers(0, 10**6), min_size=1, max_size=50))
def test_shares_sum_exactly_and_none_is_off_by_more_than_one(total: int, weights: list[int]) -> None:
    parts = shared(total, weights)

    whole = sum(weights)
    assert sum(parts) == (total if whole else 0)
    for part, weight in zip(parts, weights, strict=True):
        assert not whole or 0 <= part - total * weight // whole <= 1


def test_the_largest_remainders_get_what_is_left() -> None:
    """100 cents over 1:1:1 and over 2:1 (66.67 and 33.33): formancehq/ledger, allotment.go."""
    assert shared(100, [1, 1, 1]) == [34, 33, 33]
    assert shared(100, [1, 2]) == [33, 67]
