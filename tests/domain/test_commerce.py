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
    text_id,
)
from domain.identities import Stamp
from domain.ids import new_id
from domain.money import minor_units

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
ANN = new_id()


def event(event_name: str, minutes: int = 0, /, *, trusted: bool = True, **properties: Any) -> CommerceEvent:
    id_ = new_id()
    return CommerceEvent(id_, event_name, ANN, Stamp(NOON + timedelta(minutes=minutes), NOON, id_), properties, trusted)


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


def test_what_names_no_currency_is_in_the_orders_whichever_comes_first() -> None:
    told = [
        event("Order Completed", 1, order_id="o", total=6000, currency="JPY", products=[{"sku": "s", "price": 3000}]),
        event("Order Updated", 5, order_id="o", total="5500", currency=None),
        event("Order Updated", 3, order_id="o", shipping=500),
    ]
    ends = [_fold(order) for order in permutations(told)]
    assert all(end == ends[0] for end in ends)
    assert (ends[0].currency, ends[0].amounts) == ("JPY", {"total": 5500, "shipping": 500})
    assert ends[0].lines[0]["price"] == 3000


def test_an_order_is_in_the_currency_that_all_of_its_products_state() -> None:
    yen = {"price": 3000, "currency": "JPY"}
    order = _fold([event("Order Completed", order_id="o", total=6000, products=[yen, yen])])
    assert (order.currency, order.amounts, order.lines[0]["price"]) == ("JPY", {"total": 6000}, 3000)


def test_a_price_in_another_currency_than_the_orders_counts_nothing() -> None:
    lines = [{"price": 3000, "currency": "JPY"}, {"price": 10, "currency": "EUR"}, {"price": 5}]
    order = _fold([event("Order Completed", order_id="o", total=15, currency="EUR", products=lines)])
    assert [line["price"] for line in order.lines] == [None, 1000, 500]


@pytest.mark.parametrize("quantity", ["x", 2.5, "3,0", "1_0", [], {}, ""])
def test_a_quantity_that_cannot_be_read_counts_no_piece(quantity: Any) -> None:
    lines = [{"sku": "a", "price": 5, "quantity": quantity}, {"sku": "b", "price": 5, "quantity": None}, {"sku": "c"}]
    order = _fold([event("Order Completed", order_id="o", products=lines)])
    assert [line["quantity"] for line in order.lines] == [0, 1, 1]


@pytest.mark.parametrize(
    ("written", "id_"),
    [
        *[(1001, "1001"), (1001.0, "1001"), ("1001.0", "1001"), (" 1001\n", "1001"), ("\u00a0#1001.0 ", "#1001.0")],
        *[("0.0", "0.0"), ("007.0", "007.0"), ("1001.00", "1001.00"), ("v1.0", "v1.0"), ("10.0.0", "10.0.0")],
        *[(word, None) for word in ("undefined", "NULL", " NaN ", "None", "[object Object]", " ", "")],
        *[(1.5, None), (True, None), ([], None)],
    ],
)
def test_an_id_is_read_the_same_however_it_is_written(written: Any, id_: str | None) -> None:
    assert text_id(written) == id_


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


def test_a_products_price_is_kept_in_the_currency_that_was_stated_for_it() -> None:
    viewed = event("Product Viewed", product_id="tea", price=6000, currency="JPY")
    listed = [{"sku": "a", "price": 7, "currency": None}, {"sku": "b", "price": 7, "currency": "USD"}]
    ordered = event("Order Completed", currency="JPY", products=listed)
    found = [each.described for told in (viewed, ordered) for each in products_of(told, "EUR")]
    assert [(each["price"], each["currency"]) for each in found] == [(6000, "JPY"), (7, "JPY"), (700, "USD")]


def test_a_product_of_a_list_may_be_named_by_a_bare_id() -> None:
    order = _fold([event("Order Completed", order_id="o", products=[{"id": 12.0}, {"sku": "s", "id": 3}])])
    assert [line["product_id"] for line in order.lines] == ["12", "s"]
    assert products_of(event("Product Review Written", id="review-1", name="Nice"), "EUR") == []
