"""A referral once one side was erased, then the other: what somebody has stays, nothing is paid twice or returns."""

from __future__ import annotations

import pytest
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment

from activities.erasures import ErasureActivities
from activities.referrals import settle_referrals
from database.session import Database
from domain.erasures import ErasureInput, ProofInput
from tests.referring import ReferringShop, open_referring_shop, rewarded
from triggers.erasures import request_erasure

PAID = {"ann": 500, "bob": 100}
"""To the referrer and to the friend."""


@pytest.fixture
async def shop(database: Database) -> ReferringShop:
    return await open_referring_shop(database)


async def erase(shop: ReferringShop, temporal: Client, user_id: str) -> None:
    """Erase somebody, and carry it out."""
    shop.later(minutes=1)
    ours = (await shop.customer(user_id)).id
    async with shop.database.transaction() as session:
        job = (await request_erasure(session, ours, by="key", as_of=shop.now)).id
    activities = ErasureActivities(shop.database, temporal)
    await ActivityEnvironment().run(activities.remove_records, ErasureInput(erasure_id=job))
    proof = ProofInput(erasure_id=job, as_of=shop.now, last=True)
    await ActivityEnvironment().run(activities.prove, proof)
    assert (await shop.balance(ours)).available == 0


async def life_goes_on(shop: ReferringShop) -> None:
    """The shop refunds the friend's order, tells of it again, and whoever was erased comes back and orders anew."""
    shop.later(days=1)
    await shop.refund("bob")
    await shop.order("bob", message_id="again")
    await shop.sign_up("ann", "bob")
    await shop.order("bob", "o-2")
    for _ in range(2):
        shop.later(days=20)
        await ActivityEnvironment().run(settle_referrals, shop.database, shop.now)
        assert await shop.end_holds() == 0


@pytest.mark.parametrize(("first", "second"), [("bob", "ann"), ("ann", "bob")], ids=["friend first", "referrer first"])
async def test_what_the_other_side_was_paid_stays_and_an_erased_side_gets_nothing_more(
    shop: ReferringShop, temporal_client: Client, first: str, second: str
) -> None:
    await rewarded(shop)
    was = {user_id: (await shop.customer(user_id)).id for user_id in PAID}

    await erase(shop, temporal_client, first)
    await life_goes_on(shop)
    left, returned = await shop.points(second), await shop.points(first)
    await erase(shop, temporal_client, second)
    await life_goes_on(shop)

    assert (left, returned) == (PAID[second], 0)
    assert [(await shop.balance(each)).available for each in was.values()] == [0, 0]
    assert [await shop.points(user_id) for user_id in PAID] == [0, 0]
    assert await shop.states() == ["rewarded"]


@pytest.mark.parametrize("erased", ["bob", "ann"], ids=["friend", "referrer"])
async def test_a_referral_whose_hold_is_not_over_pays_nobody_once_one_side_is_erased(
    shop: ReferringShop, temporal_client: Client, erased: str
) -> None:
    await shop.claim("ann", "bob")
    shop.later(hours=1)
    await shop.order("bob")

    await erase(shop, temporal_client, erased)
    await life_goes_on(shop)

    assert [await shop.points(user_id) for user_id in PAID] == [0, 0]
    assert await shop.states() == ["expired(erased)"]
