"""Orders that come back: what a challenge counts then, and what it takes back of what it gave."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event

from database import coupon_uses, documents
from database.coupon_uses import Asked
from database.redeeming import issue, lock_with_customer
from database.redemptions import Redemption
from domain.coupons import Cart, CartLine
from domain.documents import DocumentState
from tests.challenging import PROGRAMME, TWO_ORDERS, balance, completions, order, progress, put_live, told
from tests.rewarding import coupon, redemptions_of, taken
from tests.triggers.shop import Shop


@pytest.mark.parametrize(
    ("policy", "figure", "points", "is_revoked"),
    [("ignore", 2, 50, False), ("uncount", 1, 50, False), ("revoke", 1, 0, True)],
)
async def test_a_cancelled_order_after_the_completion_follows_the_policy(
    shop: Shop, policy: str, figure: int, points: int, *, is_revoked: bool
) -> None:
    """Talon.One `allow_rollback_after_completion`: each definition says what a return does."""
    await put_live(shop, "programme", PROGRAMME)
    await put_live(shop, "challenge", TWO_ORDERS | {"refunds": policy})
    await order(shop, "o-1")
    await order(shop, "o-2")

    shop.later(days=1)
    await shop.track("Order Cancelled", {"order_id": "o-1"})

    assert await progress(shop) == {("two-orders", "ever"): figure}
    assert (await balance(shop)).available == points
    [done] = await completions(shop)
    assert (done.revoked_at is not None) is is_revoked


async def test_a_return_takes_points_back_from_the_programme_that_paid_them(shop: Shop) -> None:
    """Archived since, and another one is live."""
    await put_live(shop, "programme", PROGRAMME)
    await put_live(shop, "challenge", TWO_ORDERS | {"refunds": "revoke"})
    await order(shop, "o-1")
    await order(shop, "o-2")
    shop.later(days=1)
    async with shop.database.transaction() as session:
        row = await documents.lock(session, "programme", "main")
        assert row is not None
        row.state = DocumentState.ARCHIVED
    await put_live(shop, "programme", {"programme": "other", "earn": []})
    shop.later(days=1)

    await shop.track("Order Cancelled", {"order_id": "o-1"})

    assert (await balance(shop)).available == 0


async def test_orders_do_not_call_in_question_what_counts_no_orders(shop: Shop) -> None:
    """However many reviews somebody has written, an order reads none of them."""
    reviews = {"challenge": "reviews", "metric": {"count": "Product Reviewed"}, "refunds": "revoke"}
    await put_live(shop, "challenge", reviews | {"levels": [{"level": "done", "at": 1}]})
    await shop.track("Product Reviewed", {"product_id": "p-1"})
    read: list[str] = []

    def note(*given: Any) -> None:
        read.append(str(given[3]))

    engine = shop.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        await order(shop, "o-1")
        await shop.track("Order Cancelled", {"order_id": "o-1"})
    finally:
        event.remove(engine, "before_cursor_execute", note)

    assert not [each for each in read if "Product Reviewed" in each]


async def test_what_was_revoked_can_be_completed_again_and_is_paid_again_once(shop: Shop) -> None:
    await put_live(shop, "programme", PROGRAMME)
    await put_live(shop, "challenge", TWO_ORDERS | {"refunds": "revoke"})
    await order(shop, "o-1")
    await order(shop, "o-2")
    shop.later(days=1)
    await shop.track("Order Refunded", {"order_id": "o-1", "total": 10, "currency": "EUR"})
    assert (await balance(shop)).available == 0

    await order(shop, "o-3")
    await order(shop, "o-4")

    [done] = await completions(shop)
    assert (done.revoked_at, done.times) == (None, 2)
    assert (await balance(shop)).available == 50


async def test_a_refund_before_the_completion_takes_the_order_out_of_the_count(loyal_shop: Shop) -> None:
    await order(loyal_shop, "o-1")
    await loyal_shop.track("Order Refunded", {"order_id": "o-1", "total": 10, "currency": "EUR"})

    await order(loyal_shop, "o-2")

    assert await completions(loyal_shop) == []


async def test_half_a_return_takes_half_of_the_sum(loyal_shop: Shop) -> None:
    spent = {"sum": "properties.total", "over": "Order Completed", "currency": "EUR"}
    levels = [{"level": "done", "at": 1_000, "points": 5}]
    await put_live(loyal_shop, "challenge", {"challenge": "spender", "metric": spent, "levels": levels})

    await order(loyal_shop, "o-1", total=9.99)
    await loyal_shop.track("Order Refunded", {"order_id": "o-1", "total": 5, "currency": "EUR"})

    assert (await progress(loyal_shop))["spender", "ever"] == 499


# What was given with the points ------------------------------------------------------------------

GENEROUS = TWO_ORDERS | {"refunds": "revoke", "levels": [{"level": "done", "at": 2, "points": 50, "reward": "voucher"}]}
VOUCHER = {"reward": "voucher", "gives": {"amount": {"amount": 500, "currency": "EUR"}}, "stock": 5}
DELIVERED = VOUCHER | {"fulfil": {"url": "https://shop.example/deliver"}}


async def complete(shop: Shop, reward: Mapping[str, Any]) -> Redemption:
    """Two orders, and the reward that they gave."""
    await put_live(shop, "programme", PROGRAMME)
    await put_live(shop, "reward", reward)
    await put_live(shop, "challenge", GENEROUS)
    await order(shop, "o-1")
    await order(shop, "o-2")
    [given] = await redemptions_of(shop.database)
    shop.later(minutes=5)
    return given


async def test_a_revoked_completion_takes_its_unused_reward_back_with_stock_and_code(shop: Shop) -> None:
    given = await complete(shop, VOUCHER)

    await shop.track("Order Cancelled", {"order_id": "o-1"})

    [row] = await redemptions_of(shop.database)
    assert (row.state, row.reason) == ("cancelled", "challenge_revoked")
    assert given.code is not None
    assert (await coupon(shop.database, given.code)).state == "void"
    assert await taken(shop.database, "voucher") == 0
    assert (await balance(shop)).available == 0
    [said] = await told(shop, "Challenge Revoked")
    assert (said["points"], said["reward"], "reward_kept" in said) == (50, "voucher", False)


@pytest.mark.parametrize(
    ("reward", "meanwhile", "why"),
    [
        (VOUCHER, "used", "redemption_ended"),
        (VOUCHER, "held", "coupon_used"),
        (DELIVERED, "on its way", "fulfilment_under_way"),
    ],
)
async def test_a_reward_that_is_used_or_on_its_way_stays_and_the_completion_says_why(
    shop: Shop, reward: Mapping[str, Any], meanwhile: str, why: str
) -> None:
    given = await complete(shop, reward)
    async with shop.database.transaction() as session:
        cart = Asked((given.code or "",), given.customer_id, Cart("EUR", (CartLine(4_000, 1),)), "o-9")
        match meanwhile:
            case "used":
                await coupon_uses.use(session, cart, shop.now)
            case "held":
                await coupon_uses.hold(session, cart, shop.now, until=shop.now + timedelta(hours=1))
            case _:
                row = await lock_with_customer(session, given.id)
                await issue(session, row, shop.now)
                row.is_doubtful = True

    await shop.track("Order Cancelled", {"order_id": "o-1"})

    [kept] = await redemptions_of(shop.database)
    assert kept.state != "cancelled"
    [done] = await completions(shop)
    assert (done.revoked_at is not None, done.reward_kept) == (True, why)
    assert (await balance(shop)).available == 0
    [said] = await told(shop, "Challenge Revoked")
    assert (said["reward"], said["reward_kept"]) == (None, why)


async def test_what_is_completed_again_gives_the_reward_again(shop: Shop) -> None:
    await complete(shop, VOUCHER)
    await shop.track("Order Cancelled", {"order_id": "o-1"})

    await order(shop, "o-3")

    assert sorted(row.state for row in await redemptions_of(shop.database)) == ["cancelled", "issued"]
    assert await taken(shop.database, "voucher") == 1


async def test_a_prize_that_is_sold_out_is_told_as_not_given(shop: Shop) -> None:
    await put_live(shop, "programme", PROGRAMME)
    await put_live(shop, "reward", VOUCHER | {"stock": 0})
    await put_live(shop, "challenge", GENEROUS)

    await order(shop, "o-1")
    await order(shop, "o-2")

    [done] = await completions(shop)
    assert (done.points, done.redemption_id, done.not_given) == (50, None, {"reward": "sold_out"})
    [said] = await told(shop, "Challenge Completed")
    assert (said["reward"], said["not_given"]) == (None, {"reward": "sold_out"})


async def test_an_order_of_the_number_1001_0_is_the_order_1001_when_it_comes_back(shop: Shop) -> None:
    await put_live(shop, "challenge", TWO_ORDERS | {"refunds": "uncount"})
    await shop.track("Order Completed", {"order_id": 1001.0, "total": 10, "currency": "EUR"})
    await order(shop, "o-2")

    shop.later(days=1)
    await shop.track("Order Refunded", {"order_id": "1001"})

    assert await progress(shop) == {("two-orders", "ever"): 1}
