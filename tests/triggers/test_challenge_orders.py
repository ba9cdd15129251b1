"""Orders count once in challenges, as they stand: reported twice, changed later, under whatever id it was said."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from database.challenge_guarantees import drifted_progress
from database.challenge_progress import progress_of
from tests.challenging import TWO_ORDERS, completions, order, progress, put_live
from tests.triggers.shop import Shop

SPENT: dict[str, Any] = {
    "challenge": "spent",
    "metric": {"sum": "properties.total", "over": "Order Completed", "currency": "EUR"},
    "levels": [{"level": "done", "at": 10_000}],
}


async def agrees(shop: Shop) -> bool:
    async with shop.database.read() as session:
        return not await drifted_progress(session, shop.now + timedelta(days=400))


async def test_an_order_that_is_reported_twice_counts_once(loyal_shop: Shop) -> None:
    await order(loyal_shop, "o-1")
    loyal_shop.later(hours=2)
    await order(loyal_shop, "o-1")

    assert await progress(loyal_shop) == {("two-orders", "ever"): 1}
    assert await completions(loyal_shop) == []
    assert await agrees(loyal_shop)


async def test_an_order_that_is_reported_again_counts_in_the_period_in_which_it_was_placed(shop: Shop) -> None:
    await put_live(shop, "challenge", TWO_ORDERS | {"window": {"every": "month"}})
    await order(shop, "o-1")
    shop.later(days=40)
    await order(shop, "o-1")

    assert await progress(shop) == {("two-orders", "2026-05"): 1}
    assert await agrees(shop)


async def test_an_order_from_before_the_challenge_is_not_new_when_it_is_reported_again(shop: Shop) -> None:
    await order(shop, "o-1")
    shop.later(hours=1)
    await put_live(shop, "challenge", TWO_ORDERS)
    shop.later(hours=1)
    await order(shop, "o-1")

    assert await progress(shop) == {}


@pytest.mark.parametrize("total", [50, "50.00"])
async def test_a_sum_follows_an_order_that_was_changed(shop: Shop, total: float | str) -> None:
    await put_live(shop, "challenge", SPENT)
    await order(shop, "o-1", total=100)
    assert [done.level for done in await completions(shop)] == ["done"]

    shop.later(hours=1)
    await shop.track("Order Updated", {"order_id": "o-1", "total": total, "currency": "EUR"})

    assert await progress(shop) == {("spent", "ever"): 5_000}
    assert await agrees(shop)


async def test_an_order_that_was_changed_below_what_is_asked_no_longer_counts(shop: Shop) -> None:
    large = {"count": "Order Completed", "where": [{"property": "total", "gte": 20}]}
    await put_live(shop, "challenge", TWO_ORDERS | {"metric": large})
    await order(shop, "o-1", total=30)
    await order(shop, "o-2", total=30)

    shop.later(hours=1)
    await shop.track("Order Updated", {"order_id": "o-2", "total": 10})

    assert await progress(shop) == {("two-orders", "ever"): 1}


async def test_what_was_given_for_an_order_comes_back_when_it_is_changed_and_the_policy_is_revoke(shop: Shop) -> None:
    await put_live(shop, "challenge", SPENT | {"refunds": "revoke"})
    await order(shop, "o-1", total=100)

    shop.later(hours=1)
    await shop.track("Order Updated", {"order_id": "o-1", "total": 99.99})

    [done] = await completions(shop)
    assert done.revoked_at is not None


async def test_a_change_that_another_id_tells_of_counts_for_whose_order_it_is(shop: Shop) -> None:
    await put_live(shop, "challenge", SPENT)
    await order(shop, "o-1", total=80)

    shop.later(hours=1)
    told = {"order_id": "o-1", "total": 60, "currency": "EUR"}
    await shop.track("Order Updated", told, anonymous_id="back-office")

    assert await progress(shop) == {("spent", "ever"): 6_000}
    assert await agrees(shop)


async def figures(shop: Shop, *users: str) -> list[Decimal]:
    by_id = {(await shop.customer(user)).id: user for user in users}
    async with shop.database.read() as session:
        found = {by_id[row.customer_id]: row.figure for row in await progress_of(session, by_id)}
    return [found.get(user, Decimal()) for user in users]


@pytest.mark.parametrize("first", ["u-1", "u-2"])
async def test_an_order_under_two_customers_counts_for_the_one_whose_it_is(shop: Shop, first: str) -> None:
    """Whichever report of it comes first: it is u-1's, who had it an hour before."""
    await put_live(shop, "challenge", SPENT | {"refunds": "revoke"})
    shop.later(hours=2)
    at = {"u-1": shop.now - timedelta(hours=1), "u-2": shop.now}
    for user in (first, "u-2" if first == "u-1" else "u-1"):
        await order(shop, "o-1", total=100, user_id=user, timestamp=at[user])

    assert await figures(shop, "u-1", "u-2") == [10_000, 0]
    assert [row.customer_id for row in await completions(shop) if row.revoked_at is None] == [
        (await shop.customer("u-1")).id
    ]
    assert await agrees(shop)


async def test_an_order_that_a_guest_told_of_first_counts_for_whoever_it_is_reported_for(shop: Shop) -> None:
    await put_live(shop, "challenge", SPENT)
    await shop.track("Order Completed", {"order_id": "o-1", "total": 100}, anonymous_id="guest")
    await shop.track("Order Updated", {"order_id": "o-2"}, user_id="back-office")

    for order_id in ("o-1", "o-2"):
        shop.later(hours=1)
        await order(shop, order_id, total=100)

    assert await figures(shop, "u-1") == [20_000]
    assert await agrees(shop)


async def test_each_product_of_an_order_is_one_that_was_bought(shop: Shop) -> None:
    tried = {"distinct": "properties.products[].product_id", "over": "Order Completed"}
    await put_live(shop, "challenge", TWO_ORDERS | {"metric": tried, "levels": [{"level": "three", "at": 3}]})
    products = [{"product_id": id_, "price": 5} for id_ in ("rose", "fern", "moss", "rose")]

    await shop.track("Order Completed", {"order_id": "o-1", "products": products})

    assert await progress(shop) == {("two-orders", "ever"): 3}
    assert [done.level for done in await completions(shop)] == ["three"]


async def test_what_is_taken_out_of_an_order_is_no_longer_one_that_was_bought(shop: Shop) -> None:
    tried = {"distinct": "properties.products[].product_id", "over": "Order Completed"}
    await put_live(shop, "challenge", TWO_ORDERS | {"metric": tried})
    products = [{"product_id": id_, "price": 5} for id_ in ("rose", "fern", "moss")]
    await shop.track("Order Completed", {"order_id": "o-1", "products": products})

    shop.later(hours=1)
    await shop.track("Order Updated", {"order_id": "o-1", "products": products[:2]})

    assert await progress(shop) == {("two-orders", "ever"): 2}


@pytest.mark.parametrize("said", [["12.50", "3"], [12.5, 3], [" 12.50 ", "3.0"]])
async def test_a_sum_reads_numbers_that_are_sent_as_text(shop: Shop, said: list[float | str]) -> None:
    weighed = {"sum": "properties.weight", "over": "Parcel Returned"}
    await put_live(shop, "challenge", TWO_ORDERS | {"metric": weighed})

    for weight in said:
        await shop.track("Parcel Returned", {"weight": weight})

    figures = await progress(shop)
    assert figures["two-orders", "ever"] * 2 == 31
