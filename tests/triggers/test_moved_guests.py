"""G34: challenges, contests and referrals follow a guest's history to whose it was, for a day; what is older stays."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from database.contests import ContestDraw, chances, open_contest
from database.referrals import Referral
from domain.events import EventKind
from domain.referrals import Reason, ReferralState
from tests.challenging import TWO_ORDERS, completions, put_live
from tests.referring import ReferringShop
from tests.triggers.earning import ORDER, balance, open_programme
from tests.triggers.shop import Shop

SUMMER: dict[str, Any] = {
    "contest": "summer",
    "closes": "2026-07-04",
    "entries": [{"rule": "order", "on": {"event": ORDER}, "limit": 2}],
    "refunds": "remove",
}


async def link(shop: Shop, user_id: str, *, earlier: bool = False, trusted: bool = True) -> None:
    """Somebody says that browser `a` is this customer's; `earlier`: half an hour ago."""
    at = shop.now - timedelta(minutes=30) if earlier else shop.now
    await shop.post(
        shop.event(kind=EventKind.IDENTIFY, user_id=user_id, anonymous_id="a", timestamp=at, trusted=trusted)
    )
    await shop.route()


async def order(shop: Shop, order_id: str, **who: Any) -> None:
    told = {"order_id": order_id, "total": 50, "subtotal": 50, "currency": "EUR"}
    await shop.track(ORDER, told, **(who or {"anonymous_id": "a"}))


async def entries(shop: Shop, user_id: str) -> int:
    customer = await shop.customer(user_id)
    async with shop.database.read() as session:
        return await chances(session, "summer", customer.id)


async def points(shop: Shop, *user_ids: str) -> list[int]:
    return [(await balance(shop, user_id)).available for user_id in user_ids]


# Challenges -----------------------------------------------------------------------------------------------


@pytest.fixture
async def challenging(shop: Shop) -> Shop:
    """A challenge of two orders, for 50 points, that returns never take back."""
    await open_programme(shop, {"rule": "none", "on": {"event": "None"}, "amount": {"points": 1}})
    await put_live(shop, "challenge", TWO_ORDERS | {"refunds": "ignore"})
    return shop


async def two_guest_orders_of_mal(shop: Shop) -> None:
    for number in range(2):
        await order(shop, f"o-{number}")
    shop.later(hours=1)
    await link(shop, "mal")


async def test_a_prize_for_what_a_guest_did_goes_to_whose_it_was(challenging: Shop) -> None:
    shop = challenging
    await two_guest_orders_of_mal(shop)
    assert await points(shop, "mal") == [50]
    await link(shop, "ann", earlier=True)
    assert await points(shop, "mal", "ann") == [0, 50]
    ann = await shop.customer("ann")
    standing = {row.customer_id == ann.id: row.revoked_at is None for row in await completions(shop)}
    assert standing == {False: False, True: True}


async def test_a_prize_that_was_given_more_than_a_day_before_stays(challenging: Shop) -> None:
    shop = challenging
    await two_guest_orders_of_mal(shop)
    shop.later(hours=26)
    at = shop.now - timedelta(hours=26, minutes=30)
    await shop.post(shop.event(kind=EventKind.IDENTIFY, user_id="ann", anonymous_id="a", timestamp=at))
    await shop.route()
    assert await points(shop, "mal") == [50]


async def test_a_prize_that_is_earned_without_the_guests_history_stays(challenging: Shop) -> None:
    shop = challenging
    await two_guest_orders_of_mal(shop)
    for number in range(2):
        await order(shop, f"own-{number}", user_id="mal")
    await link(shop, "ann", earlier=True)
    assert await points(shop, "mal", "ann") == [50, 50]


# Contests -------------------------------------------------------------------------------------------------


@pytest.fixture
async def contest(shop: Shop) -> Shop:
    """A contest with two entries a customer, for orders that are kept."""
    await put_live(shop, "contest", SUMMER)
    async with shop.database.transaction() as session:
        await open_contest(session, "summer", shop.now)
    return shop


@pytest.mark.parametrize("browser_first", [False, True])
async def test_a_guests_order_enters_once_a_trusted_source_says_whose_it_was(
    contest: Shop, browser_first: bool
) -> None:
    shop = contest
    await order(shop, "o-1")
    shop.later(hours=30)
    if browser_first:
        await link(shop, "ann", trusted=False)
        assert await entries(shop, "ann") == 0
    await link(shop, "ann")
    assert await entries(shop, "ann") == 1
    await link(shop, "ann")
    assert await entries(shop, "ann") == 1


async def test_an_entry_by_what_a_guest_did_goes_to_whose_it_was(contest: Shop) -> None:
    """And the room that it took of the limit goes to what is the other one's own."""
    shop = contest
    await order(shop, "guest")
    shop.later(hours=1)
    await link(shop, "mal")
    for number in range(2):
        await order(shop, f"own-{number}", user_id="mal")
    assert await entries(shop, "mal") == 2
    await link(shop, "ann", earlier=True)
    assert (await entries(shop, "mal"), await entries(shop, "ann")) == (2, 1)


async def test_a_guests_order_that_came_back_enters_nobody(contest: Shop) -> None:
    shop = contest
    await order(shop, "o-1")
    await shop.track("Order Cancelled", {"order_id": "o-1"}, anonymous_id="a")
    await link(shop, "ann")
    assert await entries(shop, "ann") == 0


async def test_entries_of_a_frozen_list_move_no_more(contest: Shop) -> None:
    shop = contest
    await order(shop, "guest")
    shop.later(hours=1)
    await link(shop, "mal")
    async with shop.database.transaction() as session:
        await session.execute(update(ContestDraw).values(frozen_at=shop.now))
    await link(shop, "ann", earlier=True)
    assert (await entries(shop, "mal"), await entries(shop, "ann")) == (1, 0)


async def test_an_entry_of_more_than_a_day_before_stays_whose_it_is(contest: Shop) -> None:
    shop = contest
    await order(shop, "guest")
    shop.later(hours=1)
    await link(shop, "mal")
    shop.later(hours=30)
    at = shop.now - timedelta(hours=30, minutes=30)
    await shop.post(shop.event(kind=EventKind.IDENTIFY, user_id="ann", anonymous_id="a", timestamp=at))
    await shop.route()
    assert (await entries(shop, "mal"), await entries(shop, "ann")) == (1, 0)


# Referrals ------------------------------------------------------------------------------------------------


@pytest.fixture
async def referring(shop: Shop) -> ReferringShop:
    """Rita brought mal and, by another code, ann."""
    found = ReferringShop(shop.database, shop.now)
    await found.publish_programme()
    await found.sign_up("rita", "mal", "ann")
    for friend in ("mal", "ann"):
        await found.claim("rita", friend)
    found.later(hours=1)
    return found


async def referral(shop: ReferringShop, friend: str) -> Referral:
    customer = await shop.customer(friend)
    [row] = [each for each in await shop.referrals() if each.referee_id == customer.id]
    return row


async def test_a_friends_order_as_a_guest_qualifies_once_it_is_linked(referring: ReferringShop) -> None:
    shop = referring
    await order(shop, "o-1")
    shop.later(hours=30)
    await link(shop, "mal", trusted=False)
    assert (await referral(shop, "mal")).state == ReferralState.CLAIMED
    await link(shop, "mal")
    row = await referral(shop, "mal")
    assert (row.state, row.order_id) == (ReferralState.HELD, "o-1")


async def test_a_guests_order_from_before_the_claim_ends_the_referral_once_it_is_linked(
    referring: ReferringShop,
) -> None:
    shop = referring
    await shop.track(ORDER, {"order_id": "o-1"}, anonymous_id="a", timestamp=shop.now - timedelta(hours=2))
    await link(shop, "mal")
    row = await referral(shop, "mal")
    assert (row.state, row.reason) == (ReferralState.REJECTED, Reason.EXISTING_CUSTOMER)


@pytest.mark.parametrize("own", [False, True])
async def test_an_order_that_turns_out_to_be_anothers_qualifies_that_friend(
    referring: ReferringShop, own: bool
) -> None:
    """Who loses it stands where they stood, or qualifies by an order of their own."""
    shop = referring
    await order(shop, "guest")
    shop.later(hours=1)
    await link(shop, "mal")
    if own:
        await order(shop, "own", user_id="mal")
    assert (await referral(shop, "mal")).order_id == "guest"
    await link(shop, "ann", earlier=True)
    loser, winner = await referral(shop, "mal"), await referral(shop, "ann")
    assert (winner.state, winner.order_id) == (ReferralState.HELD, "guest")
    assert loser.order_id == ("own" if own else None)
    assert loser.state == (ReferralState.HELD if own else ReferralState.CLAIMED)


async def test_what_was_paid_for_an_order_of_today_that_is_anothers_is_taken_back(referring: ReferringShop) -> None:
    shop = referring
    await shop.publish_programme(hold="1m")
    await order(shop, "guest")
    shop.later(hours=1)
    await link(shop, "mal")
    await shop.end_holds()
    assert (await referral(shop, "mal")).state == ReferralState.REWARDED
    await link(shop, "ann", earlier=True)
    row = await referral(shop, "mal")
    assert (row.state, row.reason) == (ReferralState.REVOKED, Reason.NOT_THEIRS)
