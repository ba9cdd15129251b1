"""What e-commerce events state that nobody can read: money, currencies, quantities and products. It counts nothing.

The event is taken all the same; the shop hears of it in the answer to its call.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from domain.carts import CART_EVENTS, PRODUCT_ADDED
from domain.commerce import AMOUNTS, MAKES_ORDERS, ORDER_REFUNDED, event_currency, text_id, whole_number
from domain.money import UNKNOWN_CURRENCY, amount_of, stated_currency
from domain.refund_statements import REFUND_AMOUNTS, SHIPPING, Told, statement_of


@dataclass(frozen=True, slots=True)
class Misread:
    """One kind of what cannot be read, and where it stands first. `message` says what to write instead."""

    code: str
    message: str


def misread(name: str, properties: Mapping[str, Any]) -> list[Misread]:
    """What this event states and nobody can read, each kind once; nothing for events that are not about goods."""
    if not (name in MAKES_ORDERS or name in CART_EVENTS or name.startswith("Product ")):
        return []
    found: dict[str, Misread] = {}
    for each in _misread(name, properties):
        found.setdefault(each.code, each)
    return list(found.values())


def _misread(name: str, properties: Mapping[str, Any]) -> Iterator[Misread]:
    if name in MAKES_ORDERS and text_id(properties.get("order_id")) is None:
        yield Misread("order_id_missing", "order_id: an order without an id is not kept; write a text or whole number")
    if name == ORDER_REFUNDED:
        yield from _refund(properties)
    else:
        for amount in AMOUNTS:
            yield from _amount(amount, properties.get(amount), "amount")
        yield from _less_than_nothing(name, properties)
    yield from _product("", properties)
    if name == PRODUCT_ADDED and (whole_number(properties.get("quantity")) or 0) < 0:
        words = "nothing is added by less than no pieces; send Product Removed for what is taken out"
        yield Misread("quantity_unreadable", f"quantity: {words}")
    products = properties.get("products")
    if products is not None and not isinstance(products, list):
        yield Misread("products_unreadable", "products: write a list of objects")
    for position, product in enumerate(products if isinstance(products, list) else []):
        if isinstance(product, Mapping):
            yield from _product(f"products[{position}].", product)
        else:
            yield Misread("products_unreadable", f"products[{position}]: write an object")
    if name in MAKES_ORDERS:
        yield from _other_currencies(properties)


def _less_than_nothing(name: str, properties: Mapping[str, Any]) -> Iterator[Misread]:
    for place in ("total", "subtotal", "revenue") if name in MAKES_ORDERS else ():
        amount = amount_of(properties.get(place))
        if amount is not None and amount < 0:
            words = "no order is worth less than nothing; send Order Refunded for what comes back"
            yield Misread("amount_negative", f"{place}: {words}")


def _refund(properties: Mapping[str, Any]) -> Iterator[Misread]:
    for amount in (*REFUND_AMOUNTS, SHIPPING):
        yield from _amount(amount, properties.get(amount), "refund")
    stated = statement_of(properties)
    if stated.told is Told.UNREADABLE:
        words = "write how much comes back as total, or what as products; this refund gives back nothing"
        yield Misread("refund_unreadable", f"{stated.place}: {words}")


def _other_currencies(properties: Mapping[str, Any]) -> Iterator[Misread]:
    """An order has one currency; carts have one for each line."""
    expected = event_currency(properties)
    products = properties.get("products")
    for position, product in enumerate(products if isinstance(products, list) else []):
        own = stated_currency(product.get("currency")) if isinstance(product, Mapping) else None
        expected = expected or own
        if own not in (None, expected, UNKNOWN_CURRENCY):
            words = f"products[{position}].currency: a price in another currency than the order's counts nothing"
            yield Misread("currency_differs", words)


def _product(place: str, product: Mapping[str, Any]) -> Iterator[Misread]:
    currency = product.get("currency")
    if stated_currency(currency) == UNKNOWN_CURRENCY:
        code = "currency_unknown" if re.fullmatch(r"\s*[A-Za-z]{3}\s*", str(currency)) else "currency_unreadable"
        yield Misread(code, f"{place}currency: write an ISO 4217 code such as EUR")
    yield from _amount(f"{place}price", product.get("price"), "amount")
    quantity = product.get("quantity")
    if quantity is not None and whole_number(quantity) is None:
        yield Misread("quantity_unreadable", f"{place}quantity: write a whole number such as 3")


def _amount(place: str, value: Any, kind: str) -> Iterator[Misread]:
    if value is not None and amount_of(value) is None:
        yield Misread(f"{kind}_unreadable", f"{place}: write an amount such as 49.90, with a point and no currency")
