"""Badges that only so many may have: the last ones go once, and what is taken back goes to the next."""

from __future__ import annotations

import asyncio

import pytest

from tests.challenging import PROGRAMME, TWO_ORDERS, balance, completions, order, put_live, told
from tests.triggers.shop import Shop
from triggers.live import JourneyCache
from triggers.routing import Routing

EARLY_BIRD = {"badge": "early-bird", "most": 3}
FIRST_ORDER = TWO_ORDERS | {"levels": [{"level": "done", "at": 1, "points": 5, "badge": EARLY_BIRD}]}


@pytest.fixture(autouse=True)
async def challenge(shop: Shop) -> None:
    await put_live(shop, "programme", PROGRAMME)
    await put_live(shop, "challenge", FIRST_ORDER | {"refunds": "revoke"})


async def wearers(shop: Shop) -> list[str]:
    rows = [row for row in await completions(shop) if row.badge is not None and row.revoked_at is None]
    names = {(await shop.customer(user)).id: user for user in ("ann", "bob", "cem", "dora")}
    return sorted(names[row.customer_id] for row in rows)


async def test_fifty_who_want_the_last_three_badges_at_once_get_three(shop: Shop) -> None:
    """Everybody completes it and is paid; who comes too late for the badge is told so."""
    orders = [
        shop.event("Order Completed", user_id=f"u-{n}", properties={"order_id": f"o-{n}", "total": 10})
        for n in range(50)
    ]
    await shop.post(*orders)

    async def route(routing: Routing) -> None:
        for _ in range(3):
            async with shop.database.transaction() as session:
                await routing.route(session, shop.now, 5)

    await asyncio.gather(*[route(Routing(JourneyCache())) for _ in range(10)])
    await shop.route()

    done = await completions(shop)
    assert len(done) == 50
    assert sum(row.badge is not None for row in done) == 3
    assert {tuple((row.not_given or {}).items()) for row in done if row.badge is None} == {(("badge", "none_left"),)}
    assert {row.points for row in done} == {5}


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
