"""Referrals of people who turn out to be one person (invariant 11)."""

from __future__ import annotations

import pytest

from database.session import Database
from domain.events import EventKind
from tests.referring import ReferringShop, open_referring_shop, rewarded


@pytest.fixture
async def shop(database: Database) -> ReferringShop:
    return await open_referring_shop(database)


async def test_two_who_turn_out_to_be_one_person_lose_what_was_on_its_way(shop: ReferringShop) -> None:
    await shop.claim("ann", "bob")
    shop.later(hours=1)
    await shop.order("bob")
    await merge(shop, "ann", "bob")

    assert await shop.states() == ["rejected(self_referral)"]
    shop.later(days=20)
    assert await shop.end_holds() == 0


async def test_two_who_were_paid_and_turn_out_to_be_one_person_give_it_back(shop: ReferringShop) -> None:
    await rewarded(shop)
    await merge(shop, "ann", "bob")
    await shop.route()

    assert await shop.states() == ["revoked(self_referral)"]
    assert await shop.points("bob") == 0


async def test_a_friend_who_was_brought_twice_under_two_names_is_paid_once(shop: ReferringShop) -> None:
    await shop.sign_up("cid", "bobby")
    await shop.claim("ann", "bob")
    shop.later(hours=1)
    await shop.claim("cid", "bobby")
    await merge(shop, "bob", "bobby")
    assert sorted(await shop.states()) == ["claimed", "rejected(already_referred)"]

    await shop.order("bobby")
    shop.later(days=15)
    assert await shop.end_holds() == 1
    assert (await shop.points("ann"), await shop.points("cid")) == (500, 0)


async def test_a_merge_that_closes_a_ring_breaks_it(shop: ReferringShop) -> None:
    await shop.sign_up("cid", "dan")
    await shop.claim("ann", "bob")
    await shop.claim("bob", "cid")
    await shop.claim("dan", "ann")
    await merge(shop, "cid", "dan")
    assert sorted(await shop.states()) == ["claimed", "claimed", "rejected(circular_referral)"]


async def merge(shop: ReferringShop, one: str, other: str) -> None:
    """The shop tells that two customers are one."""
    await shop.post(shop.event(kind=EventKind.ALIAS, previous_id=one, user_id=other))
    await shop.route()
