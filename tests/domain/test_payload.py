"""What JSON from outside may not hold, and where the fault is."""

from __future__ import annotations

import math
from typing import Any

import pytest

from domain.payload import MAX_DEPTH, find_fault


@pytest.mark.parametrize(
    ("value", "code", "pointer"),
    [
        ({"a": [1, "x\0"]}, "nul_character", "/a/1"),
        ({"a/b": {"c~\0": 1}}, "nul_character", "/a~1b"),
        ({"a": "\ud800"}, "lone_surrogate", "/a"),
        ({"a": math.inf}, "number_not_finite", "/a"),
        ([math.nan], "number_not_finite", "/0"),
    ],
)
def test_a_fault_is_named_with_its_place(value: Any, code: str, pointer: str) -> None:  # any JSON
    fault = find_fault(value)

    assert fault is not None
    assert (fault.code, fault.pointer) == (code, pointer)


@pytest.mark.parametrize("value", [None, True, 0, 1.5, "", "ü✓🜁", [], {}, {"a": [{"b": None}]}])
def test_ordinary_values_are_fine(value: Any) -> None:  # any JSON
    assert find_fault(value) is None


def nested(levels: int) -> Any:  # any JSON
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_nesting_has_a_limit_and_no_depth_exhausts_the_walk() -> None:
    assert find_fault(nested(MAX_DEPTH)) is None
    assert [find_fault(nested(levels)) is not None for levels in (MAX_DEPTH + 1, 100_000)] == [True, True]
