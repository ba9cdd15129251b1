"""Rewards for points, from outside: the shop's own system delivers, or refuses and everything comes back."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.scenarios.conftest import Stack, eventually
from tests.scenarios.shoppers import Json, Shopper, archive_programmes
from tests.scenarios.warehouse import Warehouse, open_warehouse, verified

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def warehouse() -> Iterator[Warehouse]:
    """The shop's own system."""
    with open_warehouse() as warehouse:
        yield warehouse


@pytest.fixture
def programme(stack: Stack) -> Iterator[str]:
    """A live programme; no other is live meanwhile."""
    archive_programmes(stack)
    key = f"petals-{uuid.uuid4().hex[:8]}"
    publish(stack, "programmes", key, {})
    yield key
    stack.client.post(f"/v1/programmes/{key}/archive", json={})


def publish(stack: Stack, kind: str, key: str, document: Json) -> str:
    """Save a document and publish it."""
    saved = stack.client.put(f"/v1/{kind}/{key}", json=document)
    assert saved.status_code == 200, saved.text
    published = stack.client.post(f"/v1/{kind}/{key}/publish", json={})
    assert published.status_code == 200, published.text
    return key


def publish_reward(stack: Stack, **document: Any) -> str:
    """A reward for 100 points, of which there is one."""
    key = f"reward-{uuid.uuid4().hex[:8]}"
    return publish(stack, "rewards", key, {"price": [{"points": 100}], "stock": 1, **document})


def make_member(stack: Stack, points: int) -> Shopper:
    """A shopper with points."""
    ann = Shopper(stack)
    eventually(lambda: stack.client.get(ann.path), lambda answer: answer.status_code == 200)
    awarded = stack.client.post(f"{ann.path}/points/award", json={"points": points, "reason": "welcome"})
    assert awarded.status_code == 200, awarded.text
    return ann


def redeem(shopper: Shopper, reward: str) -> Json:
    answer = shopper.stack.client.post(f"{shopper.path}/rewards/{reward}/redeem", json={})
    assert answer.status_code == 200, answer.text
    redemption: Json = answer.json()
    return redemption


def ended(stack: Stack, redemption: Json) -> Json:
    """The redemption once it has ended."""
    path = f"/v1/redemptions/{redemption['id']}"
    return eventually(lambda: stack.get(path), lambda now: now["ended_at"] is not None)


def points(shopper: Shopper) -> tuple[int, int]:
    """What is available, and what is spent."""
    told = shopper.stack.get(f"{shopper.path}/points")
    return told["available"], told["spent"]


def test_a_reward_is_delivered_by_the_shops_own_system(stack: Stack, programme: str, warehouse: Warehouse) -> None:
    warehouse.statuses = [503]
    reward = publish_reward(stack, gives={"gift": "teapot"}, fulfil={"url": warehouse.url})
    ann = make_member(stack, 250)

    redemption = redeem(ann, reward)
    fulfilled = ended(stack, redemption)

    assert (redemption["state"], fulfilled["state"]) == ("reserved", "fulfilled")
    assert points(ann) == (150, 100)
    assert len(warehouse.asked) == 2  # the first time it was away
    assert {headers["webhook-id"] for headers, _ in warehouse.asked} == {
        f"redemption_{redemption['id'].replace('-', '')}"
    }
    for headers, body in warehouse.asked:
        assert verified(headers, body)["data"]["gives"] == {"gift": "teapot", "quantity": 1}
    assert refused(ann, reward) == "sold_out"


def test_a_shop_that_refuses_gives_points_and_stock_back(stack: Stack, programme: str, warehouse: Warehouse) -> None:
    warehouse.statuses = [410]
    reward = publish_reward(stack, gives={"gift": "teapot"}, fulfil={"url": warehouse.url})
    ann = make_member(stack, 100)

    cancelled = ended(stack, redeem(ann, reward))

    assert (cancelled["state"], cancelled["reason"]) == ("cancelled", "http_410")
    assert points(ann) == (100, 0)
    assert stack.get(f"/v1/rewards/{reward}/stock")["left"] == 1
    assert ended(stack, redeem(ann, reward))["state"] == "fulfilled"


def test_a_coupon_for_points_is_used_on_an_order_and_comes_back_when_it_is_cancelled(
    stack: Stack, programme: str
) -> None:
    reward = publish_reward(stack, gives={"percent": 10})
    ann = make_member(stack, 100)
    code = redeem(ann, reward)["code"]
    order = f"o-{uuid.uuid4().hex[:8]}"
    cart = {"currency": "EUR", "lines": [{"product_id": "fern", "price": 1_999, "quantity": 2}]}
    held = {"codes": [code], "customer_id": ann.id, "cart": cart, "order_id": order}

    assert stack.client.post("/v1/coupons/hold", json=held).status_code == 200
    ann.track("Order Completed", {"order_id": order, "currency": "EUR", "total": 35.98})
    used = eventually(lambda: stack.get(f"/v1/coupons/{code}"), lambda coupon: coupon["used"] == 1)
    ann.track("Order Cancelled", {"order_id": order})
    given_back = eventually(lambda: stack.get(f"/v1/coupons/{code}"), lambda coupon: coupon["used"] == 0)

    assert (used["state"], given_back["state"]) == ("active", "active")
    [share] = stack.get(f"/v1/orders/{order}/coupons")["coupons"]
    assert (share["state"], share["discount"]) == ("released", {"amount": 400, "currency": "EUR"})


def refused(shopper: Shopper, reward: str) -> str:
    """Why the catalogue says that a reward cannot be had."""
    found = shopper.stack.get(f"{shopper.path}/rewards?available=true")["data"]
    [entry] = [entry for entry in found if entry["reward"] == reward]
    reason: str = entry["reason"]
    return reason
