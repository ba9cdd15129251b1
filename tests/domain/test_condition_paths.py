"""Paths of conditions: into objects and arrays, to one element, and to what stands elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import TypeAdapter

from domain.conditions.memory import Scope, compile_where
from domain.conditions.model import Predicate

_WHERE: TypeAdapter[list[Predicate]] = TypeAdapter(list[Predicate])
_SCOPE = Scope(
    as_of=datetime(2026, 5, 10, 22, 30, tzinfo=UTC),
    zone=ZoneInfo("Europe/Berlin"),
    entry={"event": "Product Added", "properties": {"cart_id": "c-1", "products": [{"sku": "a"}, {"sku": "b"}]}},
    customer={"id": "ann", "traits": {"size": "m", "plan": "gold", "address": {"country": "DE"}}},
    saved={"answer": {"id": 7}},
)


@pytest.mark.parametrize(
    ("predicate", "expected"),
    [
        ({"property": "cart.id", "eq": {"entry": "properties.cart_id"}}, True),
        ({"property": "size", "eq": {"customer": "traits.size"}}, True),
        ({"property": "size", "eq": {"customer": "id"}}, False),
        ({"property": "number", "gte": {"saved": "answer.id"}}, True),
        ({"property": "number", "between": [1, {"saved": "answer.id"}]}, True),
        ({"property": "items[].sku", "eq": "b"}, True),
        ({"property": "items[].sku", "ne": "z"}, True),
        ({"property": "items[].sku", "ne": "b"}, False),
        ({"property": "items.sku", "exists": True}, False),
        ({"property": "items[]", "exists": True}, True),
        ({"property": "items[].sku", "in": [{"entry": "properties.products[].sku"}]}, True),
        ({"property": "items[].tags[]", "eq": "new"}, True),
        ({"property": "items.0.sku", "exists": True}, False),
        ({"property": "size", "eq": {"entry": "properties.nothing"}}, False),
        ({"property": "size", "ne": {"entry": "properties.nothing"}}, True),
        ({"property": "size", "contains": {"saved": "answer"}}, False),
        ({"all": []}, True),
        ({"any": []}, False),
        ({"not": {"all": [{"property": "size", "eq": "m"}, {"property": "number", "gt": 100}]}}, True),
    ],
)
def test_paths_reach_into_objects_and_arrays_and_references_look_elsewhere(
    predicate: dict[str, Any], expected: bool
) -> None:
    payload = {
        "cart": {"id": "c-1"},
        "size": "m",
        "number": 7,
        "items": [{"sku": "b", "tags": ["new"]}, {"sku": "c"}, None, "x"],
    }
    assert compile_where(_WHERE.validate_python([predicate]))(payload, _SCOPE) is expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("products[0].sku", True),
        ("products[1].sku", False),
        ("products[2].sku", False),
        ("products[].sku", True),
        ("first[0]", False),
        ("nested[1][0].sku", True),
        ("nested[][0].sku", True),
        ("nested[0][0].sku", False),
    ],
)
def test_a_path_with_a_number_reaches_one_element_of_a_list(path: str, expected: bool) -> None:
    lines = [{"sku": "rose"}, {"sku": "fern"}]
    properties = {"products": lines, "first": "rose", "nested": [[], lines]}

    assert compile_where(_WHERE.validate_python([{"property": path, "eq": "rose"}]))(properties, _SCOPE) is expected
    assert compile_where(_WHERE.validate_python([{"property": path, "ne": "rose"}]))(properties, _SCOPE) is not expected
