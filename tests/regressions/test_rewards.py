"""Rewards and coupons of other systems that were given twice, kept back or lost, each tried on ours.

What each system got wrong and where it is told: docs/loyalty/peers.md.
"""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from database import customers
from database.redeeming import redeem
from tests.regressions.club import Club, codes

CART = {"currency": "EUR", "lines": [{"product_id": "tea", "price": 4_000}, {"product_id": "cup", "price": 2_000}]}
TENNER: dict[str, Any] = {
    "gives": {"amount": {"amount": 1_000, "currency": "EUR"}},
    "price": [{"points": 100}],
    "minimum": {"amount": 5_000, "currency": "EUR"},
    "stacking": "fixed",
}


@pytest.fixture(autouse=True, scope="module")
async def catalogue(club: Club) -> None:
    """A programme, ten euros off carts of fifty and more, and a tenth off any cart, which go together."""
    await club.programme()
    await club.publish("rewards", "tenner", **TENNER)
    await club.publish("rewards", "tenth", gives={"percent": 10}, price=[{"points": 10}], stacking="percent")


async def test_a_code_that_is_not_used_at_once_stays_good_and_a_second_one_does_not_end_it(club: Club) -> None:
    """Yotpo disables a gift card after 24 hours without use, and the first one as soon as a second is bought."""
    ann = await club.member(points=200)
    first, second = [await club.ask(f"customers/{ann}/rewards/tenner/redeem") for _ in range(2)]

    club.shop.later(hours=25)

    assert codes(
        await club.post("coupons/redeem", codes=[first["code"]], order_id="y-1", customer_id=ann, cart=CART),
        await club.post("coupons/redeem", codes=[second["code"]], order_id="y-2", customer_id=ann, cart=CART),
    ) == [200, 200]


async def test_of_two_coupons_of_an_order_one_can_be_given_back_alone(club: Club) -> None:
    """Voucherify rolls stacked redemptions back whole or not at all, for three months."""
    ann = await club.member(points=110)
    tenner, tenth = [(await club.ask(f"customers/{ann}/rewards/{each}/redeem"))["code"] for each in ("tenner", "tenth")]
    await club.ask("coupons/redeem", codes=[tenner, tenth], order_id="v-1", customer_id=ann, cart=CART)

    club.shop.later(days=200)
    await club.ask("coupons/release", codes=[tenner], order_id="v-1")
    kept = (await club.get("orders/v-1/coupons"))["coupons"]
    again = await club.ask("coupons/redeem", codes=[tenner], order_id="v-2", customer_id=ann, cart=CART)

    assert [each["code"] for each in kept if each["state"] == "used"] == [tenth]
    assert [each["code"] for each in again["coupons"]] == [tenner]


async def test_goods_that_come_back_take_their_frozen_share_of_the_discount_with_them(club: Club) -> None:
    """smartlabsAT 177: after a partial return under the minimum the whole discount stayed; vendure 4811: it was shared
    out anew. Of ten euros off 40 and 20 the cup has 3.33, and 16.67 is what its return is worth.
    """
    ann = await club.member(points=100)
    code = (await club.ask(f"customers/{ann}/rewards/tenner/redeem"))["code"]
    await club.ask("coupons/redeem", codes=[code], order_id="s-1", customer_id=ann, cart=CART)
    await club.shop.track(
        "Order Completed", {"order_id": "s-1", "subtotal": 60, "total": 50, "currency": "EUR"}, user_id=ann
    )

    await club.give_back(ann, "s-1", 16.67)

    [coupon] = (await club.get("orders/s-1/coupons"))["coupons"]
    assert [line["amount"] for line in coupon["lines"]] == [667, 333]
    assert (coupon["state"], coupon["discount"]["amount"]) == ("used", 1_000)


async def test_a_connection_that_dies_in_the_midst_of_redeeming_leaves_nothing_taken(club: Club) -> None:
    """wb-gamification lost points when it died between the debit's commit and the redemption's insert."""
    await club.publish("rewards", "last-one", gives={"gift": "cup"}, price=[{"points": 100}], stock=1)
    ann = await club.member(points=100)
    customer = (await club.shop.customer(ann)).id

    with pytest.raises(DBAPIError):
        await _redeem_and_die(club, customer)

    assert await club.available(ann) == 100
    assert (await club.ask(f"customers/{ann}/rewards/last-one/redeem"))["state"] == "issued"


async def _redeem_and_die(club: Club, customer: UUID) -> None:
    """Everything is written, and the connection goes before it is committed."""
    async with club.shop.database.transaction() as session:
        await customers.lock(session, [customer], skip_locked=False)
        assert (await redeem(session, customer, "last-one", club.shop.now)).state == "issued"
        ours = await session.scalar(text("SELECT pg_backend_pid()"))
        async with club.shop.database.engine.connect() as other:
            await other.execute(text("RESET ROLE"))
            await other.execute(text("SELECT pg_terminate_backend(:ours)"), {"ours": ours})


async def test_what_was_redeemed_can_be_taken_back_and_the_books_say_so(club: Club) -> None:
    """A redemption of Square's is for ever, and so nobody can mend a mistake."""
    ann = await club.member(points=100)
    redemption = await club.ask(f"customers/{ann}/rewards/tenner/redeem")

    await club.ask(f"redemptions/{redemption['id']}/cancel", by="shop", reason="a mistake")

    history = (await club.get(f"customers/{ann}/points/history"))["data"]
    assert [(move["kind"], move["points"]) for move in history][:2] == [("restore", 100), ("capture", -100)]
    assert await club.available(ann) == 100


async def test_a_limit_says_that_it_is_reached_and_never_passes_over_it(club: Club) -> None:
    """medusa counted uses in memory, and past the limit went on without a word; Vendure and Sylius count unlocked."""
    code = (await club.ask("coupons", reward="tenth", uses=3))["code"]

    uses = (club.post("coupons/redeem", codes=[code], order_id=f"m-{n}", cart=CART) for n in range(9))
    answers = await asyncio.gather(*uses)

    assert sorted(map(str, codes(*answers))) == ["200"] * 3 + ["coupon_used_up"] * 6
    assert (await club.get(f"coupons/{code}"))["used"] == 3


async def test_after_all_of_that_the_doctor_finds_every_promise_kept(club: Club) -> None:
    assert await club.broken_promises() == []
