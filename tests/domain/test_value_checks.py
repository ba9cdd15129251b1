"""What checks say of conditions of value: neither a browser's word nor its silence may be worth money."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from domain.challenges.checks import Surroundings as AroundChallenge
from domain.challenges.checks import check_challenge
from domain.challenges.definition import ChallengeDefinition
from domain.conditions.checks import Place, Reporters, Seen
from domain.conditions.model import Condition
from domain.conditions.value_checks import check_value
from domain.journeys.checks import Surroundings, check_journey
from domain.journeys.definition import JourneyDefinition
from domain.programmes.checks import check_programme
from domain.programmes.definition import ProgrammeDefinition
from domain.rewards import RewardDefinition, check_reward

_CONDITION: TypeAdapter[Condition] = TypeAdapter(Condition)
SEEN = Seen(
    event_reporters={
        "Product Viewed": Reporters(browsers=True),
        "Cart Emptied": Reporters(browsers=True, trusted=True),
        "Product Removed": Reporters(browsers=True, trusted=True),
        "Order Refunded": Reporters(trusted=True),
    },
    trait_reporters={
        "wish": Reporters(browsers=True),
        "plan": Reporters(browsers=True, trusted=True),
        "staff": Reporters(trusted=True),
    },
)


def codes(document: dict[str, Any]) -> list[tuple[str, str]]:
    found = check_value(_CONDITION.validate_python(document), SEEN, Place(pointer="/if"))
    return [(finding.code, finding.pointer) for finding in found]


@pytest.mark.parametrize(
    "condition",
    [
        {"not": {"did": "Cart Emptied"}},
        {"did": "Cart Emptied", "at_most": 2},
        {"did": "Cart Emptied", "exactly": 0},
        {"trait": "plan", "ne": "staff"},
        {"trait": "plan", "not_in": ["staff"]},
        {"trait": "plan.name", "exists": False},
        {"not": {"trait": "plan", "eq": "staff"}},
        {"aggregate": "count", "over": "Cart Emptied", "lt": 3},
        {"aggregate": "sum", "of": "properties.n", "over": "Cart Emptied", "eq": 0},
        {"not": {"not": {"trait": "plan", "not_contains": "staff"}}},
        {"not": {"cart": "items", "gte": 1}},
        {"cart": "total", "exists": False},
    ],
)
def test_what_holds_because_a_browser_said_nothing_is_an_error(condition: dict[str, Any]) -> None:
    assert [code for code, _ in codes(condition)] == ["absence_is_untrusted"]


@pytest.mark.parametrize(
    "condition",
    [
        {"did": "Cart Emptied", "at_least": 2},
        {"trait": "plan", "eq": "gold"},
        {"not": {"trait": "plan", "ne": "gold"}},
        {"not": {"did": "Order Refunded"}},
        {"trait": "staff", "ne": True},
        {"not": {"message": "opened"}},
        {"not": {"did": "Never Seen"}},
        {"bucket": [0, 50]},
    ],
)
def test_what_was_done_or_only_the_shop_reports_is_none(condition: dict[str, Any]) -> None:
    assert codes(condition) == []


def test_what_only_browsers_have_reported_is_a_warning_where_it_stands() -> None:
    condition = {"all": [{"did": "Product Viewed"}, {"any": [{"trait": "wish", "eq": "tea"}]}]}
    assert codes(condition) == [("only_from_browsers", "/if/all/0"), ("only_from_browsers", "/if/all/1/any/0")]


UNLESS = {"not": {"did": "Cart Emptied"}}


def test_rewards_and_programmes_say_so_at_every_condition() -> None:
    document = {"reward": "tea", "gives": {"gift": "tea"}, "price": [{"if": UNLESS, "points": 1}, {"points": 2}]}
    reward = RewardDefinition.model_validate({**document, "eligible": {"if": UNLESS}})
    assert [finding.pointer for finding in check_reward(reward, SEEN)] == ["/price/0/if/not", "/eligible/if/not"]
    multiply = [{"by": 2, "if": UNLESS}]
    rule = {"rule": "view", "on": {"event": "Product Viewed"}, "amount": {"points": 1}, "if": UNLESS}
    document = {"programme": "main", "earn": [{**rule, "multiply": multiply}], "multiply": multiply}
    found = check_programme(ProgrammeDefinition.model_validate(document), SEEN)
    assert [(finding.code, finding.pointer) for finding in found] == [
        ("absence_is_untrusted", "/earn/0/if/not"),
        ("absence_is_untrusted", "/earn/0/multiply/0/if/not"),
        ("absence_is_untrusted", "/multiply/0/if/not"),
        ("only_from_browsers", "/earn/0/on/event"),
    ]


@pytest.mark.parametrize(
    ("names", "found"),
    [(["Product Viewed"], ["untrusted_only"]), (["Product Viewed", "Order Refunded"], []), (["Never Seen"], [])],
)
def test_a_challenge_over_what_only_browsers_report_is_refused(names: list[str], found: list[str]) -> None:
    levels = [{"level": "one", "at": 1, "points": 10}]
    document = {"challenge": "look", "metric": {"count": names}, "levels": levels}
    around = AroundChallenge(seen=SEEN, has_programme=True)
    findings = check_challenge(ChallengeDefinition.model_validate(document), around)
    assert [finding.code for finding in findings] == found


GIFT = {"reward": {"give": "tea"}}


@pytest.mark.parametrize(
    ("steps", "pointers"),
    [
        ([{"branch": [{"if": UNLESS, "steps": [GIFT]}]}], ["/steps/0/branch/0/if/not"]),
        ([{"branch": [{"if": UNLESS["not"], "steps": []}, {"else": [GIFT]}]}], ["/steps/0/branch/0/if"]),
        ([{"branch": [{"if": UNLESS["not"], "steps": [GIFT]}, {"else": [GIFT]}]}], []),
        ([{"branch": [{"if": UNLESS, "steps": []}]}, GIFT], []),
        ([{"branch": [{"if": UNLESS, "steps": [{"points": {"deduct": 5}}]}]}], []),
    ],
)
def test_a_journey_says_so_on_the_way_to_a_step_of_value(steps: list[Any], pointers: list[str]) -> None:
    document = {"journey": "gift", "enter": {"on": {"event": "Signed Up"}}, "steps": steps}
    found = check_journey(JourneyDefinition.model_validate(document), Surroundings(seen=SEEN))
    assert [finding.pointer for finding in found if finding.code == "absence_is_untrusted"] == pointers


def test_who_enters_counts_only_where_value_follows() -> None:
    for steps, expected in (([GIFT], ["/enter/if/not"]), ([{"wait": {"for": "1d"}}], [])):
        enter = {"on": {"event": "Signed Up"}, "if": UNLESS}
        definition = JourneyDefinition.model_validate({"journey": "gift", "enter": enter, "steps": steps})
        found = check_journey(definition, Surroundings(seen=SEEN))
        assert [finding.pointer for finding in found if finding.code == "absence_is_untrusted"] == expected
