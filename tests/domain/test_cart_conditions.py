"""Conditions on the open cart: what it is worth, how much is in it, how long it has stood."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import TypeAdapter, ValidationError

from domain.carts import Cart, CartState
from domain.conditions.history import History
from domain.conditions.memory import compile_condition
from domain.conditions.model import Condition
from domain.conditions.scope import Scope
from domain.identities import Stamp

_CONDITION: TypeAdapter[Condition] = TypeAdapter(Condition)
NOW = datetime(2026, 5, 10, 12, tzinfo=UTC)
POT: dict[str, Any] = {"product_id": "pot", "price": 2_000, "quantity": 2, "currency": "EUR"}


def cart(*lines: dict[str, Any], cart_id: str = "c1", hours: float = 3, state: CartState = CartState.OPEN) -> Cart:
    """A cart that changed so many hours ago."""
    return Cart(cart_id, state, lines, Stamp(NOW - timedelta(hours=hours), NOW, UUID(int=1)))


def holds(condition: dict[str, Any], *carts: Cart, entry: dict[str, Any] | None = None, currency: str = "EUR") -> bool:
    history = History(customer_id=UUID(int=7), carts=carts, currency=currency)
    scope = Scope(as_of=NOW, entry={"event": "x", "properties": entry or {}})
    return compile_condition(_CONDITION.validate_python(condition))(history, scope)


def test_the_total_is_in_minor_units_of_one_currency() -> None:
    assert holds({"cart": "total", "eq": 4_000}, cart(POT))
    assert holds({"cart": "total", "eq": 4_000, "currency": "EUR"}, cart(POT), currency="JPY")
    assert not holds({"cart": "total", "gte": 0, "currency": "JPY"}, cart(POT))
    assert not holds({"cart": "total", "gte": 0}, cart(POT, {**POT, "currency": "JPY"}))
    assert not holds({"cart": "total", "gte": 0}, cart(POT, {**POT, "price": None}))


def test_a_cart_without_a_currency_of_its_own_is_in_the_shops() -> None:
    line = {key: value for key, value in POT.items() if key != "currency"}

    assert holds({"cart": "total", "eq": 4_000, "currency": "JPY"}, cart(line), currency="JPY")


def test_items_are_pieces() -> None:
    assert holds({"cart": "items", "eq": 3}, cart(POT, {**POT, "quantity": 1}))
    assert holds({"cart": "items", "eq": 0}, cart())


@pytest.mark.parametrize("figure", ["total", "items"])
def test_without_an_open_cart_there_is_no_figure(figure: str) -> None:
    ordered = cart(POT, state=CartState.ORDERED)

    assert not holds({"cart": figure, "gte": 0}, ordered)
    assert not holds({"cart": figure, "lt": 5})
    assert holds({"cart": figure, "exists": False}, ordered)


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        ({"gte": "3h"}, True),
        ({"gt": "3h"}, False),
        ({"lte": "3h"}, True),
        ({"lt": "3h"}, False),
        ({"between": ["2h", "1d"]}, True),
        ({"between": ["4h", "1d"]}, False),
        ({"gte": "1mo"}, False),
        ({"exists": True}, True),
    ],
)
def test_the_age_is_the_time_since_the_last_change(age: dict[str, Any], *, expected: bool) -> None:
    assert holds({"cart": "age", **age}, cart(POT)) is expected


def test_without_an_open_cart_there_is_no_age() -> None:
    assert not holds({"cart": "age", "lt": "10y"})
    assert holds({"cart": "age", "exists": False})


def test_the_cart_is_the_one_that_the_entry_names_else_the_latest() -> None:
    carts = [cart(POT, cart_id="old", hours=9), cart(POT, POT, cart_id="new", hours=1)]

    assert holds({"cart": "items", "eq": 4}, *carts)
    assert holds({"cart": "items", "eq": 2}, *carts, entry={"cart_id": "old"})
    assert holds({"cart": "items", "exists": False}, *carts, entry={"cart_id": "gone"})


def test_the_entry_names_a_cart_as_mails_read_it() -> None:
    carts = [cart(POT, cart_id="7", hours=9), cart(POT, POT, cart_id="8", hours=1)]

    assert holds({"cart": "items", "eq": 2}, *carts, entry={"cart_id": 7})
    assert holds({"cart": "items", "eq": 2}, *carts, entry={"cart_id": 7.0})
    assert holds({"cart": "items", "eq": 4}, *carts, entry={"cart_id": ""})


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"cart": "age", "gte": 3}, "an age is a length of time"),
        ({"cart": "age", "gte": "soon"}, "is not a duration"),
        ({"cart": "age", "eq": "3h"}, "compare the cart's age by"),
        ({"cart": "items", "contains": "x"}, "compare the cart's items by"),
        ({"cart": "items", "gte": 1, "currency": "EUR"}, "currency belongs to total"),
    ],
)
def test_what_no_cart_can_be_compared_with_is_said_in_words(written: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        _CONDITION.validate_python(written)
