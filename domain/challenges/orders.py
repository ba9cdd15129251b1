"""Orders as challenges count them: each once, and as all that was said of it has left it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from domain.identities import Stamp


@dataclass(frozen=True, slots=True)
class Statement:
    """What one event says of an order."""

    stamp: Stamp
    properties: Mapping[str, Any]


def as_it_stands(statements: Iterable[Statement]) -> dict[str, Any]:
    """The order's properties: each as the last statement has it that says anything of it. Null says nothing."""
    stands: dict[str, Any] = {}
    for each in sorted(statements, key=lambda each: each.stamp):
        stands |= {name: value for name, value in each.properties.items() if value is not None}
    return stands
