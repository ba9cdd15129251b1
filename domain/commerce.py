"""Orders, refunds, carts, views and the catalogue, read from Segment's e-commerce events (spec v2).

An order is a fold: each field is what its last writer by (time, sent, event id) said, so late and repeated events end
in the same order. Only trusted sources make orders and refunds; a browser's word creates nothing of value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any
from uuid import UUID

from domain.customers import Written, written
from domain.identities import Stamp
from domain.money import BLANKS, amount_of, currency_of, digits_of, minor_units, stated_currency

ORDER_COMPLETED = "Order Completed"
ORDER_UPDATED = "Order Updated"
ORDER_CANCELLED = "Order Cancelled"
ORDER_REFUNDED = "Order Refunded"
PRODUCT_VIEWED = "Product Viewed"
ORDER_EVENTS = frozenset({ORDER_COMPLETED, ORDER_UPDATED, ORDER_CANCELLED})
TELLS_ORDERS = frozenset({ORDER_COMPLETED, ORDER_UPDATED})
MAKES_ORDERS = ORDER_EVENTS | {ORDER_REFUNDED}

AMOUNTS = ("total", "subtotal", "revenue", "shipping", "tax", "discount")
LONGEST_ID = 500
NO_IDS = frozenset({"undefined", "null", "none", "nan", "[object object]"})
WHOLE_FLOAT = "^([1-9][0-9]*)[.]0$"


class OrderState(StrEnum):
    """What became of an order."""

    STARTED = "started"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"
    PARTIALLY_REFUNDED = "partially_refunded"


@dataclass(frozen=True, slots=True)
class CommerceEvent:
    """One e-commerce event of a customer."""

    id: UUID
    name: str
    customer_id: UUID
    stamp: Stamp
    properties: Mapping[str, Any]
    trusted: bool

    @property
    def makes_orders(self) -> bool:
        """Whether it counts for orders and refunds: a browser's word does not."""
        return self.trusted and self.name in MAKES_ORDERS


@dataclass(frozen=True, slots=True)
class OrderFold:
    """An order so far. `writers` names for each field its last writer, and for `customer` the first."""

    order_id: str
    customer_id: UUID
    currency: str
    amounts: Mapping[str, int | None] = field(default_factory=dict)
    coupon: str | None = None
    lines: Sequence[Mapping[str, Any]] = ()
    completed_at: datetime | None = None
    cancelled: bool = False
    writers: Mapping[str, Written] = field(default_factory=dict)

    def state(self, refunded: int, returned: Fraction) -> OrderState:
        """Cancelled beats refunded beats completed. Refunded: nothing is left of its goods (domain/refunds.py)."""
        if self.cancelled:
            return OrderState.CANCELLED
        if returned == 1:
            return OrderState.REFUNDED
        if refunded or returned:
            return OrderState.PARTIALLY_REFUNDED
        return OrderState.STARTED if self.completed_at is None else OrderState.COMPLETED


@dataclass(frozen=True, slots=True)
class ProductFact:
    """A product as one event describes it; None where it says nothing."""

    product_id: str
    described: Mapping[str, Any]  # sku, name, category, brand, price, currency, url, image_url
    attributes: Mapping[str, Any]
    at: datetime
    trusted: bool


def order_id_of(event: CommerceEvent) -> str | None:
    """The shop's own id of the order that the event tells about."""
    return text_id(event.properties.get("order_id"))


def text_id(value: Any) -> str | None:
    """An id as text, without the blanks around it: shops send numbers too, and 1001.0 is 1001, also in a text, which is
    what table software makes of a number. None if it is neither, absurdly long, or what programs write for no value.

    The same in SQL: database/order_ids.py.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    written = str(value).strip(BLANKS)
    id_ = re.sub(WHOLE_FLOAT, r"\1", written)
    return id_ if 0 < len(id_) <= LONGEST_ID and id_.lower() not in NO_IDS else None


def event_currency(properties: Mapping[str, Any]) -> str | None:
    """The currency that an event states, itself or by all of its products alike; None where it states none."""
    if (own := stated_currency(properties.get("currency"))) is not None:
        return own
    products = properties.get("products")
    listed = products if isinstance(products, list) else []
    of_products = {stated_currency(each.get("currency")) for each in listed if isinstance(each, Mapping)}
    return of_products.pop() if len(of_products) == 1 else None


def fold_order(order: OrderFold | None, event: CommerceEvent, default_currency: str) -> OrderFold | None:
    """The order after one more of its events; None if the event names no order."""
    order_id = order_id_of(event)
    if order_id is None:
        return order
    now = written(event.stamp)
    if order is None:
        order = OrderFold(order_id, event.customer_id, default_currency, writers={"customer": now})
    elif now < tuple(order.writers.get("customer", now)):
        order = replace(order, customer_id=event.customer_id, writers={**order.writers, "customer": now})
    if (currency := event_currency(event.properties)) is not None:
        order = _write(order, "currency", currency, now)
    for name, value in _told(event, order.currency).items():
        order = _write(order, name, value, now)
    if event.name == ORDER_COMPLETED:
        first = min(order.completed_at or event.stamp.timestamp, event.stamp.timestamp)
        order = replace(order, completed_at=first)
    return order


def _told(event: CommerceEvent, currency: str) -> dict[str, Any]:
    """The fields that an event tells, in the order's currency; those it is silent about stay as they were."""
    properties = event.properties
    told: dict[str, Any] = {
        name: minor_units(properties[name], currency) for name in AMOUNTS if properties.get(name) is not None
    }
    if isinstance(properties.get("coupon"), str):
        told["coupon"] = properties["coupon"]
    if isinstance(properties.get("products"), list):
        told["lines"] = lines_of(properties["products"], currency)
    if event.name != ORDER_UPDATED:
        told["cancelled"] = event.name == ORDER_CANCELLED
    return told


def _write(order: OrderFold, name: str, value: Any, now: Written) -> OrderFold:
    if now <= tuple(order.writers.get(name, ())):
        return order
    writers = {**order.writers, name: now}
    if name in AMOUNTS:
        return replace(order, amounts={**order.amounts, name: value}, writers=writers)
    match name:
        case "currency":
            return replace(_restated(order, value), writers=writers)
        case "coupon":
            return replace(order, coupon=value, writers=writers)
        case "lines":
            return replace(order, lines=value, writers=writers)
        case _:
            return replace(order, cancelled=value, writers=writers)


def _restated(order: OrderFold, currency: str) -> OrderFold:
    """The order in the currency that it turns out to be in: what was said before was said in major units of it."""
    by = digits_of(currency) - digits_of(order.currency)

    def minor(amount: int | None) -> int | None:
        return None if amount is None else int(Decimal(amount).scaleb(by).to_integral_value(ROUND_HALF_EVEN))

    amounts = {name: minor(amount) for name, amount in order.amounts.items()}
    lines = [{**line, "price": minor(line.get("price"))} for line in order.lines]
    return replace(order, currency=currency, amounts=amounts, lines=lines)


def lines_of(products: Sequence[Any], currency: str) -> list[dict[str, Any]]:
    """The lines of an order: each product with its price in minor units and its quantity.

    The quantity is 1 where none is stated, 0 where one cannot be read, and negative for what an order takes back. A
    price that is stated in another currency than the order's is none: nothing adds the two up.
    """
    return [_line(product, currency) for product in products if isinstance(product, Mapping)]


def cart_lines_of(products: Sequence[Any], currency: str) -> list[dict[str, Any]]:
    """The lines of a cart, each with its own `currency`: `currency` is what the event states for all of them."""
    objects = [product for product in products if isinstance(product, Mapping)]
    own = [currency_of(product.get("currency"), currency) for product in objects]
    return [{**_line(product, each), "currency": each} for product, each in zip(objects, own, strict=True)]


def returned_lines_of(products: Any, currency: str) -> list[dict[str, Any]]:
    """The products of a refund, without their signs. What is stated and cannot be read stays, as a line of nothing.

    What is no list is not read, here as in orders and carts.
    """
    if products in (None, []):
        return []
    listed = products if isinstance(products, list) else [None]
    return [_returned_line(product if isinstance(product, Mapping) else {}, currency) for product in listed]


def _returned_line(product: Mapping[str, Any], currency: str) -> dict[str, Any]:
    line = _line(product, currency)
    price = line["price"]
    return {**line, "quantity": abs(line["quantity"]), "price": None if price is None else abs(price)}


def _line(product: Mapping[str, Any], currency: str) -> dict[str, Any]:
    kept = {
        name: product[name]
        for name in ("name", "category", "brand", "url", "image_url", "coupon")
        if isinstance(product.get(name), str)
    }
    kept |= {name: id_ for name in ("sku", "variant") if (id_ := text_id(product.get(name))) is not None}
    quantity = product.get("quantity")
    is_its_own = currency_of(product.get("currency"), currency) == currency
    return {
        **kept,
        "product_id": product_id_of(product),
        "price": minor_units(product.get("price"), currency) if is_its_own else None,
        "quantity": 1 if quantity is None else whole_number(quantity) or 0,
    }


def whole_number(value: Any) -> int | None:
    """A number of pieces as shops write it: 3, 3.0 or "3"; None if it is none."""
    amount = amount_of(value)
    return int(amount) if amount is not None and amount == amount.to_integral_value() else None


def product_id_of(product: Mapping[str, Any]) -> str | None:
    """The shop's id of a product; its sku, or what it calls `id`, where that is all there is."""
    return next((id_ for name in ("product_id", "sku", "id") if (id_ := text_id(product.get(name))) is not None), None)


def products_of(event: CommerceEvent, default_currency: str) -> list[ProductFact]:
    """The products that an event describes: its own properties, or its `products`."""
    listed = event.properties.get("products")
    described = [each for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []
    is_named = not {"product_id", "sku"}.isdisjoint(event.properties)  # a bare `id` may be that of something else
    own = [event.properties] if event.name.startswith("Product ") and is_named else []
    facts = (_product(each, event, default_currency) for each in [*own, *described])
    return [fact for fact in facts if fact is not None and any(fact.described.values())]


def _product(product: Mapping[str, Any], event: CommerceEvent, default_currency: str) -> ProductFact | None:
    product_id = product_id_of(product)
    if product_id is None:
        return None
    currency = currency_of(product.get("currency"), event_currency(event.properties) or default_currency)
    price = minor_units(product.get("price"), currency)
    texts = {name: _text(product.get(name)) for name in ("sku", "name", "category", "brand", "url", "image_url")}
    priced = {"price": price, "currency": None if price is None else currency}
    attributes = {name: product[name] for name in ("variant",) if isinstance(product.get(name), str)}
    return ProductFact(product_id, {**texts, **priced}, attributes, event.stamp.timestamp, event.trusted)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
