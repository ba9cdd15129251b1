"""A level is completed once by whoever turns out to be one person, for a day; what is older stays."""

from __future__ import annotations

from typing import Any

import pytest

from domain.events import EventKind
from tests.challenging import PROGRAMME, TWO_ORDERS, balance, completions, order, put_live, told
from tests.rewarding import redemptions_of, taken
from tests.triggers.shop import Shop

VOUCHER = {"reward": "voucher", "gives": {"amount": {"amount": 500, "currency": "EUR"}}, "stock": 5}
GENEROUS: dict[str, Any] = {
    **TWO_ORDERS,
    "levels": [{"level": "done", "at": 2, "points": 50, "reward": "voucher"}],
    "refunds": "ignore",
}


@pytest.fixture
async def generous(shop: Shop) -> Shop:
    await put_live(shop, "programme", PROGRAMME)
    await put_live(shop, "reward", VOUCHER)
    await put_live(shop, "challenge", GENEROUS)
    return shop


async def complete(shop: Shop, user_id: str) -> None:
    for number in range(2):
        shop.later(minutes=1)
        await order(shop, f"{user_id}-{number}", user_id=user_id)


async def merge(shop: Shop, gone: str, kept: str) -> None:
    await shop.post(shop.event(kind=EventKind.ALIAS, previous_id=gone, user_id=kept))
    await shop.route()


@pytest.mark.parametrize(("first", "second"), [("u-1", "u-2"), ("u-2", "u-1")])
@pytest.mark.parametrize("merged", ["first", "between", "last"])
async def test_two_who_are_one_complete_a_level_once_whenever_they_merge(
    generous: Shop, first: str, second: str, merged: str
) -> None:
    shop = generous
    await shop.identify(user_id="u-1")
    await shop.identify(user_id="u-2")
    if merged == "first":
        await merge(shop, "u-2", "u-1")
    await complete(shop, first)
    if merged == "between":
        await merge(shop, "u-2", "u-1")
    await complete(shop, second)
    if merged == "last":
        await merge(shop, "u-2", "u-1")

    assert (await balance(shop)).available == 50
    [done] = await completions(shop)
    assert (done.revoked_at, done.points) == (None, 50)
    assert [row.state for row in await redemptions_of(shop.database)].count("issued") == 1
    assert await taken(shop.database, "voucher") == 1


async def test_whoever_loses_the_second_prize_at_a_merge_is_told(generous: Shop) -> None:
    shop = generous
    await complete(shop, "u-1")
    await complete(shop, "u-2")

    await merge(shop, "u-2", "u-1")

    [said] = await told(shop, "Challenge Revoked")
    assert (said["challenge"], said["points"], said["reward"]) == ("two-orders", 50, "voucher")


async def test_two_who_are_one_reach_the_next_round_by_what_both_did(generous: Shop) -> None:
    shop = generous
    await put_live(shop, "challenge", GENEROUS | {"repeat": {"most": 9}})
    await complete(shop, "u-1")
    await complete(shop, "u-2")

    await merge(shop, "u-2", "u-1")

    assert sorted(row.round for row in await completions(shop)) == [1, 2]
    assert (await balance(shop)).available == 100


async def test_both_prizes_stay_where_they_were_won_more_than_a_day_before_the_merge(generous: Shop) -> None:
    shop = generous
    await complete(shop, "u-1")
    await complete(shop, "u-2")
    shop.later(hours=25)

    await merge(shop, "u-2", "u-1")

    assert (await balance(shop)).available == 100


@pytest.mark.parametrize(("one", "other"), [("u-1", "u-2"), ("u-2", "u-1")])
async def test_a_prize_that_stands_is_not_given_again_where_the_others_was_revoked(
    generous: Shop, one: str, other: str
) -> None:
    shop = generous
    await put_live(shop, "challenge", GENEROUS | {"refunds": "revoke"})
    await complete(shop, one)
    await shop.track("Order Cancelled", {"order_id": f"{one}-0"}, user_id=one)
    await complete(shop, other)

    await merge(shop, "u-2", "u-1")

    assert (await balance(shop)).available == 50
    [done] = await completions(shop)
    assert done.revoked_at is None


async def test_returns_reach_both_prizes_of_two_who_turned_out_to_be_one(generous: Shop) -> None:
    shop = generous
    await put_live(shop, "challenge", GENEROUS | {"refunds": "revoke"})
    await complete(shop, "u-1")
    await complete(shop, "u-2")
    shop.later(hours=25)
    await merge(shop, "u-2", "u-1")

    for order_id in ("u-1-0", "u-2-0"):
        await shop.track("Order Cancelled", {"order_id": order_id})
    assert (await balance(shop)).available == 100  # two orders are left, which is what the level asks for

    await shop.track("Order Cancelled", {"order_id": "u-2-1"})
    assert (await balance(shop)).available == 0
    assert await taken(shop.database, "voucher") == 0
