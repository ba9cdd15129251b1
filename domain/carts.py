"""What stands in a cart, folded from the e-commerce events of a customer in routing order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from domain.commerce import ORDER_COMPLETED, CommerceEvent, lines_of, text_id
from domain.identities import Stamp
from domain.money import currency_of

PRODUCT_ADDED = "Product Added"
PRODUCT_REMOVED = "Product Removed"
CART_VIEWED = "Cart Viewed"
CHECKOUT_STARTED = "Checkout Started"
CART_EVENTS = frozenset({PRODUCT_ADDED, PRODUCT_REMOVED, CART_VIEWED, CHECKOUT_STARTED, ORDER_COMPLETED})


_PIECES = frozenset({PRODUCT_ADDED, PRODUCT_REMOVED})


class CartState(StrEnum):
    """How far a cart has come."""

    OPEN = "open"
    CHECKOUT = "checkout"
    ORDERED = "ordered"


@dataclass(frozen=True, slots=True)
class Cart:
    """One cart; `cart_id` is empty where the shop sends none."""

    cart_id: str
    state: CartState
    lines: Sequence[Mapping[str, Any]]
    changed: Stamp  # of the latest event that changed it


def cart_id_of(event: CommerceEvent) -> str:
    """The shop's id of the cart, or empty."""
    return text_id(event.properties.get("cart_id")) or ""


def fold_carts(carts: Mapping[str, Cart], event: CommerceEvent, default_currency: str) -> dict[str, Cart]:
    """The carts of a customer that change with this event. A late event never undoes what a later one said.

    Pieces that were added or taken out at the same instant as the last change count whichever comes first.
    """
    cart_id, stamp = cart_id_of(event), event.stamp
    if event.name == ORDER_COMPLETED and not cart_id:
        return {
            key: replace(cart, state=CartState.ORDERED, changed=stamp)
            for key, cart in carts.items()
            if cart.state is not CartState.ORDERED and cart.changed <= stamp
        }
    cart = carts.get(cart_id, Cart(cart_id, CartState.OPEN, (), stamp))
    changed = _changed(cart, event, default_currency)
    if stamp >= cart.changed:
        return {cart_id: replace(changed, changed=stamp)}
    if stamp.timestamp < cart.changed.timestamp or event.name not in _PIECES or cart.state is CartState.ORDERED:
        return {}
    return {cart_id: replace(changed, state=cart.state)}


def _changed(cart: Cart, event: CommerceEvent, default_currency: str) -> Cart:
    currency = currency_of(event.properties.get("currency"), default_currency)
    listed = event.properties.get("products")
    match event.name:
        case "Product Added" | "Product Removed":
            [line] = lines_of([event.properties], currency)
            before = () if cart.state is CartState.ORDERED else cart.lines
            pieces = abs(line["quantity"]) * (1 if event.name == PRODUCT_ADDED else -1)
            return replace(cart, state=CartState.OPEN, lines=_with(before, line, pieces))
        case "Order Completed":
            return replace(cart, state=CartState.ORDERED)
        case name:
            state = CartState.CHECKOUT if name == CHECKOUT_STARTED else CartState.OPEN
            return replace(
                cart, state=state, lines=lines_of(listed, currency) if isinstance(listed, list) else cart.lines
            )


def _with(lines: Sequence[Mapping[str, Any]], line: Mapping[str, Any], pieces: int) -> list[Mapping[str, Any]]:
    """The lines with so many pieces more (or less) of one product; a line with nothing left goes."""
    same = [each for each in lines if each.get("product_id") == line["product_id"]]
    others = [each for each in lines if each.get("product_id") != line["product_id"]]
    quantity = sum(each["quantity"] for each in same) + pieces
    return [*others, {**line, "quantity": quantity}] if quantity > 0 else others
