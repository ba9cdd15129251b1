"""What shops are told that nobody can read of their e-commerce events."""

from __future__ import annotations

from typing import Any

import pytest

from domain.misread import misread

ORDER = {"order_id": "o-1", "total": 49.9, "currency": "EUR", "products": [{"product_id": "tea", "quantity": "3"}]}


@pytest.mark.parametrize(
    ("name", "properties", "codes"),
    [
        ("Order Completed", ORDER, []),
        ("Order Completed", ORDER | {"order_id": 1001.0, "total": "49.90", "currency": "Euro", "tax": None}, []),
        ("Order Refunded", {"order_id": "o-1", "amount": -10, "products": []}, []),
        ("Order Refunded", {"order_id": "o-1", "total": "10,00"}, ["refund_unreadable"]),
        ("Order Refunded", {"order_id": "o-1", "shipping": "free"}, ["refund_unreadable"]),
        ("Order Refunded", {"order_id": "o-1", "total": []}, ["refund_unreadable"]),
        ("Order Refunded", {"order_id": "o-1", "line_items": [{"id": 1}]}, ["refund_unreadable"]),
        ("Order Refunded", {"order_id": "o-1", "products": {}}, ["refund_unreadable", "products_unreadable"]),
        ("Order Refunded", {"order_id": "o-1", "products": [{"sku": "a"}], "tax": 1, "reason": "broken"}, []),
        ("Order Completed", ORDER | {"total": "EUR 10"}, ["amount_unreadable"]),
        ("Order Completed", ORDER | {"total": {}}, ["amount_unreadable"]),
        ("Order Completed", ORDER | {"total": "-130"}, ["amount_negative"]),
        ("Order Completed", ORDER | {"discount": -5}, []),
        ("Order Completed", ORDER | {"currency": "$"}, ["currency_unreadable"]),
        ("Order Completed", ORDER | {"order_id": None}, ["order_id_missing"]),
        ("Order Completed", ORDER | {"products": "tea"}, ["products_unreadable"]),
        (
            "Order Completed",
            ORDER | {"products": [{"price": "1,50"}, "tea"]},
            ["amount_unreadable", "products_unreadable"],
        ),
        ("Product Added", {"product_id": "tea", "price": 4, "quantity": 2.5}, ["quantity_unreadable"]),
        ("Checkout Started", {"products": [{"quantity": "some"}, {"quantity": "few"}]}, ["quantity_unreadable"]),
        ("Product Added", {"product_id": "tea", "quantity": []}, ["quantity_unreadable"]),
        ("Product Added", {"product_id": "tea", "quantity": -1}, ["quantity_unreadable"]),
        ("Product Removed", {"product_id": "tea", "quantity": -1}, []),
        ("Product Added", {"product_id": "tea", "currency": "$"}, ["currency_unreadable"]),
        ("Product Added", {"product_id": "tea", "currency": "yen"}, ["currency_unknown"]),
        ("Order Completed", ORDER | {"currency": ""}, ["currency_unreadable"]),
        ("Order Completed", ORDER | {"currency": []}, ["currency_unreadable"]),
        ("Order Completed", ORDER | {"total": "49_90"}, ["amount_unreadable"]),
        ("Order Completed", ORDER | {"products": [{"price": 1, "currency": "JPY"}]}, ["currency_differs"]),
        (
            "Order Completed",
            {"order_id": "o", "products": [{"currency": "EUR"}, {}, {"currency": "JPY"}]},
            ["currency_differs"],
        ),
        ("Order Completed", {"order_id": "o", "products": [{"currency": "JPY"}, {"currency": "jpy"}, {}]}, []),
        ("Cart Viewed", {"products": [{"currency": "JPY"}, {"currency": "EUR"}]}, []),
        ("Newsletter Read", {"total": "10,00", "currency": "$", "quantity": "some"}, []),
    ],
)
def test_only_what_is_stated_and_cannot_be_read_is_told(
    name: str, properties: dict[str, Any], codes: list[str]
) -> None:
    assert [each.code for each in misread(name, properties)] == codes


def test_a_warning_says_where_and_what_to_write() -> None:
    [found] = misread("Order Completed", ORDER | {"products": [{"price": 1}, {"price": "1,50"}]})
    assert found.message == "products[1].price: write an amount such as 49.90, with a point and no currency"


def test_a_warning_names_what_of_a_refund_is_not_understood() -> None:
    [found] = misread("Order Refunded", {"order_id": "o-1", "refund": {"amount": 5}})
    assert found.message == (
        "refund: write how much comes back as total, or what as products; this refund gives back nothing"
    )
