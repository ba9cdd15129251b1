"""Paths into JSON: `a.b.c` names keys of nested objects, `items[].sku` any element of an array, `items[0].sku` one."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

EACH: Final = None
"""The step of a path that goes into every element of an array. A number goes into one, all other steps are keys."""

PATTERN = r"^[^.\[\]]+(\[[0-9]{0,4}\])*(\.[^.\[\]]+(\[[0-9]{0,4}\])*)*$"
_INDEX: Final = re.compile(r"\[([0-9]*)\]")
# A key may hold blanks and signs, so an operator counts only before another path or a number.
_CALCULATION: Final = re.compile(r"[-+*/%]\s*properties\.|\s[-+*/%]\s*[0-9]|[*/%]\s*[0-9]")

NOTHING_IS_CALCULATED: Final = (
    "a path names one value and nothing is calculated; send the result as a property of its own, such as properties.net"
)

Steps = tuple[str | int | None, ...]
Read = Callable[[Any], list[Any]]  # any JSON in, what is found there out


@lru_cache(maxsize=4_096)
def steps_of(path: str) -> Steps:
    """The steps of a path that matches PATTERN: `items[].tags[0]` is `("items", EACH, "tags", 0)`."""
    steps: list[str | int | None] = []
    for part in path.split("."):
        key, *_ = part.partition("[")
        steps += [key, *(int(index) if index else EACH for index in _INDEX.findall(part))]
    return tuple(steps)


def as_any(path: str) -> str:
    """The same path to any element in place of a certain one: `items[0].sku` is `items[].sku`."""
    return _INDEX.sub("[]", path)


def is_expression(path: str) -> bool:
    """Whether something is to be calculated, such as `properties.total - properties.tax`: a path names one value."""
    return _CALCULATION.search(path) is not None


@lru_cache(maxsize=4_096)
def reader(path: str) -> Read:
    """A function from any JSON to the values that the path finds in it, without nulls: null counts as missing."""
    steps = steps_of(path)
    if all(isinstance(step, str) for step in steps):
        return _single_reader(tuple(str(step) for step in steps))
    return lambda root: _found(root, steps)


def _single_reader(keys: tuple[str, ...]) -> Read:
    if len(keys) == 1:
        return _member_reader(keys[0])

    def read(root: Any) -> list[Any]:
        for key in keys:
            if not isinstance(root, dict):
                return []
            root = root.get(key)
        return [] if root is None else [root]

    return read


def _member_reader(key: str) -> Read:
    def read(root: Any) -> list[Any]:
        value = root.get(key) if isinstance(root, dict) else None
        return [] if value is None else [value]

    return read


def _found(root: Any, steps: Steps) -> list[Any]:
    values = [root]
    for step in steps:
        if step is EACH:
            values = [element for value in values if isinstance(value, list) for element in value]
        elif isinstance(step, int):
            values = [value[step] for value in values if isinstance(value, list) and step < len(value)]
        else:
            values = [value.get(step) for value in values if isinstance(value, dict)]
    return [value for value in values if value is not None]
