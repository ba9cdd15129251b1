"""What stands in a cart, folded from the e-commerce events of a customer in routing order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from domain.commerce import ORDER_COMPLETED, CommerceEvent, cart_lines_of, event_currency, text_id
from domain.identities import Stamp
from domain.link_hosts import LinkHosts
from domain.shop_settings import ShopSettings

PRODUCT_ADDED = "Product Added"
PRODUCT_REMOVED = "Product Removed"
CART_VIEWED = "Cart Viewed"
CHECKOUT_STARTED = "Checkout Started"
CART_EVENTS = frozenset({PRODUCT_ADDED, PRODUCT_REMOVED, CART_VIEWED, CHECKOUT_STARTED, ORDER_COMPLETED})


_LINKS = frozenset({"checkout_url", "cart_url", "url"})
_PIECES = frozenset({PRODUCT_ADDED, PRODUCT_REMOVED})

Line = Mapping[str, Any]  # a line of commerce.py, with its currency


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
    lines: Sequence[Line]
    changed: Stamp  # of the latest event that changed it
    url: str | None = None  # where shopping goes on, as events stated it last


def cart_id_of(properties: Mapping[str, Any]) -> str:
    """The shop's id of the cart, or empty."""
    return text_id(properties.get("cart_id")) or ""


def without_foreign_links(properties: Mapping[str, Any], shop: ShopSettings) -> Mapping[str, Any]:
    """What a browser says, without the links of cart and products that lead elsewhere than to the shop's own hosts.

    Anybody can send it, and mails of the shop show it. Of a shop that names no host of its own every link is kept.
    """
    hosts = LinkHosts.of((), website=shop.website, domains=shop.link_domains)
    listed = properties.get("products")
    kept = {
        name: value
        for name, value in properties.items()
        if name not in _LINKS or not hosts.domains or (isinstance(value, str) and hosts.allow(value))
    }
    if isinstance(listed, list):
        kept["products"] = [without_foreign_links(each, shop) if isinstance(each, Mapping) else each for each in listed]
    return kept


def cart_link_of(properties: Mapping[str, Any]) -> str | None:
    """Where shopping goes on: the checkout if the event states one, else the cart."""
    stated = (properties.get(name) for name in ("checkout_url", "cart_url"))
    return next((url for url in stated if isinstance(url, str) and url), None)


def fold_carts(carts: Mapping[str, Cart], event: CommerceEvent, shop: ShopSettings) -> dict[str, Cart]:
    """The carts of a customer that change with this event. A late event never undoes what a later one said.

    Pieces that were added or taken out at the same instant as the last change count whichever comes first.
    """
    if not event.trusted:
        event = replace(event, properties=without_foreign_links(event.properties, shop))
    cart_id, stamp = cart_id_of(event.properties), event.stamp
    if event.name == ORDER_COMPLETED and not cart_id:
        return {
            key: replace(cart, state=CartState.ORDERED, changed=stamp)
            for key, cart in carts.items()
            if cart.state is not CartState.ORDERED and cart.changed <= stamp
        }
    cart = carts.get(cart_id, Cart(cart_id, CartState.OPEN, (), stamp))
    changed = _changed(cart, event, shop.currency)
    if stamp >= cart.changed:
        return {cart_id: replace(changed, changed=stamp)}
    if stamp.timestamp < cart.changed.timestamp or event.name not in _PIECES or cart.state is CartState.ORDERED:
        return {}
    return {cart_id: replace(changed, state=cart.state, url=cart.url or changed.url)}


def _changed(cart: Cart, event: CommerceEvent, default_currency: str) -> Cart:
    if event.name == ORDER_COMPLETED:
        return replace(cart, state=CartState.ORDERED)
    if cart.state is CartState.ORDERED:  # what comes after an order begins anew
        cart = replace(cart, lines=(), url=None)
    state = CartState.CHECKOUT if event.name == CHECKOUT_STARTED else CartState.OPEN
    cart = replace(cart, state=state, url=cart_link_of(event.properties) or cart.url)
    currency = event_currency(event.properties) or default_currency
    if event.name in _PIECES:
        [line] = cart_lines_of([event.properties], currency)
        if event.name == PRODUCT_ADDED:
            return replace(cart, lines=_with(cart.lines, line, max(line["quantity"], 0)))
        return replace(cart, lines=_without(cart.lines, line, abs(line["quantity"])))
    listed = event.properties.get("products")
    if not isinstance(listed, list):
        return cart
    return replace(cart, lines=[line for line in cart_lines_of(listed, currency) if line["quantity"] > 0])


def _with(lines: Sequence[Line], line: Line, pieces: int) -> Sequence[Line]:
    """The lines with more pieces of one product. What this event says of it replaces what was said before."""
    at = next((at for at, each in enumerate(lines) if _is_same(each, line)), None)
    if at is None:
        return [*lines, {**line, "quantity": pieces}] if pieces else lines
    silent = {"product_id", "quantity", *(("currency",) if line["price"] is None else ())}
    told = {name: value for name, value in line.items() if value is not None and name not in silent}
    return [*lines[:at], {**lines[at], **told, "quantity": lines[at]["quantity"] + pieces}, *lines[at + 1 :]]


def _without(lines: Sequence[Line], line: Line, pieces: int) -> Sequence[Line]:
    """The lines with fewer pieces of one product, which keeps all that was said of it; with none left it goes.

    Where the event does not say which kind of the product was taken out, it is the last one that was put in.
    """
    for is_match in (_is_same, _may_be):
        for at, each in reversed(list(enumerate(lines))):
            if is_match(each, line):
                left = each["quantity"] - pieces
                return [*lines[:at], *([{**each, "quantity": left}] if left > 0 else ()), *lines[at + 1 :]]
    return lines


def _is_same(one: Line, other: Line) -> bool:
    """One product in one variant. What has no id is never the same as anything."""
    if not _is_one_product(one, other):
        return False
    for name in ("sku", "variant"):
        pair = (one.get(name), other.get(name))
        if None not in pair:
            return pair[0] == pair[1]
    return all(each.get(name) is None for each in (one, other) for name in ("sku", "variant"))


def _may_be(one: Line, other: Line) -> bool:
    """The product, or what has its name if neither has an id, where nothing says that it is another kind of it."""
    ids = (one["product_id"], other["product_id"])
    is_named = ids == (None, None) and one.get("name") is not None and one.get("name") == other.get("name")
    pairs = [(one.get(name), other.get(name)) for name in ("sku", "variant")]
    return (is_named or _is_one_product(one, other)) and all(None in pair or pair[0] == pair[1] for pair in pairs)


def _is_one_product(one: Line, other: Line) -> bool:
    """By the product's id, which is the sku where an event states nothing else."""
    ids, others = ({each["product_id"], each.get("sku")} - {None} for each in (one, other))
    return one["product_id"] in others or other["product_id"] in ids
