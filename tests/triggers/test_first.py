from tests.triggers.shop import Shop, abandoned_cart


async def test_smoke(shop: Shop) -> None:
    await shop.publish(abandoned_cart())
    await shop.identify({"email": "Ann@Example.com", "timezone": "Europe/Berlin"})
    await shop.track("Product Added", {"cart_id": "c-1", "product_id": "p", "price": 14.28, "name": "Tea"})
    customer = await shop.customer()
    assert customer.email == "ann@example.com"
    assert customer.last_number == 2
    [run] = await shop.runs()
    assert run.occasion == "c-1"
    await shop.track(
        "Order Completed", {"order_id": "o-1", "total": 20.5, "products": [{"product_id": "p", "price": 14.28}]}
    )
    [run] = await shop.runs()
    assert (run.state, run.reason) == ("exited", "exit: Order Completed")
