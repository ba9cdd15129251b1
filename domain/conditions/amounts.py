"""Amounts of money in aggregates: which paths name one, and those in one currency. Others are never added to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from domain.commerce import AMOUNTS, event_currency
from domain.conditions.model import AggregateIs
from domain.conditions.paths import reader, steps_of
from domain.money import stated_currency

AMOUNT_NAMES: Final = frozenset({*AMOUNTS, "amount", "price", "value"})
"""What shops call amounts of money in their events."""

_CALCULATES = ("sum", "avg", "min", "max")


def is_of_money(condition: AggregateIs) -> bool:
    """Whether the aggregate adds or compares amounts: its path names one, or a currency is written."""
    if condition.of is None or condition.aggregate not in _CALCULATES:
        return False
    return condition.currency is not None or steps_of(condition.of)[-1] in AMOUNT_NAMES


def holder_of(path: str) -> tuple[str, str] | None:
    """The path to what a member stands in, and the member; None where the path ends with an element of an array."""
    parent, _, name = path.rpartition(".")
    return (parent, name) if parent and isinstance(steps_of(path)[-1], str) else None


def amounts_reader(path: str, currency: str | None) -> Callable[[dict[str, Any], str], list[Any]]:
    """A function from an event and the shop's currency to the values at a path that are in one currency: the shop's,
    unless another is written.

    An amount's currency is the one that stands beside it, else the event's, else the shop's.
    """
    holder = holder_of(path)
    read = reader(path if holder is None else holder[0])

    def values(event: dict[str, Any], shop: str) -> list[Any]:
        wanted = currency or shop
        otherwise = event_currency(event["properties"]) or shop
        if holder is None:
            return read(event) if otherwise == wanted else []
        return [
            value
            for each in read(event)
            if isinstance(each, dict) and (value := each.get(holder[1])) is not None
            if (stated_currency(each.get("currency")) or otherwise) == wanted
        ]

    return values
