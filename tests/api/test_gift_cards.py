"""What is left on a gift card: what it paid comes back with refunds, by events or by a call."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import update

from api.dependencies import ApiDependencies
from database.coupons import CouponUse
from database.session import Database
from perennial.doctor import examine
from tests.api.clock import Clock
from tests.factories import NOON
from tests.rewarding import publish_programme, publish_reward
from tests.triggers.shop import Shop


@pytest.fixture
def api_dependencies(database: Database) -> ApiDependencies:
    return ApiDependencies(database=database, now=Clock(NOON))


@pytest.fixture
async def shop(database: Database, client: httpx.AsyncClient) -> Shop:
    """A card of 100 euros, which paid 60 for an order, and a code for ten percent."""
    await publish_programme(database)
    await publish_reward(database, {"reward": "card", "gives": {"gift_card": {"amount": 10_000, "currency": "EUR"}}})
    await publish_reward(database, {"reward": "ten-percent", "gives": {"percent": 10}})
    for code, reward in (("CARD", "card"), ("TEN", "ten-percent")):
        assert (await client.post("/v1/coupons", json={"code": code, "reward": reward})).status_code == 200
    assert await pay(client, "o-1", 6_000) == 6_000
    shop = Shop(database, now=NOON)
    await shop.track("Order Completed", {"order_id": "o-1", "total": 60, "currency": "EUR"})
    return shop


async def pay(client: httpx.AsyncClient, order_id: str, price: int, code: str = "CARD") -> int:
    """What a code pays of an order."""
    cart = {"currency": "EUR", "lines": [{"product_id": "tea", "price": price}]}
    answer = await client.post("/v1/coupons/redeem", json={"order_id": order_id, "code": code, "cart": cart})
    assert answer.status_code == 200, answer.text
    paid: int = answer.json()["coupons"][0]["discount"]["amount"]
    return paid


async def left(client: httpx.AsyncClient, code: str = "CARD") -> dict[str, Any] | None:
    found: dict[str, Any] | None = (await client.get(f"/v1/coupons/{code}")).json()["balance"]
    return found


async def release(client: httpx.AsyncClient, **body: Any) -> httpx.Response:
    return await client.post("/v1/coupons/release", json={"order_id": "o-1", **body})


async def refund(shop: Shop, total: float) -> None:
    shop.later(minutes=1)
    await shop.track("Order Refunded", {"order_id": "o-1", "total": total})


async def test_a_gift_card_of_100_with_60_used_and_30_refunded_shows_70(shop: Shop, client: httpx.AsyncClient) -> None:
    assert await left(client) == {"amount": 4_000, "currency": "EUR"}
    assert await left(client, "TEN") is None

    await refund(shop, 30)

    assert await left(client) == {"amount": 7_000, "currency": "EUR"}
    [told] = (await client.get("/v1/orders/o-1/coupons")).json()["coupons"]
    assert (told["state"], told["given_back"]["amount"]) == ("used", 3_000)
    assert await pay(client, "o-2", 9_000) == 7_000


async def test_a_card_that_paid_a_part_of_an_order_gets_its_share_of_each_refund(
    shop: Shop, client: httpx.AsyncClient
) -> None:
    """60 of 90 euros: a third of the money gives 20 back, and the rest all of it."""
    shop.later(minutes=1)
    await shop.track("Order Updated", {"order_id": "o-1", "total": 90})

    await refund(shop, 10)
    await refund(shop, 20)
    assert await left(client) == {"amount": 6_000, "currency": "EUR"}

    await refund(shop, 60)
    assert await left(client) == {"amount": 10_000, "currency": "EUR"}


async def test_a_card_used_for_an_order_that_came_back_before_pays_what_is_left_of_it(
    shop: Shop, client: httpx.AsyncClient
) -> None:
    await shop.track("Order Completed", {"order_id": "o-2", "total": 40, "currency": "EUR"})
    shop.later(minutes=1)
    await shop.track("Order Refunded", {"order_id": "o-2", "total": 30})

    assert await pay(client, "o-2", 4_000) == 4_000

    assert await left(client) == {"amount": 3_000, "currency": "EUR"}
    [told] = (await client.get("/v1/orders/o-2/coupons")).json()["coupons"]
    assert (told["state"], told["given_back"]["amount"]) == ("used", 3_000)


async def test_a_part_of_what_a_gift_card_paid_is_given_back_by_a_call(shop: Shop, client: httpx.AsyncClient) -> None:
    given = await release(client, code="CARD", amount=3_000)
    await refund(shop, 30)  # the same money, reported as an event too

    assert given.json()["coupons"][0]["given_back"]["amount"] == 3_000
    assert await left(client) == {"amount": 7_000, "currency": "EUR"}
    await release(client)
    assert await left(client) == {"amount": 10_000, "currency": "EUR"}


@pytest.mark.usefixtures("shop")
async def test_no_more_comes_back_than_a_card_paid_and_nothing_to_other_codes(client: httpx.AsyncClient) -> None:
    await pay(client, "o-2", 1_000, "TEN")

    beyond = await release(client, code="CARD", amount=6_001)
    no_card = await release(client, code="TEN", amount=1, order_id="o-2")
    not_used = await release(client, code="CARD", amount=1, order_id="o-2")
    unnamed = await release(client, amount=1)

    refused = [(each.status_code, each.json()["code"]) for each in (beyond, no_card, not_used)]
    assert refused == [(409, "beyond_use"), (409, "not_a_card"), (409, "not_used")]
    assert unnamed.status_code == 422
    assert await left(client) == {"amount": 4_000, "currency": "EUR"}


async def test_the_doctor_finds_a_card_that_did_not_get_its_share(shop: Shop, database: Database) -> None:
    promise = "gift cards got back their share of what was refunded"

    async def broken() -> list[str]:
        verdicts = await examine(database, shop.now, email_per_second=2, provider="smtp")
        return [each.promise for each in verdicts if not each.is_kept]

    await refund(shop, 30)
    assert promise not in await broken()
    async with database.transaction() as session:
        await session.execute(update(CouponUse).values(given_back=0))
    assert promise in await broken()
