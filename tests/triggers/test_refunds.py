"""Refunds and cancellations take back what orders earned, by the decision as it was made and in any order."""

from __future__ import annotations

from typing import Any

import pytest

from database import points
from database.earnings import page_of_earnings
from database.orders import Order, Refund
from domain.ids import new_id
from domain.points import Balance, Debit, DebitKind
from tests.programmes import archive_programme, publish_programme
from tests.triggers.earning import BEGUN, PURCHASE, balance, buy, open_programme, refunded
from tests.triggers.shop import Shop
from tests.triggers.test_tiers import history

RISING = {
    "measure": {"points": "earned", "window": {"rolling": "12mo"}},
    "levels": [{"tier": "bronze", "from": 0}, {"tier": "gold", "from": 100, "multiply": 2}],
}


async def test_a_partial_refund_takes_back_its_part(shop: Shop) -> None:
    await open_programme(shop)
    await buy(shop, "o-1", 100)

    await shop.post(refunded(shop, "o-1", 33.33))
    await shop.route()

    now = await balance(shop)
    assert (now.available, now.reversed) == (67, 33)


async def test_points_that_still_wait_are_taken_back_too(shop: Shop) -> None:
    """Open Loyalty 3 takes back active points only, so that locked ones mature later (R2)."""
    await open_programme(shop, {**PURCHASE, "pending": "14d"})
    await buy(shop, "o-1", 100)

    await shop.post(refunded(shop, "o-1", 100))
    await shop.route()
    shop.later(days=15)

    assert await balance(shop) == Balance(earned=100, reversed=100)


async def test_seven_partial_refunds_take_back_exactly_what_was_earned(shop: Shop) -> None:
    """Open Loyalty 3 takes 100.03 points back for seven returns of a seventh (R3)."""
    await open_programme(shop, {**PURCHASE, "amount": {"points": 100}})
    await buy(shop, "o-1", 7)

    found = []
    for _ in range(7):
        await shop.post(refunded(shop, "o-1", 1))
        await shop.route()
        found.append((await balance(shop)).reversed)

    assert found == [14, 28, 42, 57, 71, 85, 100]


async def test_more_refunds_than_the_order_take_back_no_more_than_it_earned(shop: Shop) -> None:
    """Two returns of 60 percent took back 120 percent in Open Loyalty 3 (R3)."""
    await open_programme(shop)
    await buy(shop, "o-1", 100)

    await shop.post(refunded(shop, "o-1", 60), refunded(shop, "o-1", 60))
    await shop.route()

    assert (await balance(shop)).reversed == 100


async def test_a_refund_that_comes_before_its_order_takes_back_when_the_order_comes(shop: Shop) -> None:
    await open_programme(shop)

    await shop.post(refunded(shop, "o-1", 25))
    await shop.route()
    await buy(shop, "o-1", 100)

    assert (await balance(shop)).available == 75


async def test_returned_products_take_back_their_frozen_shares(shop: Shop) -> None:
    """30 euros of goods sold for 24 after a discount: the cups' share of 24 is a third, 8 points."""
    await open_programme(shop)
    lines = [{"product_id": "tea", "price": 10, "quantity": 2}, {"product_id": "cup", "price": 5, "quantity": 2}]
    await buy(shop, "o-1", 24, properties={"products": lines})

    cups = {"products": [{"product_id": "cup", "quantity": 2}], "total": None}
    await shop.post(refunded(shop, "o-1", 0, properties=cups))
    await shop.route()

    assert (await balance(shop)).available == 16


async def test_a_cancelled_order_keeps_nothing_and_a_refund_after_it_changes_nothing(shop: Shop) -> None:
    await open_programme(shop)
    await buy(shop, "o-1", 100)
    shop.later(minutes=1)

    await buy(shop, "o-1", 100, name="Order Cancelled")
    await shop.post(refunded(shop, "o-1", 100))
    await shop.route()

    assert (await balance(shop)).available == 0


async def test_a_clawback_never_reopens_a_limit(shop: Shop) -> None:
    await open_programme(shop, {**PURCHASE, "limit": {"per_customer": 100, "per": "1mo"}})
    await buy(shop, "o-1", 100)
    await shop.post(refunded(shop, "o-1", 100))
    await shop.route()

    await buy(shop, "o-2", 100)

    assert (await balance(shop)).available == 0


async def test_a_refund_of_a_clipped_order_is_proportional_to_what_was_paid(shop: Shop) -> None:
    await open_programme(shop, {**PURCHASE, "limit": {"per_customer": 50}})
    await buy(shop, "o-1", 200)

    await shop.post(refunded(shop, "o-1", 100))
    await shop.route()

    assert (await balance(shop)).available == 25


async def test_the_rule_as_it_was_decides_about_a_refund(shop: Shop) -> None:
    await open_programme(shop)
    await buy(shop, "o-1", 100)
    kept = [{**PURCHASE, "amount": {"points": 7}, "clawback": "keep"}]
    await publish_programme(shop.database, shop.now, earn=kept, tiers=None)

    await shop.post(refunded(shop, "o-1", 50))
    await shop.route()

    assert (await balance(shop)).available == 50


async def test_where_customers_may_keep_them_refunds_take_nothing_back(shop: Shop) -> None:
    await open_programme(shop, {**PURCHASE, "clawback": "keep"})
    await buy(shop, "o-1", 100)

    await shop.post(refunded(shop, "o-1", 100))
    await shop.route()

    assert (await balance(shop)).available == 100


async def test_spent_points_are_owed_or_forgiven_as_the_programme_says(shop: Shop) -> None:
    """Open Loyalty 3 drops what it cannot find (R1); here it is a deficit, unless the programme says otherwise."""
    mild = {**PURCHASE, "rule": "mild", "clawback": "available"}
    await open_programme(shop, PURCHASE, mild)
    await buy(shop, "o-1", 100)
    customer = await shop.customer()
    async with shop.database.transaction() as session:
        spent = Debit(customer.id, "spent", 150, DebitKind.DEDUCT, "counter")
        await points.post(session, "main", [spent], shop.now)

    await shop.post(refunded(shop, "o-1", 100))
    await shop.route()

    # 50 are left of 200: the first rule takes its 100 and owes 50 of them, the second finds nothing and owes nothing
    now = await balance(shop)
    assert (now.available, now.reversed) == (-50, 100)


async def test_a_refund_told_by_a_browser_takes_nothing_back(shop: Shop) -> None:
    await open_programme(shop)
    await buy(shop, "o-1", 100)

    await shop.post(refunded(shop, "o-1", 100, trusted=False))
    await shop.route()

    assert (await balance(shop)).available == 100


async def test_a_refund_told_by_somebody_else_reaches_the_points_and_the_tier_of_the_owner(shop: Shop) -> None:
    """Both of the owner's 200 points and gold go at once, and nothing of whoever told it: 200 of 200 less 150 is 50."""
    await open_programme(shop, tiers=RISING)
    await buy(shop, "o-1", 200)
    shop.later(days=1)

    await shop.post(refunded(shop, "o-1", 150, user_id="till"))
    await shop.route()

    assert (await balance(shop)).available == 50
    assert await history(shop) == [("gold", "qualified"), ("bronze", "taken_back")]
    names = [event.name for event in await shop.events_of((await shop.customer()).id)]
    assert names.count("Order Revised") == 1


async def test_refund_of_another_customers_order_of_the_same_id_takes_nothing_from_a_stranger(shop: Shop) -> None:
    """Two tills number their orders alike: what the second customer gives back is no word about the first one's."""
    await open_programme(shop)
    await buy(shop, "o-1", 100, properties={"total": 100})
    await buy(shop, "o-1", 100, properties={"total": 100}, user_id="u-2")
    shop.later(minutes=1)

    await shop.post(refunded(shop, "o-1", 40, user_id="u-2"))
    await shop.route()
    assert [(await balance(shop, user)).available for user in ("u-1", "u-2")] == [100, 0]

    await shop.track("Order Cancelled", {"order_id": "o-1"}, user_id="u-2")
    assert (await balance(shop)).available == 100

    shop.later(minutes=1)
    await shop.post(refunded(shop, "o-1", 30))
    await shop.route()
    assert (await balance(shop)).available == 70


async def test_support_sees_that_an_order_had_earned_already(shop: Shop) -> None:
    await open_programme(shop)
    await buy(shop, "o-1", 100)
    await buy(shop, "o-1", 100, user_id="u-2")

    second = (await shop.customer("u-2")).id
    async with shop.database.read() as session:
        [row] = await page_of_earnings(session, "main", second, before=None, limit=10)
    assert (row.order_id, row.points, row.wanted, row.reason) == ("o-1", 0, 100, "already_earned")


async def test_a_customer_says_in_vain_that_an_order_was_revised(shop: Shop) -> None:
    await open_programme(shop)
    await buy(shop, "o-1", 200)

    await shop.track("Order Revised", {"order_id": "o-1"}, user_id="u-2")

    assert (await balance(shop)).available == 200


async def order_page(shop: Shop, order_id: str = "o-1") -> tuple[str, int]:
    async with shop.database.read() as session:
        order = await session.get(Order, order_id)
    assert order is not None
    return order.state, order.refunded


async def test_order_and_points_agree_on_what_came_back_of_a_discounted_order(shop: Shop) -> None:
    await open_programme(shop)
    await buy(shop, "o-1", 100, properties={"discount": 10, "total": 90})

    await shop.post(refunded(shop, "o-1", 90))
    await shop.route()

    assert (await balance(shop)).available == 0
    assert await order_page(shop) == ("refunded", 9_000)


async def test_a_refund_of_shipping_takes_money_and_no_points(shop: Shop) -> None:
    await open_programme(shop)
    await buy(shop, "o-1", 100, properties={"shipping": 10, "tax": 20, "total": 130})

    await shop.post(refunded(shop, "o-1", 10))
    await shop.route()

    assert (await balance(shop)).available == 100
    assert await order_page(shop) == ("partially_refunded", 1_000)


async def test_a_refund_that_is_reported_twice_counts_once_in_points_and_on_the_order(shop: Shop) -> None:
    await open_programme(shop)
    await buy(shop, "o-1", 100, properties={"total": 100})

    for _ in range(2):
        await shop.post(refunded(shop, "o-1", 30, properties={"refund_id": "r-1"}))
        await shop.route()

    assert (await balance(shop)).available == 70
    assert await order_page(shop) == ("partially_refunded", 3_000)


async def test_the_variant_that_comes_back_takes_its_own_points_and_no_others(shop: Shop) -> None:
    """S at 10 and XL at 90 are one product, and the shop sends no sku."""
    await open_programme(shop)
    lines = [
        {"product_id": "shirt", "variant": "S", "price": 10, "quantity": 1},
        {"product_id": "shirt", "variant": "XL", "price": 90, "quantity": 1},
    ]
    await buy(shop, "o-1", 100, properties={"total": 100, "products": lines})

    back = {"products": [{"product_id": "shirt", "variant": "XL", "quantity": 1}], "total": None}
    await shop.post(refunded(shop, "o-1", 0, properties=back))
    await shop.route()

    assert (await balance(shop)).available == 10
    assert await order_page(shop) == ("partially_refunded", 9_000)


async def test_an_amount_that_cannot_be_read_gives_nothing_back(shop: Shop) -> None:
    await open_programme(shop)
    await buy(shop, "o-1", 100, properties={"total": 100})

    await shop.post(refunded(shop, "o-1", 0, properties={"total": "10,00"}))
    await shop.post(refunded(shop, "o-1", 10, properties={"currency": "USD"}))
    await shop.route()

    assert (await balance(shop)).available == 100
    assert await order_page(shop) == ("completed", 0)


async def test_an_order_of_the_id_1001_is_refunded_under_the_id_1001_0(shop: Shop) -> None:
    await open_programme(shop)
    await buy(shop, "1001", 100, properties={"total": 100})

    await shop.post(refunded(shop, "1001", 40, properties={"order_id": 1001.0}))
    await shop.route()

    assert (await balance(shop)).available == 60
    assert await order_page(shop, "1001") == ("partially_refunded", 4_000)


@pytest.mark.parametrize(
    ("kept", "left"),
    [
        ({"total": 2_500, "currency": "EUR"}, 75),
        ({"total": 2_500}, 75),
        ({"total": None}, 0),
        ({"total": 1_000, "lines": [{"product_id": "tea", "price": 1_000, "quantity": 1}]}, 80),
    ],
)
async def test_refunds_that_an_earlier_release_kept_count_as_they_did(
    shop: Shop, kept: dict[str, Any], left: int
) -> None:
    """The last one stated products only, a fifth of the order: that release kept their prices as the total."""
    await open_programme(shop)
    lines = [{"product_id": "tea", "price": 10}, {"product_id": "cup", "price": 40}]
    await buy(shop, "o-1", 100, properties={"total": 100, "products": lines})
    customer = await shop.customer()
    async with shop.database.transaction() as session:
        session.add(
            Refund(event_id=new_id(), order_id="o-1", customer_id=customer.id, at=shop.now, **{"lines": [], **kept})
        )

    await shop.track("Order Updated", {"order_id": "o-1"})
    await shop.route()

    assert (await balance(shop)).available == left


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_refund_reaches_what_a_programme_gave_that_is_archived(shop: Shop, replaced: bool) -> None:
    """By the rules of the version that gave it, and whatever is live by then; what paid for the order comes back."""
    await open_programme(shop)
    await buy(shop, "o-1", 40)
    await buy(shop, "o-2", 100)
    customer = await shop.customer("u-1")
    spent = Debit(customer.id, "paid", 10, DebitKind.DEDUCT, "shop", order_id="o-1")
    async with shop.database.transaction() as session:
        await points.post(session, "main", [spent], shop.now)
    await archive_programme(shop.database)
    if replaced:
        await publish_programme(shop.database, BEGUN, programme="other", earn=[PURCHASE], tiers=None)

    await shop.post(refunded(shop, "o-1", 40, user_id="somebody-else"))
    await shop.route()

    assert await balance(shop) == Balance(available=100, earned=140, reversed=40)
