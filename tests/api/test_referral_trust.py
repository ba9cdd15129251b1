"""What browsers say of others: it may put a referral before a person, and ends none."""

from __future__ import annotations

from itertools import count
from typing import Any

import httpx
import pytest

from api.dependencies import ApiDependencies
from database.session import Database
from tests.api.conftest import ApiServer
from tests.referring import ReferringShop

PHONE = "+49 170 1234567"
EMAIL = "ann@ann.example"


@pytest.fixture
def api_dependencies(database: Database, shop: ReferringShop) -> ApiDependencies:
    """An API whose clock is the shop's."""
    return ApiDependencies(database=database, now=lambda: shop.now)


@pytest.fixture
async def shop(database: Database) -> ReferringShop:
    """A shop with a live programme."""
    shop = ReferringShop(database)
    await shop.publish_programme()
    return shop


class Desk:
    """Both keys of the shop: its server's and its page's."""

    def __init__(self, client: httpx.AsyncClient, server: ApiServer, shop: ReferringShop) -> None:
        self.client, self.server, self.shop = client, server, shop
        self._numbers = count(1)

    async def say(self, call: str, user: str, *, browser: bool, **body: Any) -> None:
        key = self.server.browser_key if browser else self.server.write_key
        said = {"messageId": f"c-{next(self._numbers)}", "userId": user, **body}
        answer = await self.client.post(f"/v1/{call}", json=said, headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 200, answer.text
        await self.shop.route()

    async def know(self, *users: str, browser: bool = False, **traits: Any) -> None:
        for user in users:
            await self.say("identify", user, browser=browser, traits=traits or {"email": f"{user}@{user}.example"})

    async def order(self, user: str, order_id: str = "o-1", *, browser: bool = False, **more: Any) -> None:
        told = {"order_id": order_id, "subtotal": 50, "total": 50, "currency": "EUR", **more}
        await self.say("track", user, browser=browser, event="Order Completed", properties=told)

    async def claim(self, **signals: str) -> tuple[int, str]:
        """Ann brings Bob: the status, with the state or the reason of the refusal."""
        wish = {"referrer": "ann", "referee": "bob", "signals": signals}
        answer = await self.client.post("/v1/referrals/claim", json=wish)
        return answer.status_code, answer.json().get("state") or answer.json()["code"]

    async def referral(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.client.get("/v1/referrals")).json()["data"][0]
        return found

    async def approve(self) -> str:
        answer = await self.client.post(f"/v1/referrals/{(await self.referral())['id']}/approve")
        assert answer.status_code == 200, answer.text
        await self.shop.route()
        return str((await self.referral())["state"])


@pytest.fixture
def desk(client: httpx.AsyncClient, api_server: ApiServer, shop: ReferringShop) -> Desk:
    return Desk(client, api_server, shop)


async def test_no_browser_destroys_a_referral_by_naming_one_phone_for_both(desk: Desk) -> None:
    await desk.know("ann", "bob")
    assert await desk.claim() == (201, "claimed")
    await desk.know("ann", "bob", browser=True, phone=PHONE)
    desk.shop.later(hours=1)
    await desk.order("bob")

    shown = await desk.referral()
    assert (shown["state"], shown["reason"], shown["suspicions"]) == ("under_review", None, ["same_contact"])
    assert await desk.approve() == "held"  # a person has looked, and is not asked again
    desk.shop.later(days=15)
    assert await desk.shop.end_holds() == 1
    assert (await desk.shop.points("ann"), await desk.shop.points("bob")) == (500, 100)
    assert await desk.shop.told("Referral Claimed") == [("ann", "referrer"), ("bob", "referee")]
    assert await desk.shop.told("Referral Qualified") == [("ann", "referrer"), ("bob", "referee")]


async def test_what_a_browser_says_during_the_hold_lets_a_person_decide_and_ends_nothing(desk: Desk) -> None:
    await desk.know("ann", "bob")
    await desk.claim()
    desk.shop.later(hours=1)
    await desk.order("bob")
    await desk.know("ann", "bob", browser=True, phone=PHONE)
    desk.shop.later(days=15)
    assert await desk.shop.end_holds() == 0
    assert (await desk.referral())["state"] == "under_review"

    assert await desk.approve() == "held"
    assert await desk.shop.end_holds() == 1
    assert (await desk.referral())["state"] == "rewarded"
    assert len(await desk.shop.told("Referral Qualified")) == 2


@pytest.mark.parametrize(("trait", "value"), [("phone", PHONE), ("email", EMAIL)])
@pytest.mark.parametrize(("known", "named"), [("ann", "bob"), ("bob", "ann")])
async def test_a_claim_is_not_refused_by_what_a_browser_named_for_one_side(
    desk: Desk, trait: str, value: str, known: str, named: str
) -> None:
    told: dict[str, Any] = {trait: value}
    await desk.know(known, **told)
    await desk.know(named, plan="gold")
    await desk.know(named, browser=True, **told)
    assert await desk.claim() == (201, "under_review")


async def test_a_trusted_address_is_not_hidden_or_replaced_by_a_browsers(desk: Desk) -> None:
    await desk.know("ann", "bob")
    await desk.know("bob", browser=True, email=EMAIL)
    assert await desk.claim() == (201, "claimed")


@pytest.mark.parametrize(("trait", "value"), [("phone", PHONE), ("email", EMAIL)])
async def test_two_accounts_that_the_server_knows_as_one_person_are_still_refused(
    desk: Desk, trait: str, value: str
) -> None:
    told: dict[str, Any] = {trait: value}
    await desk.know("ann", "bob", **told)
    assert await desk.claim() == (409, "self_referral")


async def test_a_shop_that_keeps_profiles_by_the_browser_alone_has_self_referrals_looked_at(desk: Desk) -> None:
    await desk.know("ann", "bob", browser=True, email=EMAIL)
    assert await desk.claim() == (201, "under_review")


async def test_no_browser_has_a_referral_rejected_as_fraud(desk: Desk) -> None:
    await desk.know("ann", "bob")
    context = {"ip": "93.184.216.34", "device": {"id": "d-1"}}
    cards = {"payment_fingerprint": "card-1", "address_hash": "street-1"}
    for event in ("Product Viewed", "Order Completed"):
        await desk.say("track", "ann", browser=True, event=event, context=context, properties=cards)

    claimed = await desk.claim(ip="93.184.216.34", device="d-1", payment="card-1", address="street-1")

    assert claimed == (201, "under_review")
    assert "same_payment" in (await desk.referral())["suspicions"]


async def test_the_means_of_payment_that_the_server_saw_counts_and_no_browser_hides_it(desk: Desk) -> None:
    await desk.know("ann", "bob")
    await desk.order("ann", "a-1", payment_fingerprint="card-1")
    for number in range(3):
        await desk.say("track", "ann", browser=True, event="Seen", properties={"payment_fingerprint": f"x-{number}"})
    assert await desk.claim(payment="card-1") == (201, "rejected")


async def test_a_browsers_means_of_payment_is_ignored_where_the_server_has_told_one(desk: Desk) -> None:
    await desk.know("ann", "bob")
    await desk.order("ann", "a-1", payment_fingerprint="card-1")
    await desk.say("track", "ann", browser=True, event="Seen", properties={"payment_fingerprint": "card-2"})
    assert await desk.claim(payment="card-2") == (201, "claimed")


async def test_no_order_of_a_browser_that_waits_to_be_routed_makes_the_friend_an_older_customer(desk: Desk) -> None:
    await desk.know("ann", "bob")
    order = desk.shop.event("Order Completed", user_id="bob", trusted=False, properties={"order_id": "b-1"})
    await desk.shop.post(order)
    assert await desk.claim() == (201, "claimed")
