"""YAML as marketers expect it (1.2's core schema), without the parts that can hurt."""

from __future__ import annotations

from typing import Any

import pytest

from domain.errors import Malformed
from domain.yaml import read_yaml


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("on: {event: Product Added}", {"on": {"event": "Product Added"}}),
        ("answer: yes", {"answer": "yes"}),
        ("answer: No", {"answer": "No"}),
        ("until: 10:00", {"until": "10:00"}),
        ("since: 2026-05-01", {"since": "2026-05-01"}),
        ("at: 2026-05-01T09:00:00Z", {"at": "2026-05-01T09:00:00Z"}),
        ("id: 0123", {"id": 123}),
        ("id: 0x1F", {"id": "0x1F"}),
        ("id: 1_000", {"id": "1_000"}),
        ("flag: true", {"flag": True}),
        ("total: 49.90", {"total": 49.9}),
        ("big: 1e3", {"big": 1000.0}),
        ("nothing: ~", {"nothing": None}),
        ("nothing:", {"nothing": None}),
        ("merge: {<<: x}", {"merge": {"<<": "x"}}),
        ("text: 'true'", {"text": "true"}),
        ("[1, two, {three: 3}]", [1, "two", {"three": 3}]),
        ("", None),
    ],
)
def test_words_times_and_dates_are_what_they_look_like(text: str, expected: Any) -> None:
    assert read_yaml(text) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: &x [1]\nb: *x", "aliases are not allowed"),
        ("a: [1", "line 1"),
        ("a: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("a: !custom 1", "could not determine a constructor"),
        ("a: 1\na: 2", "twice"),
        ("{[1]: 2}", "line 1"),
        ("a: 1\n---\nb: 2", "line 2"),
        ("\tb: 1", "line 1"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(Malformed, match=problem) as refusal:
        read_yaml(text)
    assert refusal.value.code == "malformed_yaml"


@pytest.mark.parametrize(
    "text", ["[" * 10_000, "{a: " * 10_000, "- " * 10_000, b"\xff\xfe\x00\xd8", b"a: \xff", "a: \0"]
)
def test_hostile_yaml_is_refused_and_never_crashes(text: str | bytes) -> None:
    with pytest.raises(Malformed):
        read_yaml(text)


def test_a_number_of_thousands_of_digits_is_refused() -> None:
    with pytest.raises(Malformed):
        read_yaml("a: " + "9" * 5_000)
