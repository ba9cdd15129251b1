"""Orders, the catalogue and money as shops send them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import reduce
from itertools import permutations
from typing import Any

import pytest

from domain.commerce import (
    CommerceEvent,
    OrderFold,
    fold_order,
    products_of,
)
from domain.identities import Stamp
from domain.ids import new_id
from domain.money import minor_units

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
ANN = new_id()


def event(name: str, minutes: int = 0, *, trusted: bool = True, **properties: Any) -> CommerceEvent:
    id_ = new_id()
    return CommerceEvent(id_, name, ANN, Stamp(NOON + timedelta(minutes=minutes), NOON, id_), properties, trusted)


@pytest.mark.parametrize(
    ("amount", "currency", "expected"),
    [
        (14.280000000000001, "EUR", 1428),
        ("49.90", "EUR", 4990),
        (0.125, "EUR", 12),
        (0.135, "EUR", 14),
        (1500, "JPY", 1500),
        (1.2345, "KWD", 1234),
        (True, "EUR", None),
        ("a lot", "EUR", None),
        (1e30, "EUR", None),
        (float("inf"), "EUR", None),
        (None, "EUR", None),
    ],
)
def test_money_is_rounded_half_even_to_its_own_minor_unit(amount: Any, currency: str, expected: int | None) -> None:
    assert minor_units(amount, currency) == expected


def test_an_order_ends_the_same_in_every_order_of_its_events() -> None:
    told = [
        event("Order Completed", 1, order_id="o", total=20, currency="EUR", coupon="A"),
        event("Order Updated", 5, order_id="o", total=30),
        event("Order Cancelled", 3, order_id="o"),
        event("Order Completed", 4, order_id="o", coupon="B"),
    ]
    ends = [_fold(order) for order in permutations(told)]
    assert all(end == ends[0] for end in ends)
    assert ends[0].amounts == {"total": 3000}
    assert (ends[0].coupon, ends[0].cancelled) == ("B", False)
    assert ends[0].completed_at == NOON + timedelta(minutes=1)


def _fold(events: Any) -> OrderFold:
    order: OrderFold | None = reduce(lambda order, each: fold_order(order, each, "EUR"), events, None)
    assert order is not None
    return order


def test_products_are_learned_from_the_event_and_its_list() -> None:
    told = event(
        "Order Completed", products=[{"sku": "s-1", "name": "Tea", "price": 4.5}, "nonsense", {"name": "No id"}]
    )
    [product] = products_of(told, "EUR")
    assert (product.product_id, product.described["name"], product.described["price"]) == ("s-1", "Tea", 450)
