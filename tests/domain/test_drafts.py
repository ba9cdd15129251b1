"""Reading drafts: every form that the reference of conditions shows can be written, and types are taken literally."""

from __future__ import annotations

from typing import Any

import pytest

from domain.drafts import read_draft
from domain.errors import Invalid
from domain.journeys.definition import JourneyDefinition, TierEntry


def asking(condition: dict[str, Any]) -> dict[str, Any]:
    """A journey with this entry condition."""
    enter = {"on": {"event": "Product Added"}, "if": condition}
    return {"journey": "trial", "purpose": "marketing", "enter": enter, "steps": [{"wait": {"for": "1d"}}]}


@pytest.mark.parametrize(
    "condition",
    [
        {"all": [{"trait": "plan", "eq": "pro"}, {"any": [{"not": {"trait": "plan", "exists": True}}]}]},
        {"trait": "address.country", "in": ["DE", "AT"]},
        {"trait": "address.country", "not_in": ["DE"]},
        {"trait": "age", "between": [18, 65.5]},
        {"trait": "born", "between": ["1990-01-01", {"entry": "properties.day"}]},
        {"trait": "plan", "matches_any": ["pro*"], "case": "ignore"},
        {"trait": "born", "anniversary_within": "7d"},
        {
            "did": "Order Completed",
            "where": [{"property": "total", "between": [10, 20]}],
            "at_least": 2,
            "within": "90d",
        },
        {"aggregate": "sum", "of": "properties.total", "over": "Order Completed", "within": "365d", "between": [1, 2]},
        {"segment": "vip"},
        {"points": "available", "between": [1, 100]},
        {"tier": {"at_least": "silver"}},
        {"score": "churn", "gt": 0.5},
        {"message": "opened", "template": "hello", "within": "30d"},
        {"consent": "marketing", "channel": "email", "eq": "pending"},
        {"event": "properties.cart_id", "eq": {"customer": "traits.cart_id"}},
        {"variant": "split-1", "eq": "b"},
        {"bucket": [0, 20], "salt": "x"},
    ],
    ids=lambda condition: next(iter(condition)),
)
def test_every_form_of_a_condition_can_be_written(condition: dict[str, Any]) -> None:
    draft = read_draft(JourneyDefinition, asking(condition))

    assert (draft.findings, draft.document is not None) == ((), True)


@pytest.mark.parametrize(
    "entry", [{"tier": "gold", "change": "left"}, {"tier": "gold", "left": True}, {"tier": {"left": "gold"}}]
)
def test_a_change_of_tier_can_be_written_in_three_ways(entry: dict[str, Any]) -> None:
    document = read_draft(JourneyDefinition, {**asking({"all": []}), "enter": {"on": entry}}).document

    assert isinstance(document, JourneyDefinition)
    assert document.enter.on == TierEntry(tier="gold", change="left")


def test_start_and_goto_have_a_short_form() -> None:
    steps = [{"id": "there", "wait": {"for": "1d"}}, {"start": "other"}, {"goto": "there"}]
    document = read_draft(JourneyDefinition, {**asking({"all": []}), "steps": steps}).document

    assert isinstance(document, JourneyDefinition)
    assert document.model_dump()["steps"][1]["start"]["journey"] == "other"


@pytest.mark.parametrize("bucket", [[0], [0, 20, 30], ["0", 20], [True, 20], "ab", {"from": 0, "to": 20}, None])
def test_a_bucket_is_two_numbers(bucket: Any) -> None:
    with pytest.raises(Invalid) as refused:
        read_draft(JourneyDefinition, asking({"bucket": bucket}))

    assert refused.value.errors[0].pointer.startswith("/enter/if/bucket")
