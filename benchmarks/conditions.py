"""Predicates over one event's payload, judged in memory, against the same question written by hand in Python."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any  # payloads are any JSON

from pydantic import TypeAdapter

from benchmarks.figure import Figure
from benchmarks.world import World
from domain.conditions.memory import Scope, compile_where
from domain.conditions.model import Predicate

EVALUATIONS = 200_000
WHERE = [{"property": "price", "gte": 20}, {"property": "cart_id", "eq": {"entry": "properties.cart_id"}}]
PAYLOAD = {"price": 49.9, "cart_id": "c-1", "products": [{"sku": "a"}, {"sku": "b"}]}
SCOPE = Scope(
    as_of=datetime(2026, 1, 1, tzinfo=UTC), entry={"event": "Product Added", "properties": {"cart_id": "c-1"}}
)


async def measure(_: World) -> Sequence[Figure]:
    """One row."""
    judge = compile_where(TypeAdapter(list[Predicate]).validate_python(WHERE))
    ours = _per_second(lambda: judge(PAYLOAD, SCOPE))
    floor = _per_second(lambda: _by_hand(PAYLOAD, SCOPE))
    return [Figure("predicates over an event", ours, "events/s", floor, "two comparisons by hand")]


def _by_hand(payload: dict[str, Any], scope: Scope) -> bool:
    price, entry = payload.get("price"), scope.entry or {}
    is_dear = isinstance(price, int | float) and not isinstance(price, bool) and price >= 20
    return is_dear and payload.get("cart_id") == entry.get("properties", {}).get("cart_id")


def _per_second(evaluate: Callable[[], bool]) -> float:
    started = time.perf_counter()
    for _ in range(EVALUATIONS):
        evaluate()
    return EVALUATIONS / (time.perf_counter() - started)
