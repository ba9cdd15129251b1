"""What a return undoes does not depend on under whose id it is told, nor on when it comes."""

from __future__ import annotations

from typing import Any

import pytest

from database.contests import chances, open_contest
from domain.events import EventKind
from tests.challenging import PROGRAMME, balance, completions, progress, put_live
from tests.referring import ReferringShop, open_referring_shop
from tests.triggers.shop import Shop

SOMEBODY: list[dict[str, Any]] = [{"user_id": "till"}, {"anonymous_id": "till"}]
NAMES = ["Order Refunded", "Order Cancelled"]
REGULAR = {"challenge": "regular", "metric": {"count": "Order Completed"}, "levels": [{"level": "two", "at": 2}]}
MONEY: dict[str, Any] = {
    "challenge": "money",
    "metric": {"sum": "properties.total", "over": "Order Completed", "currency": "EUR"},
    "levels": [{"level": "one", "at": 10_000, "points": 10}, {"level": "two", "at": 20_000, "points": 40}],
    "refunds": "revoke",
}
SUMMER = {
    "contest": "summer",
    "closes": "2026-07-04",
    "entries": [{"rule": "order", "on": {"event": "Order Completed"}}],
    "refunds": "remove",
}


def ordered(shop: Shop, order_id: str, total: float, user_id: str = "u-1") -> Any:
    told = {"order_id": order_id, "total": total, "currency": "EUR"}
    return shop.event("Order Completed", properties=told, user_id=user_id)


async def order(shop: Shop, order_id: str, total: float, user_id: str = "u-1") -> None:
    await shop.post(ordered(shop, order_id, total, user_id))
    await shop.route()


async def points(shop: Shop, user_id: str = "u-1") -> int:
    return (await balance(shop, user_id)).available


# Challenges -----------------------------------------------------------------------------------------------


@pytest.fixture
async def challenging(shop: Shop) -> Shop:
    await put_live(shop, "programme", PROGRAMME)
    await put_live(shop, "challenge", MONEY)
    await put_live(shop, "challenge", REGULAR)
    return shop


@pytest.mark.parametrize("who", SOMEBODY)
@pytest.mark.parametrize("name", NAMES)
async def test_an_order_that_somebody_else_returns_leaves_the_figures_and_the_prize_with_it(
    challenging: Shop, who: dict[str, Any], name: str
) -> None:
    shop = challenging
    await order(shop, "o-1", 120)
    await order(shop, "o-2", 90)
    assert await points(shop) == 50
    shop.later(hours=1)

    await shop.track(name, {"order_id": "o-1"}, **who)

    assert await progress(shop) == {("money", "ever"): 9_000, ("regular", "ever"): 1}
    assert await points(shop) == 0


@pytest.mark.parametrize("who", SOMEBODY)
async def test_the_next_order_builds_on_what_somebody_elses_return_left(challenging: Shop, who: dict[str, Any]) -> None:
    shop = challenging
    await order(shop, "o-1", 120)
    await shop.track("Order Refunded", {"order_id": "o-1"}, **who)
    shop.later(hours=1)

    await order(shop, "o-2", 90)

    assert await progress(shop) == {("money", "ever"): 9_000, ("regular", "ever"): 1}
    assert (await points(shop), [row.challenge for row in await completions(shop) if not row.revoked_at]) == (0, [])


@pytest.mark.parametrize("policy", ["uncount", "revoke"])
async def test_an_order_routed_before_its_owner_hears_of_the_return_is_paid_nothing_beyond_it(
    challenging: Shop, policy: str
) -> None:
    """The owner's next order waits already when somebody else's return is routed."""
    shop = challenging
    await put_live(shop, "challenge", MONEY | {"refunds": policy})
    await order(shop, "o-1", 95)
    shop.later(hours=1)
    refund = shop.event("Order Refunded", properties={"order_id": "o-1"}, user_id="till")
    await shop.post(refund, ordered(shop, "o-2", 90))

    await shop.route(limit=1)

    assert await progress(shop) == {("money", "ever"): 9_000, ("regular", "ever"): 1}
    assert await points(shop) == 0


async def test_a_return_that_comes_before_its_order_under_another_id_leaves_nothing_to_count(challenging: Shop) -> None:
    shop = challenging
    await shop.track("Order Refunded", {"order_id": "o-1"}, user_id="till")

    await order(shop, "o-1", 120)
    await order(shop, "o-2", 90)

    assert await progress(shop) == {("money", "ever"): 9_000, ("regular", "ever"): 1}
    assert await points(shop) == 0


async def test_somebody_elses_return_keeps_what_was_completed_before_where_the_challenge_says_so(
    challenging: Shop,
) -> None:
    shop = challenging
    await put_live(shop, "challenge", MONEY | {"refunds": "uncount"})
    await order(shop, "o-1", 120)
    await order(shop, "o-2", 90)
    shop.later(hours=1)

    await shop.track("Order Refunded", {"order_id": "o-1"}, user_id="till")

    assert (await progress(shop))["money", "ever"] == 9_000
    assert await points(shop) == 50


async def test_a_challenge_without_a_programme_hears_of_somebody_elses_return_too(shop: Shop) -> None:
    await put_live(shop, "challenge", REGULAR)
    await order(shop, "o-1", 120)

    await shop.track("Order Refunded", {"order_id": "o-1"}, user_id="till")

    assert await progress(shop) == {}


@pytest.mark.parametrize("merged", ["before", "after", "at once"])
async def test_whoever_returned_an_order_and_merges_with_its_owner_takes_the_prize_back(
    challenging: Shop, merged: str
) -> None:
    shop = challenging
    await shop.identify(user_id="u-2")
    await order(shop, "o-1", 120)
    await order(shop, "o-2", 90)
    assert await points(shop) == 50
    shop.later(hours=1)
    refund = shop.event("Order Refunded", properties={"order_id": "o-1"}, user_id="u-2")
    alias = shop.event(kind=EventKind.ALIAS, previous_id="u-2", user_id="u-1")

    for batch in {"before": [[alias], [refund]], "after": [[refund], [alias]], "at once": [[refund, alias]]}[merged]:
        await shop.post(*batch)
        await shop.route()

    assert await progress(shop) == {("money", "ever"): 9_000, ("regular", "ever"): 1}
    assert await points(shop) == 0


# Contests -------------------------------------------------------------------------------------------------


async def contest(shop: Shop) -> None:
    await put_live(shop, "contest", SUMMER)
    async with shop.database.transaction() as session:
        await open_contest(session, "summer", shop.now)


async def entries(shop: Shop) -> int:
    customer = await shop.customer()
    async with shop.database.read() as session:
        return await chances(session, "summer", customer.id)


@pytest.mark.parametrize("who", [*SOMEBODY, {"user_id": "u-1"}])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("is_first", [False, True])
async def test_an_order_that_is_returned_is_no_entry_whoever_says_so_and_when(
    shop: Shop, who: dict[str, Any], name: str, *, is_first: bool
) -> None:
    await contest(shop)
    made = shop.event("Order Completed", properties={"order_id": "o-1", "total": 20, "currency": "EUR"})
    back = shop.event(name, properties={"order_id": "o-1"}, timestamp=shop.now, **who)
    shop.later(minutes=1)
    for event in [back, made] if is_first else [made, back]:
        await shop.post(event)
        await shop.route()

    assert await entries(shop) == 0


async def test_a_browsers_return_takes_no_entry_out(shop: Shop) -> None:
    await contest(shop)
    await order(shop, "o-1", 20)

    await shop.track("Order Refunded", {"order_id": "o-1"}, user_id="till", trusted=False)

    assert await entries(shop) == 1


# Referrals ------------------------------------------------------------------------------------------------


@pytest.fixture
async def referring(shop: Shop) -> ReferringShop:
    return await open_referring_shop(shop.database)


@pytest.mark.parametrize("who", SOMEBODY)
@pytest.mark.parametrize("name", NAMES)
async def test_a_friends_order_that_somebody_else_returns_during_the_hold_pays_nobody(
    referring: ReferringShop, who: dict[str, Any], name: str
) -> None:
    shop = referring
    await shop.claim("ann", "bob")
    shop.later(hours=1)
    await shop.order("bob")
    shop.later(days=1)

    await shop.track(name, {"order_id": "o-1"}, **who)

    assert await shop.states() == ["claimed"]
    shop.later(days=15)
    assert await shop.end_holds() == 0
    await shop.order("bob", "o-2")
    assert await shop.states() == ["held"]


@pytest.mark.parametrize("who", SOMEBODY)
@pytest.mark.parametrize("is_live", [True, False])
async def test_a_friends_order_that_somebody_else_returns_after_the_reward_takes_it_back_on_both_sides(
    referring: ReferringShop, who: dict[str, Any], *, is_live: bool
) -> None:
    shop = referring
    await shop.claim("ann", "bob")
    shop.later(hours=1)
    await shop.order("bob")
    shop.later(days=15)
    await shop.end_holds()
    assert (await shop.points("ann"), await shop.points("bob")) == (500, 100)
    if not is_live:
        await shop.archive_programme()

    await shop.track("Order Refunded", {"order_id": "o-1"}, **who)

    assert await shop.states() == ["revoked(refunded)"]
    assert (await shop.points("ann"), await shop.points("bob")) == (0, 0)


async def test_a_hold_waits_until_its_friend_has_heard_of_somebody_elses_return(referring: ReferringShop) -> None:
    shop = referring
    await shop.claim("ann", "bob")
    shop.later(hours=1)
    await shop.order("bob")
    shop.later(days=15)
    await shop.post(shop.event("Order Refunded", properties={"order_id": "o-1"}, user_id="till"))
    async with shop.database.transaction() as session:
        await shop.routing.route(session, shop.now, 1)

    assert await shop.end_holds() == 0

    assert await shop.states() == ["claimed"]
    assert await shop.told("Referral Rewarded") == []


async def test_a_return_beside_another_word_about_the_same_order_reaches_the_referral(referring: ReferringShop) -> None:
    shop = referring
    await shop.claim("ann", "bob")
    shop.later(hours=1)
    await shop.order("bob")
    refund = shop.event("Order Refunded", properties={"order_id": "o-1"}, user_id="till")
    await shop.post(refund, shop.event("Order Updated", properties={"order_id": "o-1"}, user_id="bob"))

    await shop.route()

    assert await shop.states() == ["claimed"]


async def test_a_friends_order_that_was_returned_under_another_id_first_does_not_qualify(
    referring: ReferringShop,
) -> None:
    shop = referring
    await shop.claim("ann", "bob")
    shop.later(hours=1)
    await shop.track("Order Refunded", {"order_id": "o-1"}, user_id="till")

    await shop.order("bob")

    assert await shop.states() == ["claimed"]


async def test_a_customers_own_word_that_an_order_was_revised_changes_no_referral(referring: ReferringShop) -> None:
    shop = referring
    await shop.claim("ann", "bob")
    shop.later(hours=1)
    await shop.order("bob")

    await shop.track("Order Revised", {"order_id": "o-1"}, user_id="bob")

    assert await shop.states() == ["held"]
