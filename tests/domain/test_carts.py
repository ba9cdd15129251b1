"""Carts as the e-commerce events of a customer leave them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.carts import Cart, CartState, fold_carts, without_foreign_links
from domain.commerce import CommerceEvent
from domain.identities import Stamp
from domain.ids import new_id
from domain.shop_settings import ShopSettings

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
ANN = new_id()
SHIRT = {"product_id": "shirt", "name": "Shirt", "price": 20}


def event(event_name: str, minutes: int = 0, /, **properties: Any) -> CommerceEvent:
    id_ = new_id()
    stamp = Stamp(NOON + timedelta(minutes=minutes), NOON, id_)
    return CommerceEvent(id_, event_name, ANN, stamp, {"cart_id": "c", **properties}, trusted=True)


def added(minutes: int = 0, /, **properties: Any) -> CommerceEvent:
    return event("Product Added", minutes, **properties)


def removed(minutes: int = 0, /, **properties: Any) -> CommerceEvent:
    return event("Product Removed", minutes, **properties)


def cart_after(*events: CommerceEvent) -> Cart:
    carts, shop = dict[str, Cart](), ShopSettings()
    for each in events:
        carts |= fold_carts(carts, each, shop)
    return carts["c"]


def told(cart: Cart, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(line.get(name) for name in names) for line in cart.lines]


def test_a_cart_follows_what_is_put_in_and_taken_out_until_it_is_ordered() -> None:
    steps = [
        added(1, product_id="p", price=5, quantity=3),
        removed(2, product_id="p", quantity=1),
        added(3, product_id="q", price=1),
        removed(0, product_id="q"),
    ]
    assert told(cart_after(*steps), "product_id", "quantity", "price") == [("p", 2, 500), ("q", 1, 100)]
    ordered = event("Order Completed", 4, cart_id=None)
    assert cart_after(*steps, ordered).state is CartState.ORDERED
    assert told(cart_after(*steps, ordered, added(5, product_id="r")), "product_id") == [("r",)]
    assert told(cart_after(*steps, ordered, event("Cart Viewed", 5)), "product_id") == []


def test_at_one_instant_a_cart_ends_as_the_client_made_its_calls_whichever_comes_first() -> None:
    viewed, second = event("Cart Viewed", products=[{"product_id": "p"}]), added(product_id="q")
    ordered = event("Order Completed")
    for steps in ([viewed, second, ordered], [viewed, ordered, second], [ordered, viewed, second]):
        assert cart_after(*steps).state is CartState.ORDERED
    one, other = added(product_id="p"), added(product_id="p")
    for steps in ([one, other], [other, one]):
        assert told(cart_after(*steps), "quantity") == [(2,)]


@pytest.mark.parametrize("kind", ["variant", "sku"])
def test_two_variants_of_a_product_are_two_lines(kind: str) -> None:
    small, large = SHIRT | {kind: "S"}, SHIRT | {kind: "XL", "price": 25}
    cart = cart_after(added(1, **small), added(2, **large), added(3, **small))

    assert told(cart, kind, "quantity", "price") == [("S", 2, 2000), ("XL", 1, 2500)]
    assert told(cart_after(added(1, **small), added(2, **large), removed(3, **small)), kind) == [("XL",)]
    # Taken out without a word about which: the last one that was put in.
    without_kind = removed(3, product_id="shirt")
    assert told(cart_after(added(1, **small), added(2, **large), without_kind), kind) == [("S",)]


def test_a_sku_tells_the_variant_where_one_event_leaves_the_rest_out() -> None:
    whole = {"product_id": "shirt", "sku": "shirt-s", "variant": "S", "name": "Shirt", "price": 20}
    cart = cart_after(added(1, **whole), added(2, product_id="shirt", sku="shirt-s"), added(3, sku="shirt-s"))

    assert told(cart, "product_id", "variant", "name", "quantity") == [("shirt", "S", "Shirt", 3)]


def test_taking_out_what_has_no_price_leaves_the_lines_data() -> None:
    cart = cart_after(
        added(1, **SHIRT, quantity=3, image_url="https://shop.example/s.jpg"), removed(2, product_id="shirt")
    )

    assert told(cart, "name", "price", "image_url", "quantity") == [("Shirt", 2000, "https://shop.example/s.jpg", 2)]
    assert told(cart_after(added(1, **SHIRT), added(2, product_id="shirt")), "name", "price") == [("Shirt", 2000)]


def test_items_without_ids_are_lines_of_their_own() -> None:
    cart = cart_after(added(1, name="Cake", price=30), added(2, name="Candle", price=2), added(3, price=1))

    assert told(cart, "name", "quantity") == [("Cake", 1), ("Candle", 1), (None, 1)]
    assert told(cart_after(added(1, name="Cake"), added(2, name="Candle"), removed(3, name="Cake")), "name") == [
        ("Candle",)
    ]
    assert told(cart_after(added(1, name="Cake"), removed(2)), "name") == [("Cake",)]


def test_of_a_browsers_links_only_those_to_the_shops_hosts_are_kept() -> None:
    shop = ShopSettings(website="https://www.shop.example", link_domains=["shop.test"])
    there = ["https://shop.example/1", "https://pay.shop.test/2", "https://shop.example.evil.test/", "/cart", 7]
    kept = [{"checkout_url": url, "products": [{"url": url, "name": "Tea"}, "odd"]} for url in there[:2]]
    left = [{"products": [{"name": "Tea"}, "odd"]} for _ in there[2:]]

    said = [{"checkout_url": url, "products": [{"url": url, "name": "Tea"}, "odd"]} for url in there]
    assert [without_foreign_links(each, shop) for each in said] == kept + left
    assert [without_foreign_links(each, ShopSettings()) for each in said] == said


def test_every_line_keeps_its_own_currency() -> None:
    cart = cart_after(
        added(1, product_id="tea", price=6000, currency="JPY"),
        added(2, product_id="pot", price=12.5),
        event("Cart Viewed", 0, products=[{"product_id": "old"}]),
    )
    assert told(cart, "product_id", "price", "currency") == [("tea", 6000, "JPY"), ("pot", 1250, "EUR")]

    viewed = event(
        "Cart Viewed", currency="JPY", products=[{"price": 6000}, {"price": 7, "currency": "usd"}, {"price": 0.5}]
    )
    assert told(cart_after(viewed), "price", "currency") == [(6000, "JPY"), (700, "USD"), (0, "JPY")]
    alike = event("Checkout Started", products=[{"price": 6000, "currency": "JPY"}, {"price": 1, "currency": "JPY"}])
    assert told(cart_after(alike), "price", "currency") == [(6000, "JPY"), (1, "JPY")]


def test_a_price_that_comes_in_another_currency_replaces_both() -> None:
    yen, euro = {"price": 6000, "currency": "JPY"}, {"price": 40, "currency": "EUR"}
    both = cart_after(added(1, product_id="tea", **yen), added(2, product_id="tea", **euro))
    assert told(both, "price", "currency", "quantity") == [(4000, "EUR", 2)]
    silent = cart_after(added(1, product_id="tea", **yen), added(2, product_id="tea"))
    assert told(silent, "price", "currency", "quantity") == [(6000, "JPY", 2)]


def test_a_carts_link_stays_until_another_is_stated_or_the_cart_is_ordered() -> None:
    begun = event("Checkout Started", 1, checkout_url="https://shop.example/pay/1", products=[{"product_id": "p"}])
    more = added(2, product_id="q")
    assert cart_after(begun, more).url == "https://shop.example/pay/1"
    assert cart_after(begun, more, added(3, cart_url="https://shop.example/cart")).url == "https://shop.example/cart"
    assert cart_after(begun, event("Order Completed", 3), added(4, product_id="r")).url is None


def test_what_is_viewed_with_no_pieces_left_is_not_in_the_cart() -> None:
    viewed = event("Cart Viewed", products=[{"product_id": "p", "quantity": 0}, {"product_id": "q", "quantity": "2"}])
    assert told(cart_after(viewed), "product_id", "quantity") == [("q", 2)]


@pytest.mark.parametrize("quantity", ["2 Stk", 2.5, [], "1_0", -1])
def test_pieces_that_cannot_be_read_neither_come_nor_go(quantity: Any) -> None:
    cart = cart_after(added(1, product_id="p", quantity=3), added(2, product_id="p", name="Pot", quantity=quantity))
    assert told(cart, "name", "quantity") == [("Pot", 3)]
    if quantity != -1:
        gone = cart_after(added(1, product_id="p", quantity=3), removed(2, product_id="p", quantity=quantity))
        assert told(gone, "quantity") == [(3,)]
