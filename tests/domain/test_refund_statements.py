"""What a refund says of how much came back: nothing, an amount, or something that nobody understands."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from domain.refund_statements import Told, statement_of

ABOUT = {"order_id": "o-1", "refund_id": 7, "currency": "EUR"}


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"total": None, "products": [], "shipping": None, "tax": None, "items": [], "tags": []},
        {"reason": "2 cups broken", "affiliation": "Shop 24", "coupon": "10OFF", "note": "€5?", "customer": {"no": 5}},
        {"refunded_at": "2026-05-20", "refund_reason": 4, "refundDate": 1779235, "orderNumber": 1, "created": 1779235},
        {"refunded": True, "partial": False, "email": "ann@example.com", "payment_method": "card", "channel": "web"},
        {
            "status": "refunded",
            "comment": "partial damage",
            "invoice": 5,
            "context": {"ip": "192.0.2.1"},
            "labels": ["late"],
        },
    ],
)
def test_who_says_nothing_of_how_much_returns_everything(properties: dict[str, Any]) -> None:
    assert statement_of(ABOUT | properties).told is Told.ABSENT


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[
            (name, 5)
            for name in ("refunded", "subtotal", "price", "tax", "discount", "Total", "refundAmount", "montant")
        ],
        *[(name, "5,00 €") for name in ("grand_total", "fee", "betrag", "montant", "refundValue")],
        *[("refund", {"amount": 5}), ("refunds", [{"total": 5}]), ("data", {"refund": {"amount": 5}}), ("sums", [5])],
        *[(name, [{"id": "tea"}]) for name in ("items", "line_items", "refund_line_items", "lineItems", "returned")],
        *[("product_id", "tea"), ("quantity", 1), ("sku", "T-1"), ("line_item_ids", [4]), ("items", {}), ("tax", "")],
        *[
            ("total", []),
            ("total", {}),
            ("products", {}),
            ("products", "tea"),
            ("products", ["tea"]),
            ("amount", "5,-"),
        ],
        *[("partial", True), ("refund_type", "partial"), ("status", "Partially refunded"), ("shipping", "free")],
    ],
)
def test_what_is_stated_and_not_understood_is_not_everything(name: str, value: Any) -> None:
    stated = statement_of(ABOUT | {name: value})
    assert (stated.told, stated.place) == (Told.UNREADABLE, name)


@pytest.mark.parametrize("name", ["refund_amount", "refund_total", "amount_refunded", "refunded_amount", "total"])
def test_amounts_that_are_understood_need_nothing_else(name: str) -> None:
    stated = statement_of(ABOUT | {name: "-5.00", "tax": 1, "items": [{"id": "tea"}], "shipping": 2})
    assert (stated.told, stated.amount) == (Told.STATED, Decimal(5))


def test_products_that_are_understood_need_no_amount() -> None:
    assert statement_of({"products": [{"product_id": "tea"}], "tax": 1, "shipping": 2}).told is Told.ABSENT
