"""Old plug-ins' e-commerce events in today's words."""

from __future__ import annotations

from typing import Any

import pytest

from domain.ecommerce_v1 import modern


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Completed Order", "Order Completed"),
        ("Viewed Product Category", "Product List Viewed"),
        ("Started Order", "Checkout Started"),
        ("Order Completed", "Order Completed"),
        ("Anything else", "Anything else"),
    ],
)
def test_v1_names_of_the_ecommerce_spec_become_v2_names(old: str, new: str) -> None:
    assert modern(old, {})[0] == new


def test_an_order_of_v1_and_its_products_have_their_ids_under_both_names() -> None:
    tea = {"id": "p-1", "sku": "s-1", "price": 19.5, "quantity": 2}
    _, properties = modern("Completed Order", {"orderId": "o-1", "total": 39, "products": [tea, "nonsense"]})

    assert (properties["order_id"], properties["orderId"]) == ("o-1", "o-1")
    assert properties["products"] == [tea | {"product_id": "p-1"}, "nonsense"]


@pytest.mark.parametrize(
    ("name", "told", "found"),
    [
        ("Added Product", {"id": 7, "sku": "s"}, {"product_id": 7}),
        ("Viewed Product", {"id": "p", "product_id": "q"}, {"product_id": "q"}),
        ("Viewed Promotion", {"id": "summer"}, {"promotion_id": "summer"}),
        ("Completed Checkout Step", {"shippingMethod": "post"}, {"shipping_method": "post"}),
    ],
)
def test_every_event_of_v1_gets_the_names_of_v2(name: str, told: dict[str, Any], found: dict[str, Any]) -> None:
    assert modern(name, told)[1] == told | found


@pytest.mark.parametrize("name", ["Order Completed", "Viewed Product Category", "Newsletter Read"])
def test_a_bare_id_of_other_events_is_no_products(name: str) -> None:
    assert modern(name, {"id": "x"})[1] == {"id": "x"}
