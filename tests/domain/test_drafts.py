"""Reading drafts: every form that the reference of conditions shows can be written, and types are taken literally."""

from __future__ import annotations

from typing import Any

import pytest

from database.published import MODELS
from domain.drafts import read_draft
from domain.fault_texts import FORMS
from domain.findings import Finding
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
        {"saved": "stock.left", "lte": 3},
        {"cart": "total", "gte": 5000, "currency": "EUR"},
        {"cart": "age", "between": ["2h", "3d"]},
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
    draft = read_draft(JourneyDefinition, asking({"bucket": bucket}))

    assert draft.document is None
    assert draft.findings[0].pointer.startswith("/enter/if/bucket")


def fault_of(**members: Any) -> Finding:
    """The one fault of a journey with these members."""
    draft = read_draft(JourneyDefinition, {**asking({"all": []}), **members})
    assert draft.document is None
    (fault,) = draft.findings
    return fault


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"purpose": "Black Friday"}, "Write a small letter, then small letters, digits, hyphens and underscores"),
        ({"steps": [{"wait": {"until": "9:00"}}]}, "Write a time of day from 00:00 to 23:59: 09:30."),
        ({"steps": [{"id": "First mail", "exit": "done"}]}, "first-reminder"),
        ({"goal": {"event": "E", "where": [{"property": "a..b", "exists": True}]}}, "items[].sku"),
        ({"steps": [{"send": {"template": "t", "cahnnel": "email"}}]}, "check its spelling"),
        ({"steps": [{"send": {}}]}, "add it"),
        ({"steps": [{"send": {"template": 7}}]}, "Write a text here."),
        ({"steps": {"send": {"template": "t"}}}, "Write a list here."),
        ({"max_days": 1.5}, "Write a whole number here."),
        ({"enter": "Signed Up"}, "Write an object, keys with values, here."),
        ({"steps": [{"send": {"template": "t", "channel": "fax"}}]}, "Write one of these: 'email', 'push'"),
    ],
)
def test_what_is_wrong_is_said_in_words_that_tell_what_to_write(members: dict[str, Any], said: str) -> None:
    message = fault_of(**members).message

    assert said in message
    assert "^" not in message


def test_every_form_of_text_in_documents_has_words() -> None:
    def patterns(schema: Any) -> set[str]:
        if isinstance(schema, list):
            return set().union(*map(patterns, schema))
        if not isinstance(schema, dict):
            return set()
        own = {schema["pattern"]} if isinstance(schema.get("pattern"), str) else set()
        return own.union(*map(patterns, schema.values()))

    found = set().union(*(patterns(model.model_json_schema()) for model in MODELS.values()))
    by_themselves = {
        text for text in found if text.startswith(("^((999999|", "^-?((999999|", "^https?://", "^(?!0000"))
    }

    assert found - by_themselves - set(FORMS) == set()


@pytest.mark.parametrize(
    ("members", "pointer", "message"),
    [
        ({"steps": []}, "/steps", "Write at least 1 item here."),
        ({"goal": {"event": "", "within": "7d"}}, "/goal/event", "Write at least 1 character here."),
        ({"name": "x" * 1_000}, "/name", "Write at most 200 characters here."),
    ],
)
def test_what_is_too_short_or_too_long_is_said_in_our_words(
    members: dict[str, Any], pointer: str, message: str
) -> None:
    found = read_draft(JourneyDefinition, asking({"trait": "plan", "eq": "pro"}) | members).findings

    assert [(each.pointer, each.message) for each in found] == [(pointer, message)]


def test_two_steps_written_as_one_are_told_apart() -> None:
    steps = [{"wait": {"for": "1d"}}, {"send": {"template": "hello"}, "wait": {"for": "1d"}}]

    [finding] = read_draft(JourneyDefinition, asking({"trait": "plan", "eq": "pro"}) | {"steps": steps}).findings

    assert (finding.code, finding.pointer) == ("contradiction", "/steps/1")
    assert finding.message == "a step does one thing; write send and wait as steps of their own"
