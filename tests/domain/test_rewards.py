"""The reward document: what is refused, what is warned of, and who may have a reward now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from domain.rewards import (
    Facts,
    GeneratedCodes,
    Reason,
    RewardDefinition,
    RewardLimit,
    availability,
    check_reward,
    counted,
)

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def reward(**changes: Any) -> RewardDefinition:
    document = {"reward": "free-tea", "gives": {"gift": "tea"}, "price": [{"points": 100}], **changes}
    return RewardDefinition.model_validate(document)


@pytest.mark.parametrize(
    ("gives", "kind"),
    [
        ({"percent": 12.5, "most": {"amount": 500, "currency": "EUR"}}, "percent"),
        ({"amount": {"amount": 500, "currency": "EUR"}}, "amount"),
        ({"free_shipping": True}, "free_shipping"),
        ({"gift": "tea", "quantity": 2}, "gift"),
        ({"gift_card": {"amount": 500, "currency": "EUR"}}, "gift_card"),
        ({"points_multiplier": 2, "lasts": "7d"}, "points_multiplier"),
        ({"custom": {"plant": "a tree"}}, "custom"),
    ],
)
def test_each_kind_is_told_by_its_own_member(gives: dict[str, Any], kind: str) -> None:
    assert reward(gives=gives).kind == kind


@pytest.mark.parametrize("gives", [{}, {"percent": 0}, {"percent": 101}, {"percent": 10, "gift": "tea"}, {"wish": 1}])
def test_what_gives_nothing_or_two_things_is_refused(gives: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        reward(gives=gives)


def test_codes_are_generated_for_coupons_and_for_nothing_else_unless_asked_for() -> None:
    assert reward(gives={"percent": 10}).code_source == GeneratedCodes()
    assert reward().code_source is None
    assert reward(gives={"percent": 10}, codes="none").code_source is None
    assert reward(codes="pool").code_source == "pool"


def test_a_price_that_nobody_ever_gets_is_warned_of() -> None:
    findings = check_reward(reward(price=[{"points": 100}, {"points": 50}]))

    assert [(finding.code, finding.pointer, finding.severity) for finding in findings] == [
        ("price_never_reached", "/price/0", "warning")
    ]


def test_a_condition_on_an_event_is_an_error_because_no_event_is_at_hand() -> None:
    condition = {"event": "properties.total", "gte": 5}

    findings = check_reward(reward(eligible={"if": condition}, price=[{"if": condition, "points": 1}]))

    assert {(finding.code, finding.pointer) for finding in findings} >= {
        ("needs_a_run", "/eligible/if"),
        ("needs_a_run", "/price/0/if"),
    }


def test_a_shop_is_asked_to_deliver_over_https_only() -> None:
    findings = check_reward(reward(fulfil={"url": "http://shop.example/deliver"}))

    assert [(finding.code, finding.pointer) for finding in findings] == [("url_not_https", "/fulfil/url")]


def test_a_multiplier_has_nothing_that_a_shop_could_deliver() -> None:
    gives = {"points_multiplier": 2, "lasts": "7d"}

    findings = check_reward(reward(gives=gives, fulfil={"url": "https://shop.example/deliver"}))

    assert [finding.code for finding in findings] == ["nothing_to_deliver"]


@pytest.mark.parametrize(
    ("document", "facts", "reasons"),
    [
        ({}, {}, []),
        ({}, {"is_live": False}, [Reason.NOT_LIVE]),
        ({"valid": {"from": "2026-05-04T12:00:01Z"}}, {}, [Reason.NOT_YET_VALID]),
        ({"valid": {"until": "2026-05-04T12:00:00Z"}}, {}, [Reason.NO_LONGER_VALID]),
        ({"valid": {"from": "2026-05-04T12:00:00Z", "until": "2026-05-04T12:00:01Z"}}, {}, []),
        ({}, {"price": None}, [Reason.NOT_FOR_SALE]),
        ({}, {"is_eligible": False}, [Reason.NOT_ELIGIBLE]),
        ({"limit": {"per_customer": 2}}, {"had": 2}, [Reason.LIMIT_REACHED]),
        ({"codes": "pool"}, {"codes_left": False}, [Reason.NO_CODES_LEFT]),
        ({}, {"available_points": 99}, [Reason.INSUFFICIENT_POINTS]),
        ({}, {"available_points": -5, "price": 0}, []),
        ({}, {"available_points": None}, [Reason.NO_PROGRAMME]),
        ({"stock": 0}, {"available_points": 5}, [Reason.SOLD_OUT, Reason.INSUFFICIENT_POINTS]),
    ],
)
def test_every_reason_is_told_the_most_lasting_first(
    document: dict[str, Any], facts: dict[str, Any], reasons: list[Reason]
) -> None:
    given = Facts(**{"as_of": NOON, "price": 100, "available_points": 100, **facts})

    assert availability(reward(**document), given) == reasons


@pytest.mark.parametrize(
    ("stock", "taken", "is_left"), [(None, 10**6, True), (0, 0, False), (1, 0, True), (1, 1, False)]
)
def test_no_stock_is_unlimited_and_zero_is_sold_out(stock: int | None, taken: int, is_left: bool) -> None:
    """wb-gamification 1.6.4: the stock fell to 0, and 0 meant that there is no limit."""
    facts = Facts(NOON + timedelta(days=1), taken=taken)

    assert (Reason.SOLD_OUT not in availability(reward(stock=stock, price=[]), facts)) is is_left


@pytest.mark.parametrize(
    ("per", "as_of", "had"),
    [
        (None, "2026-06-02T12:00+02:00", 3),
        ("1mo", "2026-05-31T23:59+02:00", 2),  # in UTC too it is May, when June has come to Berlin:
        ("1mo", "2026-06-01T00:00+02:00", 1),
        ("1w", "2026-05-31T23:59+02:00", 1),  # a Sunday
        ("1d", "2026-05-31T00:00+02:00", 1),
        ("12h", "2026-06-01T11:00+02:00", 1),  # no calendar has half days: any twelve hours
        ("12h", "2026-06-01T13:00+02:00", 1),
    ],
)
def test_a_limit_counts_in_the_calendar_of_the_zone(per: str | None, as_of: str, had: int) -> None:
    bought = [
        datetime.fromisoformat(at)
        for at in ("2026-05-01T00:00+02:00", "2026-05-31T22:30+02:00", "2026-06-01T01:30+02:00")
    ]
    limit = RewardLimit(per_customer=1, per=per)

    assert counted(limit, bought, datetime.fromisoformat(as_of), ZoneInfo("Europe/Berlin")) == had
