"""Referrals of other systems that paid for nothing, or for what was taken back, each tried on ours.

What each system got wrong and where it is told: docs/loyalty/peers.md.
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.regressions.club import Club, codes

REFERRAL: dict[str, Any] = {
    "qualifies_on": {"event": "Order Completed", "where": [{"property": "subtotal", "gte": 30}]},
    "hold": "14d",
    "referrer": {"points": 500},
    "referee": {"points": 100},
}


@pytest.fixture(autouse=True, scope="module")
async def programme(club: Club) -> None:
    """500 points for who brings and 100 for who comes, two weeks after an order of 30 euros."""
    await club.programme(referral=REFERRAL)


async def claim(club: Club, referrer: str, referee: str) -> httpx.Response:
    return await club.post("referrals/claim", referrer=referrer, referee=referee)


async def states(club: Club, referrer: str) -> dict[str, int]:
    return dict((await club.get(f"customers/{referrer}/referral"))["counts"])


async def end_holds(club: Club) -> None:
    """Two weeks later the job of the hour comes by."""
    club.shop.later(days=14, hours=1)
    await club.broken_promises()
    await club.shop.route()


async def test_an_order_that_is_cancelled_keeps_no_referral_before_or_after_the_reward(club: Club) -> None:
    """sherlock gmx 10, LoopFi 62: the code stayed in force after a cancellation; openpaper PR 54: after a refund."""
    ann, bob, cid = await club.member(), await club.member(), await club.member()
    for friend in (bob, cid):
        assert (await claim(club, ann, friend)).status_code == 201
    club.shop.later(hours=1)
    early, late = await club.buy(bob, 50), await club.buy(cid, 50)

    await club.shop.track("Order Cancelled", {"order_id": early}, user_id=bob)
    during = await states(club, ann)
    await end_holds(club)
    paid = [await club.available(each) for each in (ann, bob, cid)]
    await club.shop.track("Order Cancelled", {"order_id": late}, user_id=cid)

    assert during == {"claimed": 1, "held": 1}
    assert paid == [500, 0, 100]
    assert [await club.available(each) for each in (ann, bob, cid)] == [0, 0, 0]
    assert await states(club, ann) == {"claimed": 1, "revoked": 1}


async def test_no_referral_comes_to_be_without_a_claim_that_is_valid(club: Club) -> None:
    """lobehub PR 12958: a backfill attached referrals to people who had done nothing that counts."""
    ann, bob, cid = await club.member(), await club.member(), await club.member()
    await club.buy(cid, 50)

    told = {"referrer": ann, "state": "rewarded", "side": "referrer"}
    for name in ("Referral Claimed", "Referral Qualified", "Referral Rewarded"):
        await club.shop.track(name, told, user_id=bob)
    refused = [
        await club.post("referrals/claim", code="NOBODYS", referee=bob),
        await club.post("referrals/claim", referrer="nobody", referee=bob),
        await claim(club, ann, cid),
        await claim(club, ann, ann),
    ]
    await club.buy(bob, 50)
    await end_holds(club)

    assert codes(*refused)[2:] == ["existing_customer", "self_referral"]
    assert [answer.status_code for answer in refused] == [404, 404, 409, 409]
    assert (await states(club, ann), await club.available(ann), await club.available(bob)) == ({}, 0, 0)


async def test_a_second_account_of_the_same_person_is_not_a_friend(club: Club) -> None:
    """Smile 4036291, LoyaltyLion's invalid_referee: people refer themselves under another address, and are merged."""
    ann, twin = await club.member(), await club.member()
    await club.shop.identify({"email": "ann.example@gmail.com"}, user_id=ann)
    await club.shop.identify({"email": "AnnExample+second@googlemail.com"}, user_id=twin)
    bob, later_ann = await club.member(), await club.member()

    refused = await claim(club, ann, twin)
    await claim(club, bob, later_ann)
    club.shop.later(hours=1)
    await club.buy(later_ann, 50)
    await club.become_one(later_ann, bob)
    await end_holds(club)

    assert codes(refused) == ["self_referral"]
    assert await club.available(bob) == 0


async def test_nobody_is_brought_by_those_whom_they_have_brought(club: Club) -> None:
    """Rings and chain farms: no system that was read for this looks for them."""
    a, b, c = await club.member(), await club.member(), await club.member()

    answers = [await claim(club, a, b), await claim(club, b, c), await claim(club, c, a)]

    assert codes(*answers) == [200, 200, "circular_referral"]


async def test_after_all_of_that_the_doctor_finds_every_promise_kept(club: Club) -> None:
    assert await club.broken_promises() == []
