"""Findings point into the document as its author wrote it, whatever the model calls its parts."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from domain.conditions.model import Condition
from domain.journeys.definition import JourneyDefinition
from domain.pointers import pointer_to

_CONDITION: TypeAdapter[Condition] = TypeAdapter(Condition)


def pointers(adapter: TypeAdapter[Any], document: Any) -> list[str]:
    with pytest.raises(ValidationError) as refusal:
        adapter.validate_python(document)
    return [
        pointer_to(fault["loc"], document, missing=fault["type"] == "missing", value=fault["input"])
        for fault in refusal.value.errors()
    ]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("vip", [""]),
        ({"all": [{"trait": "a", "eq": 1}, {"nope": 1}]}, ["/all/1"]),
        ({"all": [{"trait": "a", "eq": 1, "ne": 2}]}, ["/all/0"]),
        ({"not": {"trait": "a", "within_last": "soon"}}, ["/not/within_last"]),
        ({"not": {"trait": 5, "eq": 5}}, ["/not/trait"]),
        ({"trait": "a", "eq": {"entry": 5}}, ["/eq/entry"]),
        ({"trait": "a", "in": ["x", [1]]}, ["/in/1"]),
        ({"trait": "a", "equals": "a"}, ["/equals"]),
        ({"did": "x", "where": [{"any": [{"property": "", "eq": "x"}]}]}, ["/where/0/any/0/property"]),
        ({"aggregate": "sum", "of": "properties.total", "gte": 1}, ["/over"]),
        ({"aggregate": "total", "of": "properties.total", "over": "x", "gte": 1}, ["/aggregate"]),
        ({"all": [{"all": {"all": []}}]}, ["/all/0/all"]),
        ({"any": [{"did": "x", "a/b~c": 1}]}, ["/any/0/a~1b~0c"]),
    ],
)
def test_a_fault_in_a_condition_is_pointed_at_where_it_was_written(document: Any, expected: list[str]) -> None:
    assert pointers(_CONDITION, document) == expected


def a_journey(**changes: Any) -> dict[str, Any]:
    return {"journey": "j-1", "enter": {"on": {"event": "A"}}, "steps": [{"send": {"template": "t"}}], **changes}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (a_journey(journey="J 1"), ["/journey"]),
        (a_journey(purpos="marketing"), ["/purpos"]),
        (a_journey(steps=[{"send": {}}]), ["/steps/0/send/template"]),
        (a_journey(steps=[{"send": {"template": "t"}, "if": 1}]), ["/steps/0/if"]),
        (a_journey(steps=[{"sned": {"template": "t"}}]), ["/steps/0"]),
        (a_journey(steps=[{"wait": {"for": "soon"}}]), ["/steps/0/wait/for"]),
        (a_journey(steps=[{"wait": {"for": "1d", "id": "w", "until": "25:00"}}]), ["/steps/0/wait/until"]),
        (
            a_journey(steps=[{"branch": [{"if": {"all": [{"trait": "a", "eq": [1]}]}, "steps": []}]}]),
            ["/steps/0/branch/0/if/all/0/eq"],
        ),
        (
            a_journey(
                steps=[{"split": {"variants": {"a": {}, "b": {"steps": [{"goto": {"step": "x", "visits": 0}}]}}}}]
            ),
            ["/steps/0/split/variants/b/steps/0/goto/visits"],
        ),
        (
            a_journey(enter={"on": {"schedule": {"cron": "* * * * *", "audience": {"trait": "a", "gt": [1]}}}}),
            ["/enter/on/schedule/audience/gt"],
        ),
        (a_journey(enter={"on": {"any": [{"event": "A"}, {"event": ""}]}}), ["/enter/on/any/1/event"]),
        (a_journey(enter={"on": {"event": "A"}, "again": {"at_most": 0}}), ["/enter/again/at_most"]),
        (
            a_journey(enter={"on": {"event": "A"}, "again": {"after": "-1d", "per": "-1d"}}),
            ["/enter/again/after", "/enter/again/per"],
        ),
        (a_journey(goal={"event": "B", "within": "-1d"}), ["/goal/within"]),
        (a_journey(steps=[{"send": {"template": "t", "not_after": "-1h"}}]), ["/steps/0/send/not_after"]),
        (a_journey(steps=[{"call": {"url": "https://a.example", "not_after": "-1h"}}]), ["/steps/0/call/not_after"]),
        (a_journey(steps=[{"wait": {"for": "-1h"}}]), ["/steps/0/wait/for"]),
        (a_journey(steps=[{"wait_for": {"timeout": "-1h"}}]), ["/steps/0/wait_for/timeout"]),
        (a_journey(goal={"event": "B", "where": [{"property": "p", "between": [1]}]}), ["/goal/where/0/between/1"]),
    ],
)
def test_a_fault_in_a_journey_is_pointed_at_where_it_was_written(document: Any, expected: list[str]) -> None:
    assert pointers(TypeAdapter(JourneyDefinition), document) == expected


def test_a_deep_document_is_pointed_into_at_once() -> None:
    document: dict[str, Any] = {"all": [{"trait": "a"}]}
    for _ in range(15):
        document = {"all": [document]}
    assert pointers(_CONDITION, document) == ["/all/0" * 16]


def test_an_offset_from_a_date_may_lead_back() -> None:
    birthday = {"date": {"trait": "birthday", "offset": "-3d"}}
    steps = [{"wait": {"until_date": {"trait": "trial_ends", "offset": "-2d"}}}]
    document = a_journey(enter={"on": birthday}, steps=steps)
    assert JourneyDefinition.model_validate(document).model_dump(mode="json", exclude_unset=True) == document
