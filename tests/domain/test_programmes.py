"""The programme document: what can be read, what is found wrong with it, and the calendar its periods follow."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from domain.drafts import read_draft
from domain.findings import Severity
from domain.programmes.checks import check_gains, check_programme, events_of
from domain.programmes.definition import ProgrammeDefinition
from domain.programmes.periods import period_of
from domain.programmes.rules import exactly
from domain.yaml import read_yaml

BERLIN = ZoneInfo("Europe/Berlin")
SHIPPED = Path(__file__).parents[2] / "templates" / "programmes" / "petals.yaml"


def programme(*rules: dict[str, Any], **members: Any) -> dict[str, Any]:
    """A programme as it is written; a rule pays 50 points for a review unless it says otherwise."""
    plain = {"on": {"event": "Product Reviewed"}, "amount": {"points": 50}}
    earn = [{"rule": f"rule-{position}", **plain, **rule} for position, rule in enumerate(rules)]
    return {"programme": "main", "earn": earn, **members}


def codes(written: dict[str, Any]) -> list[tuple[str, str]]:
    """The codes and pointers of what is found."""
    draft = read_draft(ProgrammeDefinition, written)
    if draft.document is None:
        return [(finding.code, finding.pointer) for finding in draft.findings]
    assert isinstance(draft.document, ProgrammeDefinition)
    return [(finding.code, finding.pointer) for finding in check_programme(draft.document)]


def test_a_reward_that_nobody_has_published_is_told_of_by_its_place() -> None:
    gives = {"qualifies_on": {"event": "Order Completed"}, "referrer": {"reward": "tea"}, "referee": {"reward": "pot"}}
    definition = ProgrammeDefinition.model_validate(programme(referral=gives))

    found = check_gains(definition, {"tea"})

    assert [(finding.code, finding.pointer, finding.severity) for finding in found] == [
        ("unknown_reward", "/referral/referee/reward", Severity.WARNING)
    ]


def test_the_shipped_programme_has_no_faults() -> None:
    written = read_yaml(SHIPPED.read_text())

    assert codes(written) == []
    definition = ProgrammeDefinition.model_validate(written)
    assert events_of(definition) == {"Order Completed", "Product Reviewed", "Signed Up", "Product Shared"}


@pytest.mark.parametrize(
    ("written", "pointer"),
    [
        (programme({"amount": {}}), "/earn/0/amount"),
        (programme({"amount": {"points": "50"}}), "/earn/0/amount/points"),
        (programme({"amount": {"points": -1}}), "/earn/0/amount/points"),
        (programme({"expires": {"afer": "1y"}}), "/earn/0/expires"),
        (programme({"limit": {"per_customer": 3, "over": "ignore"}}), "/earn/0/limit/over"),
        (programme({"pending": "-3d"}), "/earn/0/pending"),
        (programme({"verify": "trust"}), "/earn/0/verify"),
        (
            programme(tiers={"measure": {"points": "earned", "window": {"rolling": "1y"}}, "levels": []}),
            "/tiers/levels",
        ),
        (programme({"rule": "No Spaces"}), "/earn/0/rule"),
        (programme(zones="Europe/Berlin"), "/zones"),
    ],
)
def test_what_is_not_of_the_shape_is_refused_with_its_place(written: dict[str, Any], pointer: str) -> None:
    assert ("invalid", pointer) in codes(written) or ("contradiction", pointer) in codes(written)


TIERS = {"measure": {"points": "earned", "window": {"rolling": "12mo"}}, "levels": [{"tier": "bronze", "from": 0}]}


def windowed(window: dict[str, Any], **level: Any) -> dict[str, Any]:
    """A programme with one tier over a window."""
    measure = {"points": "earned", "window": window}
    return programme(tiers={"measure": measure, "levels": [{"tier": "bronze", "from": 0, **level}]})


YEARLY = {"calendar": "year"}
ON_ORDERS: dict[str, Any] = {"qualifies_on": {"event": "Order Completed"}, "referrer": {"points": 5}}


@pytest.mark.parametrize(
    ("written", "found"),
    [
        (windowed({"anniversary": "0d"}), ("malformed_duration", "/tiers/measure/window/anniversary")),
        (windowed({"anniversary": "0mo"}), ("malformed_duration", "/tiers/measure/window/anniversary")),
        (windowed({"anniversary": "30m"}), ("malformed_duration", "/tiers/measure/window/anniversary")),
        (windowed({"rolling": "0d"}), ("malformed_duration", "/tiers/measure/window/rolling")),
        (windowed(YEARLY, multiply=0), ("pays_nothing", "/tiers/levels/0/multiply")),
        (windowed(YEARLY, expires={"after": "0d"}), ("malformed_duration", "/tiers/levels/0/expires/after")),
        (windowed(YEARLY, pending={"period_end": "0d"}), ("malformed_duration", "/tiers/levels/0/pending/period_end")),
        (programme({"expires": {"after": "0s"}}), ("malformed_duration", "/earn/0/expires/after")),
        (programme(expires={"after": "0d"}), ("malformed_duration", "/expires/after")),
        (programme(warn=["0d"]), ("malformed_duration", "/warn/0")),
        (programme({"limit": {"per_customer": 0}}), ("pays_nothing", "/earn/0/limit/per_customer")),
        (programme({"limit": {"per_customer": 5, "per": "0d"}}), ("malformed_duration", "/earn/0/limit/per")),
        (programme(referral={**ON_ORDERS, "valid": "0d"}), ("malformed_duration", "/referral/valid")),
        (
            programme(referral={**ON_ORDERS, "referrer": {"points": 5, "expires": {"after": "0d"}}}),
            ("malformed_duration", "/referral/referrer/expires/after"),
        ),
        (
            programme(referral={**ON_ORDERS, "limit": {"per_referrer": 0}}),
            ("pays_nothing", "/referral/limit/per_referrer"),
        ),
        (programme(zone="Europe/Atlantis"), ("unknown_zone", "/zone")),
        (programme({"rule": "twice"}, {"rule": "twice"}), ("duplicate_rule", "/earn/0/rule")),
        (programme({"amount": {"points": 0}}), ("pays_nothing", "/earn/0/amount/points")),
        (
            programme({"amount": {"per": {"amount": 100, "currency": "EUR"}}}),
            ("contradiction", "/earn/0/amount"),
        ),
        (
            programme({"amount": {"per": {"amount": 100, "currency": "EUR"}, "of": "subtotal"}}),
            ("unknown_path", "/earn/0/amount/of"),
        ),
        *(
            (
                programme({"amount": {"per": {"amount": 100, "currency": "EUR"}, "of": written}}),
                ("unknown_path", "/earn/0/amount/of"),
            )
            for written in (
                "properties.total - properties.tax",
                "properties.total-properties.tax",
                "properties.total * 2",
                "properties.total*0.5",
                "properties.total - 5",
            )
        ),
        (
            programme({"multiply": [{"if": {"tier": {"at_least": "gold"}}, "by": 2}]}, tiers=TIERS),
            ("unknown_tier", "/earn/0/multiply/0/if/tier"),
        ),
        (programme({"if": {"points": "available", "gte": 5}}), ("not_repeatable", "/earn/0/if/points")),
        (
            programme(multiply=[{"if": {"not": {"points": "spent", "gte": 5}}, "by": 2}]),
            ("not_repeatable", "/multiply/0/if/not/points"),
        ),
        (programme({"limit": {"per_customer": 3, "per": "36h"}}), ("malformed_duration", "/earn/0/limit/per")),
        (
            programme({"on": {"event": "Product Reviewed", "where": [{"property": "rating", "gte": 4}]}}),
            ("pays_for_sentiment", "/earn/0"),
        ),
        (programme({"if": {"event": "properties.stars", "eq": 5}}), ("pays_for_sentiment", "/earn/0")),
        (programme({"once_per": ["customer", "product_id"]}), ("unknown_path", "/earn/0/once_per/1")),
        (
            programme(tiers={**TIERS, "levels": [{"tier": "a", "from": 5}, {"tier": "b", "from": 5}]}),
            ("tiers_out_of_order", "/tiers/levels/1/from"),
        ),
        (programme(referral={"qualifies_on": {"event": "Order Completed"}}), ("pays_nothing", "/referral")),
        (
            programme(referral={"qualifies_on": {"event": "Order Completed"}, "referrer": {}}),
            ("contradiction", "/referral/referrer"),
        ),
    ],
)
def test_what_contradicts_itself_is_found(written: dict[str, Any], found: tuple[str, str]) -> None:
    assert found in codes(written)


@pytest.mark.parametrize("of", ["properties.net-total", "properties.Price - EUR", "properties.a/b", "properties.sku-2"])
def test_a_property_whose_name_holds_signs_is_no_expression(of: str) -> None:
    assert codes(programme({"amount": {"per": {"amount": 100, "currency": "EUR"}, "of": of}})) == []


def test_points_may_lapse_at_the_end_of_the_month_that_they_came_in() -> None:
    assert codes(programme(expires={"after": "0d", "round": "end_of_month"})) == []


def test_a_multiplier_for_a_known_tier_is_right() -> None:
    assert codes(programme({"multiply": [{"if": {"tier": "bronze"}, "by": 1.5}]}, tiers=TIERS)) == []


def test_a_rate_is_the_decimal_that_was_written() -> None:
    assert exactly(1.1) == Fraction(11, 10)
    assert exactly(0.1) * 3 == Fraction(3, 10)


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [
        ("1d", "2026-03-28T23:00Z", "2026-03-29T22:00Z"),  # the day with 23 hours
        ("1w", "2026-03-22T23:00Z", "2026-03-29T22:00Z"),
        ("1mo", "2026-02-28T23:00Z", "2026-03-31T22:00Z"),
        ("3mo", "2025-12-31T23:00Z", "2026-03-31T22:00Z"),
        ("1y", "2025-12-31T23:00Z", "2026-12-31T23:00Z"),
    ],
)
def test_periods_follow_the_calendar_of_the_zone(period: str, start: str, end: str) -> None:
    found = period_of(datetime(2026, 3, 29, 12, tzinfo=UTC), period, BERLIN)

    assert found == (datetime.fromisoformat(start), datetime.fromisoformat(end))
