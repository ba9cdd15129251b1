"""A friend's link, sign-up, order, and both rewarded after the hold, over HTTP with the hold in seconds."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import httpx
import pytest

from tests.scenarios.conftest import Stack, eventually
from tests.scenarios.shoppers import Json, Shopper

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"}
HOLD_SECONDS = 4


@pytest.fixture
def programme(stack: Stack) -> Iterator[str]:
    """A live programme of referrals whose hold is seconds; no other is live meanwhile."""
    for other in stack.get("/v1/programmes")["data"]:
        if other["state"] == "live":
            stack.client.post(f"/v1/programmes/{other['key']}/archive", json={})
    key = f"friends-{uuid.uuid4().hex[:8]}"
    terms = {
        "qualifies_on": {"event": "Order Completed", "where": [{"property": "subtotal", "gte": 30}]},
        "hold": f"{HOLD_SECONDS}s",
        "referrer": {"points": 500},
        "referee": {"points": 100},
    }
    saved = stack.client.put(f"/v1/programmes/{key}", json={"programme": key, "referral": terms})
    assert saved.status_code == 200, saved.text
    published = stack.client.post(f"/v1/programmes/{key}/publish", json={})
    assert published.status_code == 200, published.text
    yield key
    stack.client.post(f"/v1/programmes/{key}/archive", json={})


def referral(shopper: Shopper) -> Json:
    return shopper.stack.get(f"{shopper.path}/referral")


def points(shopper: Shopper) -> int:
    available: int = shopper.stack.get(f"{shopper.path}/points")["available"]
    return available


def test_a_friends_link_a_sign_up_an_order_and_both_are_rewarded_after_the_hold(stack: Stack, programme: str) -> None:
    ann = Shopper(stack)
    link = eventually(lambda: stack.client.get(f"{ann.path}/referral"), lambda answer: answer.status_code == 200).json()
    followed = httpx.get(link["link"], headers=BROWSER)
    assert followed.status_code in (200, 302)
    assert link["code"] in followed.headers.get("location", followed.text)
    assert referral(ann)["clicks"] == {"people": 1, "machines": 0}

    bob = Shopper(stack)
    wish = {"code": link["code"], "referee": bob.id, "signals": {"ip": "93.184.216.34", "device": uuid.uuid4().hex}}
    claimed = eventually(lambda: stack.client.post("/v1/referrals/claim", json=wish), lambda answer: answer.is_success)
    assert claimed.json()["state"] == "claimed"
    assert (points(ann), points(bob)) == (0, 0)

    order = {"order_id": uuid.uuid4().hex, "subtotal": 80, "total": 80, "currency": "EUR"}
    bob.track("Order Completed", order)
    held = eventually(lambda: referral(ann), lambda shown: shown["counts"] == {"held": 1})
    assert (points(ann), points(bob), held["friends"][0]["due_at"] is not None) == (0, 0, True)

    eventually(lambda: referral(ann), lambda shown: shown["counts"] == {"rewarded": 1}, within=HOLD_SECONDS + 30)
    assert (points(ann), points(bob)) == (500, 100)

    bob.track("Order Refunded", {"order_id": order["order_id"]})
    eventually(lambda: referral(ann), lambda shown: shown["counts"] == {"revoked": 1})
    eventually(lambda: (points(ann), points(bob)), lambda balances: balances == (0, 0))
    again = stack.client.post("/v1/referrals/claim", json=wish | {"signals": {}})
    assert (again.status_code, again.json()["state"]) == (200, "revoked")
