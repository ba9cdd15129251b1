"""The hourly pass over referrals: holds that no workflow has ended, and what nobody claimed or earned in time."""

from __future__ import annotations

import pytest
from temporalio.testing import ActivityEnvironment

from activities.referrals import ReferralActivities
from activities.settling import Settled, SettlingActivities, SettlingStep
from database.session import Database
from domain.referral_holds import ReferralDue
from domain.referral_signals import SignalKind
from tests.referring import ReferringShop


@pytest.fixture
async def shop(database: Database) -> ReferringShop:
    """A shop with a live programme."""
    shop = ReferringShop(database)
    await shop.publish_programme(valid="30d")
    await shop.sign_up("ann", "bob", "cid", "dan")
    return shop


async def settle(shop: ReferringShop) -> Settled:
    """One pass as of now."""
    step = SettlingStep(since=shop.now, as_of=shop.now)
    settled: Settled = await ActivityEnvironment().run(SettlingActivities(shop.database).end_referral_holds, step)
    return settled


async def test_a_pass_rewards_what_is_due_and_a_second_one_finds_nothing(shop: ReferringShop) -> None:
    for friend in ("bob", "cid"):
        await shop.claim("ann", friend)
    shop.later(hours=1)
    await shop.order("bob", "o-b")
    shop.later(days=7)
    await shop.order("cid", "o-c")
    shop.later(days=7, hours=1)

    assert [(await settle(shop)).count for _ in range(2)] == [1, 0]
    assert await shop.states() == ["rewarded", "held"]
    assert (await shop.points("ann"), await shop.points("bob"), await shop.points("cid")) == (500, 100, 0)


async def test_claims_lapse_but_not_those_that_wait_for_a_person_with_an_order(shop: ReferringShop) -> None:
    for friend in ("bob", "cid", "dan"):
        device = f"phone of {friend}"
        await shop.track("Product Viewed", user_id="ann", context={"device": {"id": device}})
        await shop.claim("ann", friend, {} if friend == "bob" else {SignalKind.DEVICE: device})
    shop.later(hours=1)
    await shop.order("cid")
    shop.later(days=30)

    assert (await settle(shop)).count == 2
    assert await shop.states() == ["expired(not_qualified_in_time)", "under_review", "expired(not_qualified_in_time)"]
    await shop.route()
    assert await shop.told("Referral Expired") == [("ann", "referrer"), ("ann", "referrer")]


async def test_an_end_that_comes_twice_or_for_nothing_does_no_harm(shop: ReferringShop) -> None:
    await shop.claim("ann", "bob")
    shop.later(hours=1)
    await shop.order("bob")
    [row] = await shop.referrals()
    shop.later(days=15)
    activity = ReferralActivities(shop.database).reward_referral
    due = ReferralDue(referral_id=row.id, as_of=shop.now)

    done = [await ActivityEnvironment().run(activity, due) for _ in range(2)]

    assert done == [True, False]
    assert (await shop.points("ann"), await shop.points("bob")) == (500, 100)
