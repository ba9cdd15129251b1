"""Referrals as events make them go: qualified, held, rewarded, returned, limited (invariant 11)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from database.redemptions import Redemption, fulfil_used
from database.session import Database
from domain.errors import Conflict, NotFound
from domain.referral_signals import SignalKind
from perennial.doctor import examine
from perennial.document_files import read_folder
from tests.referring import ReferringShop, open_referring_shop, rewarded
from tests.rewarding import TENNER, publish_reward


@pytest.fixture
async def shop(database: Database) -> ReferringShop:
    return await open_referring_shop(database)


async def test_both_sides_are_rewarded_after_the_hold_and_never_before(shop: ReferringShop) -> None:
    await shop.claim("ann", "bob")
    shop.later(hours=1)
    await shop.order("bob")
    assert await shop.states() == ["held"]

    shop.later(days=13, hours=23)
    assert await shop.end_holds() == 0
    assert (await shop.points("ann"), await shop.points("bob")) == (0, 0)

    shop.later(hours=1)
    assert await shop.end_holds() == 1
    assert await shop.states() == ["rewarded"]
    assert (await shop.points("ann"), await shop.points("bob")) == (500, 100)
    assert await shop.told("Referral Rewarded") == [("ann", "referrer"), ("bob", "referee")]


async def test_ending_a_hold_twice_pays_once(shop: ReferringShop) -> None:
    await rewarded(shop)

    assert await shop.end_holds() == 0
    assert (await shop.points("ann"), await shop.points("bob")) == (500, 100)


async def test_an_order_below_the_minimum_does_not_qualify_and_a_later_one_does(shop: ReferringShop) -> None:
    await shop.claim("ann", "bob")
    shop.later(hours=1)
    await shop.order("bob", "small", 29.99)
    assert await shop.states() == ["claimed"]

    await shop.order("bob", "enough", 30)
    assert await shop.states() == ["held"]


async def test_a_browsers_word_qualifies_nobody(shop: ReferringShop) -> None:
    await shop.claim("ann", "bob")
    shop.later(hours=1)
    await shop.order("bob", trusted=False)
    assert await shop.states() == ["claimed"]


async def test_a_friend_qualifies_once_however_often_they_order(shop: ReferringShop) -> None:
    await rewarded(shop)
    shop.later(days=1)
    await shop.order("bob", "o-2")
    shop.later(days=20)

    assert await shop.end_holds() == 0
    assert await shop.points("ann") == 500


async def test_a_return_during_the_hold_leads_back_to_claimed_and_a_new_order_qualifies_anew(
    shop: ReferringShop,
) -> None:
    await shop.claim("ann", "bob")
    shop.later(hours=1)
    await shop.order("bob")
    shop.later(days=13)
    await shop.refund("bob", total=20.01)
    assert await shop.states() == ["claimed"]

    shop.later(days=2)
    assert await shop.end_holds() == 0
    await shop.order("bob", "o-2")
    assert await shop.states() == ["held"]
    shop.later(days=15)
    assert await shop.end_holds() == 1
    assert (await shop.points("ann"), await shop.points("bob")) == (500, 100)


async def test_a_return_that_leaves_enough_changes_nothing(shop: ReferringShop) -> None:
    await shop.claim("ann", "bob")
    shop.later(hours=1)
    await shop.order("bob")
    await shop.refund("bob", total=20)
    assert await shop.states() == ["held"]


@pytest.mark.parametrize("how", ["refunded", "cancelled"])
async def test_a_return_after_the_reward_revokes_for_good_and_takes_back_from_both(
    shop: ReferringShop, how: str
) -> None:
    """The referee refunds after the reward: khoj openpaper PR 54; kept after cancel: sherlock gmx 10."""
    await rewarded(shop)
    if how == "refunded":
        await shop.refund("bob")
    else:
        await shop.track("Order Cancelled", {"order_id": "o-1"}, user_id="bob")
    await shop.route()

    assert await shop.states() == ["revoked(refunded)"]
    assert (await shop.points("ann"), await shop.points("bob")) == (0, 0)
    assert await shop.told("Referral Revoked") == [("ann", "referrer"), ("bob", "referee")]

    await shop.order("bob", "o-2")
    shop.later(days=20)
    assert await shop.end_holds() == 0
    with pytest.raises(Conflict, match="once is all"):
        await claim_for_a_third(shop)


async def test_a_return_after_the_programme_was_archived_takes_back_what_it_gave(shop: ReferringShop) -> None:
    """Referral ran in an inactive campaign: Voucherify changelog, 31 March 2026."""
    await rewarded(shop)
    await shop.archive_programme()
    await shop.refund("bob")
    await shop.route()
    assert await shop.states() == ["revoked(refunded)"]
    assert (await shop.points("ann"), await shop.points("bob")) == (0, 0)


async def test_a_hold_that_ends_while_no_programme_is_live_pays_nothing_yet(shop: ReferringShop) -> None:
    await shop.claim("ann", "bob")
    shop.later(hours=1)
    await shop.order("bob")
    await shop.archive_programme()
    shop.later(days=15)
    assert await shop.end_holds() == 0
    assert await shop.states() == ["held"]


async def test_a_hold_is_paid_by_another_programme_as_it_was_decided_and_taken_back_from_there(
    shop: ReferringShop,
) -> None:
    await shop.claim("ann", "bob")
    shop.later(hours=1)
    await shop.order("bob")
    await shop.archive_programme()
    await shop.publish_programme("other", referrer={"points": 1}, referee={"points": 1})
    shop.later(days=15)

    assert await shop.end_holds() == 1
    assert [await shop.points(user, "other") for user in ("ann", "bob")] == [500, 100]
    verdicts = await examine(shop.database, shop.now, email_per_second=5, provider="smtp")
    assert [each.promise for each in verdicts if not each.is_kept] == []

    await shop.refund("bob")
    await shop.route()
    assert [await shop.points(user, "other") for user in ("ann", "bob")] == [0, 0]


async def claim_for_a_third(shop: ReferringShop) -> None:
    await shop.sign_up("cid")
    await shop.claim("cid", "bob")


async def test_a_return_that_comes_before_its_order_is_known(shop: ReferringShop) -> None:
    await shop.claim("ann", "bob")
    shop.later(hours=1)
    await shop.refund("bob")
    await shop.order("bob")
    assert await shop.states() == ["claimed"]


async def test_an_unrouted_return_keeps_the_reward_back(shop: ReferringShop) -> None:
    await shop.claim("ann", "bob")
    shop.later(hours=1)
    await shop.order("bob")
    shop.later(days=15)
    await shop.post(shop.event("Order Refunded", user_id="bob", properties={"order_id": "o-1"}))

    assert await shop.end_holds() == 0
    assert await shop.states() == ["claimed"]


async def test_a_claim_is_safe_to_repeat(shop: ReferringShop) -> None:
    """LoyaltyLion's contract of claiming; duplicates per user: laravel-referrals 34."""
    first, again = await shop.claim("ann", "bob"), await shop.claim("ann", "bob")

    assert (first.repeated, again.repeated) == (False, True)
    assert len(await shop.referrals()) == 1


@pytest.mark.parametrize("email", ["a.nn+2@gmail.com", "ANN@googlemail.com"])
async def test_nobody_refers_themselves_under_another_address(shop: ReferringShop, email: str) -> None:
    await shop.sign_up("ann-1", email="ann@gmail.com")
    await shop.sign_up("ann-2", email=email)
    with pytest.raises(Conflict) as refused:
        await shop.claim("ann-1", "ann-2")
    assert refused.value.code == "self_referral"
    with pytest.raises(Conflict) as refused:
        await shop.claim("ann", "ann")
    assert refused.value.code == "self_referral"


async def test_whoever_has_ordered_cannot_be_brought_not_even_with_the_order_on_its_way(shop: ReferringShop) -> None:
    await shop.order("bob", subtotal=1)
    await shop.sign_up("cid")
    await shop.post(shop.event("Order Completed", user_id="cid", properties={"order_id": "o-2", "total": 1}))

    for friend in ("bob", "cid"):
        with pytest.raises(Conflict) as refused:
            await shop.claim("ann", friend)
        assert refused.value.code == "existing_customer"


async def test_a_late_order_from_before_the_claim_ends_it(shop: ReferringShop) -> None:
    before = shop.now
    shop.later(hours=1)
    await shop.claim("ann", "bob")
    shop.later(hours=1)
    await shop.order("bob", timestamp=before)
    assert await shop.states() == ["rejected(existing_customer)"]


async def test_an_older_order_that_comes_out_after_the_reward_takes_nothing_back_and_is_shown(
    shop: ReferringShop,
) -> None:
    before = shop.now - timedelta(days=3)
    await rewarded(shop)
    for order_id in ("old-1", "old-2"):
        await shop.order("bob", order_id, timestamp=before)

    [row] = await shop.referrals()
    assert (row.state, row.suspicions) == ("rewarded", ["ordered_before"])
    assert (await shop.points("ann"), await shop.points("bob")) == (500, 100)
    verdicts = await examine(shop.database, shop.now, email_per_second=5, provider="smtp")
    [notice] = [each for each in verdicts if "had ordered" in each.promise]
    assert (notice.is_notice, list(notice.offenders)) == (True, [str(row.id)])


async def test_nobody_is_brought_by_whom_they_have_brought(shop: ReferringShop) -> None:
    await shop.sign_up("cid")
    await shop.claim("ann", "bob")
    await shop.claim("bob", "cid")
    with pytest.raises(Conflict) as refused:
        await shop.claim("cid", "ann")
    assert refused.value.code == "circular_referral"


async def test_a_code_that_nobody_has_is_not_found_and_typing_it_differently_is_fine(shop: ReferringShop) -> None:
    with pytest.raises(NotFound):
        await shop.claim("ann", "bob", code="00000000")
    first = await shop.claim("ann", "bob")
    code = first.referral.code or ""
    await shop.sign_up("cid")
    await shop.claim("ann", "cid", code=f"{code[:4].lower()}-{code[4:].lower()}")
    assert await shop.states() == ["claimed", "claimed"]


async def test_the_limit_counts_rewarded_and_held_friends_of_the_calendar_year(shop: ReferringShop) -> None:
    await shop.publish_programme(limit={"per_referrer": 2, "per": "1y"})
    friends = ["f-1", "f-2", "f-3"]
    await shop.sign_up(*friends)
    for friend in friends:
        await shop.claim("ann", friend)
    shop.later(hours=1)
    for friend in friends:
        await shop.order(friend, f"o-{friend}")

    assert await shop.states() == ["held", "held", "rejected(limit_reached)"]
    await shop.refund("f-1", "o-f-1")  # during the hold: a place is free again
    await shop.sign_up("f-4")
    await shop.claim("ann", "f-4")
    await shop.order("f-4", "o-f-4")
    assert await shop.states() == ["claimed", "held", "rejected(limit_reached)", "held"]
    shop.later(days=300)  # the next year begins
    await shop.sign_up("f-5")
    await shop.claim("ann", "f-5")
    await shop.order("f-5", "o-f-5")
    assert (await shop.states())[-1] == "held"


async def test_a_claim_that_is_too_old_lapses(shop: ReferringShop) -> None:
    await shop.publish_programme(valid="30d")
    await shop.claim("ann", "bob")
    shop.later(days=30)
    await shop.order("bob")
    assert await shop.states() == ["expired(not_qualified_in_time)"]


async def test_a_claim_under_review_waits_for_a_person_even_when_the_friend_has_ordered(shop: ReferringShop) -> None:
    await shop.track("Product Viewed", user_id="ann", context={"device": {"id": "phone-1"}})
    claimed = await shop.claim("ann", "bob", {SignalKind.DEVICE: "phone-1"})
    shop.later(hours=1)
    await shop.order("bob")

    assert claimed.referral.suspicions == ["same_device"]
    assert await shop.states() == ["under_review"]
    [row] = await shop.referrals()
    assert row.qualified_at is not None
    assert await shop.told("Referral Qualified") == []


async def test_the_same_means_of_payment_is_rejected_at_once(shop: ReferringShop) -> None:
    await shop.track("Order Completed", {"order_id": "a-2", "payment_fingerprint": "card-1"}, user_id="ann")
    await shop.claim("ann", "bob", {SignalKind.PAYMENT: "card-1"})
    assert await shop.states() == ["rejected(fraud)"]


async def test_ten_claims_from_one_network_within_a_week_are_put_before_a_person(shop: ReferringShop) -> None:
    """Ten referrals from an address in a week: Smile 4036291."""
    friends = [f"f-{n}" for n in range(11)]
    await shop.sign_up(*friends)
    for n, friend in enumerate(friends):
        await shop.claim("ann", friend, {SignalKind.IP: f"93.184.216.{n}"})
    assert await shop.states() == ["claimed"] * 10 + ["under_review"]


async def test_the_built_in_journey_follows_each_friend_on_both_sides(shop: ReferringShop) -> None:
    await shop.publish(read_folder(Path("templates/journeys"), "journey")["referral-reward"])
    await shop.sign_up("cid")
    for friend in ("bob", "cid"):
        await shop.claim("ann", friend)
    await shop.route()
    names = {(await shop.customer(user_id)).id: user_id for user_id in ("ann", "bob", "cid")}

    runs = [(names[run.customer_id], run.entry["properties"]["side"]) for run in await shop.runs("referral-reward")]
    assert sorted(runs) == [("ann", "referrer"), ("ann", "referrer"), ("bob", "referee"), ("cid", "referee")]

    shop.later(hours=1)
    await shop.order("bob")  # who has ordered is invited to bring friends, too: once
    await shop.order("bob", "o-2")
    own = [run for run in await shop.runs("referral-reward") if names[run.customer_id] == "bob"]
    assert [run.entry["event"] for run in own] == ["Referral Claimed", "Order Completed", "Order Completed"]

    shop.later(hours=1)
    before = [run.id for run in await shop.runs() if run.state == "active"]
    await shop.order("cid", "c-0", timestamp=shop.now - timedelta(hours=3))  # an older customer after all
    await shop.route()
    ended = {run.id for run in await shop.runs() if run.state == "exited"}
    assert len(ended & set(before)) == 1


@pytest.mark.parametrize("is_used", [False, True])
async def test_a_coupon_is_given_after_the_hold_and_void_after_a_return_unless_it_was_used(
    shop: ReferringShop, database: Database, is_used: bool
) -> None:
    await publish_reward(database, TENNER, lasts="90d")
    await shop.publish_programme(referee={"reward": "tenner"})
    await rewarded(shop)
    friend = (await shop.customer("bob")).id
    [gift] = await redemptions(database)
    assert (gift.customer_id, gift.state, gift.points) == (friend, "issued", 0)
    assert gift.code is not None
    if is_used:
        async with database.transaction() as session:
            await fulfil_used(session, [gift.id], shop.now)

    await shop.refund("bob")
    await shop.route()

    [gift] = await redemptions(database)
    assert gift.state == ("fulfilled" if is_used else "cancelled")
    assert (await shop.states(), await shop.points("ann")) == (["revoked(refunded)"], 0)


async def test_a_reward_that_is_sold_out_keeps_the_points_from_nobody(shop: ReferringShop, database: Database) -> None:
    await publish_reward(database, TENNER, stock=0)
    await shop.publish_programme(referrer={"points": 500, "reward": "tenner"})
    await rewarded(shop)

    assert await redemptions(database) == []
    assert (await shop.points("ann"), await shop.points("bob")) == (500, 100)


async def redemptions(database: Database) -> list[Redemption]:
    async with database.read() as session:
        return list((await session.execute(select(Redemption))).scalars())
