"""Carts as messages show them: in the currency that was stated, with the link that leads back to them."""

from __future__ import annotations

from typing import Any

import pytest

from database.session import Database
from tests.sending import Shop, add_customer, add_run, hello_template, publish
from tests.triggers.shop import Shop as Router

CART = (
    "<html><body>{% for product in cart.products %}{{ product.name }} {{ product.total | money }}; {% endfor %}"
    "all {{ cart.total | money }} in {{ cart.currency }}, {{ cart.url }}</body></html>"
)


async def shown(shop: Shop, database: Database, entry: dict[str, Any]) -> str:
    """The text of a message of a run that was entered with these properties."""
    async with database.transaction() as session:
        await publish(session, "template", "hello", hello_template(html=CART, preheader=""))
        ann = (await Router(database).customer("ann")).id
        run_id = await add_run(session, ann, entry={"event": None, "properties": entry})
    await shop.send(run_id)
    (email,) = shop.provider.taken
    return " ".join(email.text.split())


@pytest.fixture
async def router(shop: Shop, database: Database) -> Router:
    """Ann is known and may be written to; the shop counts in euros."""
    await shop.set(currency="EUR", website="https://shop.example")
    async with database.transaction() as session:
        await add_customer(session, "ann")
    return Router(database)


async def track(router: Router, event_name: str, /, **properties: Any) -> None:
    router.later(minutes=1)
    await router.track(event_name, properties, user_id="ann")


async def test_a_cart_in_yen_is_shown_in_yen_in_a_run_that_the_api_entered(
    shop: Shop, database: Database, router: Router
) -> None:
    await track(router, "Product Added", cart_id="c-1", product_id="tea", name="Tea", price=6000, currency="JPY")

    assert "Tea ¥6,000; all ¥6,000 in JPY" in await shown(shop, database, {})


async def test_prices_in_two_currencies_are_shown_each_in_its_own_and_never_added_up(
    shop: Shop, database: Database, router: Router
) -> None:
    await track(router, "Product Added", product_id="tea", name="Tea", price=6000, currency="JPY")
    await track(router, "Product Added", product_id="pot", name="Pot", price=12.5)

    assert "Tea ¥6,000; Pot €12.50; all in ," in await shown(shop, database, {"currency": "USD"})


async def test_the_link_of_a_checkout_leads_back_from_messages_of_later_runs(
    shop: Shop, database: Database, router: Router
) -> None:
    await track(router, "Checkout Started", cart_id="c-1", checkout_url="https://shop.example/pay/1", products=[])
    await track(router, "Product Added", cart_id="c-1", product_id="tea", name="Tea", price=4)

    assert "https://shop.example/pay/1" in await shown(shop, database, {"cart_id": "c-1"})


async def test_a_browser_leads_nobody_from_the_shops_own_mail_to_another_host(
    shop: Shop, database: Database, router: Router
) -> None:
    await track(router, "Checkout Started", cart_id="c-1", checkout_url="https://shop.example/pay/1", products=[])
    router.later(minutes=1)
    evil = {"cart_id": "c-1", "checkout_url": "https://evil.example/pay", "product_id": "tea", "name": "Tea"}
    await router.track("Product Added", evil, user_id="ann", trusted=False)

    assert "https://shop.example/pay/1" in await shown(shop, database, {"cart_id": "c-1"})


async def test_a_cart_is_found_by_its_number_however_that_is_written(
    shop: Shop, database: Database, router: Router
) -> None:
    await track(router, "Product Added", cart_id="1001", product_id="tea", name="Tea", price=4)
    await track(router, "Product Added", cart_id="1002", product_id="pot", name="Pot", price=9)

    assert "Tea €4.00" in await shown(shop, database, {"cart_id": 1001.0})


async def test_what_was_taken_out_of_the_cart_is_not_shown_by_the_event_that_put_it_in(
    shop: Shop, database: Database, router: Router
) -> None:
    tea = {"cart_id": "c-1", "product_id": "tea", "name": "Tea", "price": 4}
    await track(router, "Product Added", **tea)
    await track(router, "Product Removed", cart_id="c-1", product_id="tea")

    assert "Tea" not in await shown(shop, database, tea)
