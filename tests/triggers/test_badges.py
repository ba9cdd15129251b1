"""Badges that only so many may have: the last ones go once, and what is taken back goes to the next."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from database import customers
from database.badges import has_room, lock_badges
from database.challenge_progress import keep_completions
from database.session import Database
from tests.challenging import PROGRAMME, TWO_ORDERS, balance, completions, order, put_live, told
from tests.factories import NOON, make_customer
from tests.triggers.shop import Shop
from triggers.completions import Place, reach

EARLY_BIRD: dict[str, Any] = {"badge": "early-bird", "most": 3}
FIRST_ORDER = TWO_ORDERS | {"levels": [{"level": "done", "at": 1, "points": 5, "badge": EARLY_BIRD}]}


@pytest.fixture(autouse=True)
async def challenge(shop: Shop) -> None:
    await put_live(shop, "programme", PROGRAMME)
    await put_live(shop, "challenge", FIRST_ORDER | {"refunds": "revoke"})


async def wearers(shop: Shop) -> list[str]:
    rows = [row for row in await completions(shop) if row.badge is not None and row.revoked_at is None]
    names = {(await shop.customer(user)).id: user for user in ("ann", "bob", "cem", "dora")}
    return sorted(names[row.customer_id] for row in rows)


async def wear_one(database: Database, customer_id: UUID) -> bool:
    """What the router does for a member, in a transaction of its own; whether there was one left."""
    async with database.transaction() as session:
        await customers.lock(session, [customer_id], skip_locked=False)
        await lock_badges(session, {"early-bird"})
        if not await has_room(session, "early-bird", 3, customer_id):
            return False
        place = Place("first-order", "ever", "done", 1, customer_id)
        row = reach(None, place, 1, NOON, NOON)
        row.badge = EARLY_BIRD
        await keep_completions(session, [row])
        return True


async def test_fifty_who_want_the_last_three_badges_at_once_get_three(database: Database) -> None:
    members = [await make_customer(database, f"u-{n}") for n in range(50)]

    worn = await asyncio.gather(*[wear_one(database, member) for member in members])

    assert sum(worn) == 3


async def test_of_ten_in_one_batch_three_get_the_badge_and_all_are_paid(shop: Shop) -> None:
    """Who comes too late for the badge is told so."""
    properties = [{"order_id": f"o-{n}", "total": 10} for n in range(10)]
    await shop.post(*[shop.event("Order Completed", user_id=f"u-{n}", properties=properties[n]) for n in range(10)])

    await shop.route()

    done = await completions(shop)
    assert sum(row.badge is not None for row in done) == 3
    assert [row.not_given for row in done if row.badge is None] == [{"badge": "none_left"}] * 7
    assert [row.points for row in done] == [5] * 10


async def test_a_badge_that_is_revoked_makes_room_for_the_next(shop: Shop) -> None:
    for user in ("ann", "bob", "cem"):
        await order(shop, f"o-{user}", user_id=user)
    shop.later(hours=1)
    await shop.track("Order Cancelled", {"order_id": "o-bob"}, user_id="bob")

    await order(shop, "o-dora", user_id="dora")

    await order(shop, "o-bob-2", user_id="bob")  # too late
    assert await wearers(shop) == ["ann", "cem", "dora"]
    assert [said["badge"] for said in await told(shop, "Challenge Completed")] == [*["early-bird"] * 4, None]
    assert (await balance(shop, "bob")).available == 5


async def test_whoever_has_a_badge_takes_no_second_place_by_another_challenge(shop: Shop) -> None:
    again = FIRST_ORDER | {"challenge": "again", "metric": {"count": "Store Visited"}}
    await put_live(shop, "challenge", again)
    for user in ("ann", "bob", "cem"):
        await order(shop, f"o-{user}", user_id=user)

    for user in ("ann", "dora"):
        await shop.track("Store Visited", user_id=user)

    assert await wearers(shop) == ["ann", "ann", "bob", "cem"]
