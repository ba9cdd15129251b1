"""Segment's e-commerce spec v1, which old plug-ins still send, in the words of v2.

What an event calls by the old names stays beside the new ones, for journeys and conditions that were written for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NAMES = {
    "Viewed Product Category": "Product List Viewed",
    "Viewed Product": "Product Viewed",
    "Clicked Product": "Product Clicked",
    "Added Product": "Product Added",
    "Removed Product": "Product Removed",
    "Started Order": "Checkout Started",
    "Updated Order": "Order Updated",
    "Completed Order": "Order Completed",
    "Viewed Checkout Step": "Checkout Step Viewed",
    "Completed Checkout Step": "Checkout Step Completed",
    "Viewed Promotion": "Promotion Viewed",
    "Clicked Promotion": "Promotion Clicked",
}

_PROPERTIES = {
    "orderId": "order_id",
    "checkoutId": "checkout_id",
    "shippingMethod": "shipping_method",
    "paymentMethod": "payment_method",
}
_PRODUCT = {"id": "product_id"}
_PROMOTION = {"id": "promotion_id"}
_OWN_IDS = {
    **dict.fromkeys(("Product Viewed", "Product Clicked", "Product Added", "Product Removed"), _PRODUCT),
    **dict.fromkeys(("Promotion Viewed", "Promotion Clicked"), _PROMOTION),
}
"""What an event is about has the bare name `id`."""


def modern(name: str, properties: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and properties of an event of v1 in v2's words; those of any other event as they are."""
    new = _NAMES.get(name)
    if new is None:
        return name, properties
    found = _renamed(properties, {**_PROPERTIES, **_OWN_IDS.get(new, {})})
    if isinstance(found.get("products"), list):
        found["products"] = [_renamed(each, _PRODUCT) for each in found["products"]]
    return new, found


def _renamed(told: Any, names: Mapping[str, str]) -> Any:
    """With the new names beside the old ones, where they say nothing yet. What is no object stays as it is."""
    if not isinstance(told, dict):
        return told
    return told | {new: told[old] for old, new in names.items() if told.get(old) is not None and told.get(new) is None}
