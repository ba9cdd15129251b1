"""Points that paid for an order come back with it: by its refunds, when it is cancelled, or by the shop's call."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from api.dependencies import ApiDependencies
from database.orders import Order
from database.session import Database
from perennial.doctor import examine
from tests.api.clock import Clock
from tests.api.test_programmes import publish
from tests.factories import NOON
from tests.rewarding import TENNER, publish_reward
from tests.triggers.shop import Shop

ORDER = {"order_id": "o-1", "currency": "EUR", "subtotal": 90, "shipping": 10, "total": 100}
SOON = (NOON + timedelta(days=10)).isoformat()


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def api_dependencies(database: Database, clock: Clock) -> ApiDependencies:
    return ApiDependencies(database=database, now=clock)


@pytest.fixture
async def shop(database: Database, client: httpx.AsyncClient) -> Shop:
    """Ann, who has 500 points that lapse in ten days, and placed an order of 100 euros."""
    assert (await publish(client, "main", earn=[], tiers=None)).status_code == 200
    shop = Shop(database, now=NOON)
    await shop.track("Order Completed", ORDER, user_id="ann")
    await post(client, "customers/ann/points/award", points=500, expires_at=SOON)
    return shop


async def post(client: httpx.AsyncClient, path: str, **given: Any) -> dict[str, Any]:
    answer = await client.post(f"/v1/{path}", json=given)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def spend(client: httpx.AsyncClient, how: str, points: int = 200, order_id: str = "o-1") -> str:
    """Points for the order in one of the ways that shops have; answers the transaction."""
    if how == "deduct":
        spent = await post(client, "customers/ann/points/deduct", points=points, order_id=order_id)
    elif how == "hold":
        held = await post(client, "customers/ann/points/hold", points=300, order_id=order_id)
        spent = await post(client, f"holds/{held['hold_id']}/capture", points=points)
    else:
        held = await post(client, "customers/ann/points/hold", points=300)
        spent = await post(client, f"holds/{held['hold_id']}/capture", points=points, order_id=order_id)
    return str(spent["transaction_id"])


async def has(client: httpx.AsyncClient) -> tuple[int, int, int]:
    """What is available, what is held, and what was spent in the end."""
    shown = (await client.get("/v1/customers/ann/points")).json()
    return shown["available"], shown["held"], shown["spent"]


async def refund(shop: Shop, total: float | None) -> None:
    shop.later(minutes=1)
    await shop.track("Order Refunded", {"order_id": "o-1", "total": total}, user_id="ann")


@pytest.mark.parametrize("how", ["deduct", "hold", "capture"])
async def test_a_refund_gives_back_its_part_of_the_points_that_paid(
    shop: Shop, client: httpx.AsyncClient, how: str
) -> None:
    """A third of the money and then the rest: 66 of 200 points, and then all of them."""
    await spend(client, how)
    assert await has(client) == (300, 0, 200)

    await refund(shop, 33.33)
    assert await has(client) == (366, 0, 134)

    await refund(shop, 66.67)
    assert await has(client) == (500, 0, 0)


async def test_points_captured_for_a_cancelled_order_come_back(shop: Shop, client: httpx.AsyncClient) -> None:
    await spend(client, "hold")

    for _ in range(2):
        shop.later(minutes=1)
        await shop.track("Order Cancelled", {"order_id": "o-1"}, user_id="ann")

    assert await has(client) == (500, 0, 0)
    shown = (await client.get("/v1/customers/ann/points/history")).json()["data"]
    told = [(each["kind"], each["points"], each["order_id"]) for each in shown if each["order_id"]]
    assert told == [("restore", 200, "o-1"), ("capture", -200, "o-1"), ("hold", 0, "o-1")]


async def test_points_held_for_an_order_that_is_cancelled_are_free_again(shop: Shop, client: httpx.AsyncClient) -> None:
    held = await post(client, "customers/ann/points/hold", points=200, order_id="o-1")
    assert await has(client) == (300, 200, 0)

    await shop.track("Order Cancelled", {"order_id": "o-1"}, user_id="ann", timestamp=shop.now + timedelta(seconds=1))

    assert await has(client) == (500, 0, 0)
    late = await client.post(f"/v1/holds/{held['hold_id']}/capture")
    assert (late.status_code, late.json()["code"]) == (409, "hold_ended")


async def test_points_that_are_spent_on_what_was_refunded_before_come_back_at_once(
    shop: Shop, client: httpx.AsyncClient
) -> None:
    await refund(shop, 25)

    spent = await post(client, "customers/ann/points/deduct", points=200, order_id="o-1")

    assert spent["balance"]["available"] == 350
    assert await has(client) == (350, 0, 150)


async def test_a_refund_told_by_somebody_else_gives_back_to_whoever_paid(shop: Shop, client: httpx.AsyncClient) -> None:
    await shop.track("Order Completed", {**ORDER, "order_id": "o-2"}, user_id="bob")
    await spend(client, "deduct", order_id="o-2")

    shop.later(minutes=1)
    await shop.track("Order Refunded", {"order_id": "o-2", "total": 50}, user_id="till")

    assert await has(client) == (400, 0, 100)


async def test_points_of_other_orders_and_of_none_stay_spent(shop: Shop, client: httpx.AsyncClient) -> None:
    await spend(client, "deduct", order_id="o-9")
    await post(client, "customers/ann/points/deduct", points=100, reference="o-1")

    await refund(shop, None)

    assert await has(client) == (200, 0, 300)


async def test_points_that_come_back_after_their_time_can_still_be_used(
    shop: Shop, client: httpx.AsyncClient, clock: Clock
) -> None:
    await spend(client, "deduct")
    clock.now = shop.now = NOON + timedelta(days=20)

    await refund(shop, 50)
    clock.now = shop.now

    assert await has(client) == (100, 0, 100)
    [lot] = (await client.get("/v1/customers/ann/points")).json()["lots"]
    assert datetime.fromisoformat(lot["expires_at"]) > clock.now + timedelta(days=29)


async def reverse(client: httpx.AsyncClient, transaction: str, **headers: str) -> httpx.Response:
    path = f"/v1/points/transactions/{transaction}/reverse"
    return await client.post(path, json={"reason": "the till was wrong"}, headers=headers)


@pytest.mark.parametrize("how", ["deduct", "capture"])
async def test_the_shop_takes_a_spending_back_once(shop: Shop, client: httpx.AsyncClient, how: str) -> None:
    transaction = await spend(client, how)
    await refund(shop, 25)

    first = await reverse(client, transaction, **{"Idempotency-Key": "till-1"})
    same = await reverse(client, transaction, **{"Idempotency-Key": "till-1"})
    other = await reverse(client, transaction)
    await refund(shop, 75)

    assert (first.status_code, first.json()["balance"]["available"]) == (200, 500)
    assert (same.status_code, same.json()) == (200, first.json())
    assert (other.status_code, other.json()["code"]) == (409, "already_reversed")
    assert await has(client) == (500, 0, 0)
    shown = (await client.get("/v1/customers/ann/points/history")).json()["data"][0]
    assert (shown["kind"], shown["points"], shown["reason"]) == ("restore", 150, "the till was wrong")
    assert shown["author"]


async def test_only_captures_and_deductions_are_reversed(shop: Shop, client: httpx.AsyncClient) -> None:
    given = await post(client, "customers/ann/points/award", points=5)
    taken = await post(client, "customers/ann/points/adjust", points=-5, reason="a slip")

    answers = [await reverse(client, each["transaction_id"]) for each in (given, taken)]
    unknown = await reverse(client, "019a0000-0000-7000-8000-000000000000")

    assert [(each.status_code, each.json()["code"]) for each in answers] == [(409, "not_reversible")] * 2
    assert unknown.status_code == 404
    assert await has(client) == (500, 0, 0)


async def test_what_a_reward_cost_comes_back_with_its_redemption_only(shop: Shop, client: httpx.AsyncClient) -> None:
    await publish_reward(shop.database, TENNER)
    redeemed = await client.post("/v1/customers/ann/rewards/tenner/redeem", json={})
    assert redeemed.status_code == 200, redeemed.text
    shown = (await client.get("/v1/customers/ann/points/history")).json()["data"]
    [paid] = [each["id"] for each in shown if each["kind"] == "capture"]

    refused = await reverse(client, paid)

    assert (refused.status_code, refused.json()["code"]) == (409, "not_reversible")


async def test_what_was_spent_twice_on_one_order_comes_back_of_each(shop: Shop, client: httpx.AsyncClient) -> None:
    await spend(client, "deduct", points=99)
    await spend(client, "capture", points=101)

    await refund(shop, 50)

    assert await has(client) == (300 + 49 + 50, 0, 101)


async def test_the_doctor_finds_points_of_a_cancelled_order_that_did_not_come_back(
    shop: Shop, client: httpx.AsyncClient, database: Database
) -> None:
    await spend(client, "deduct")
    await refund(shop, 50)
    promise = "points that paid for an order came back with it"

    async def found() -> list[str]:
        verdicts = await examine(database, shop.now, email_per_second=2, provider="smtp")
        return [each.promise for each in verdicts if not each.is_kept]

    assert promise not in await found()
    async with database.transaction() as session:
        order = await session.get(Order, "o-1")
        assert order is not None
        order.cancelled = True
    assert promise in await found()
