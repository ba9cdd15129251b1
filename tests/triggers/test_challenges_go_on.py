"""Lifetime challenges of members with a long past: the next event costs no more than the first."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from database.challenge_events import recorded_events
from database.challenge_guarantees import drifted_progress
from tests.challenging import TWO_ORDERS, completions, order, progress, put_live
from tests.triggers.shop import Shop

VIEWS: dict[str, Any] = {
    "challenge": "views",
    "metric": {"count": "Product Viewed"},
    "levels": [{"level": "some", "at": 3, "badge": {"badge": "some"}}, {"level": "many", "at": 6}],
}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many events each reading of members' histories brought."""
    counts: list[int] = []

    async def counting(*given: Any) -> Any:
        found = await recorded_events(*given)
        counts.append(sum(map(len, found.values())))
        return found

    monkeypatch.setattr("triggers.challenges.recorded_events", counting)
    return counts


async def doctor_agrees(shop: Shop) -> bool:
    async with shop.database.read() as session:
        return not await drifted_progress(session, shop.now + timedelta(days=400))


async def test_the_next_event_reads_no_more_of_a_long_history_than_of_a_short_one(
    loyal_shop: Shop, read: list[int]
) -> None:
    await put_live(loyal_shop, "challenge", VIEWS)
    for number in range(12):
        at = loyal_shop.now + timedelta(minutes=number)
        await loyal_shop.track("Product Viewed", {"product_id": "rose"}, timestamp=at)

    assert read == [0, 1] + [1] * 11
    assert await progress(loyal_shop) == {("views", "ever"): 12}
    assert [done.level for done in await completions(loyal_shop)] == ["some", "many"]
    assert await doctor_agrees(loyal_shop)


async def test_new_orders_are_added_and_what_tells_of_an_order_again_is_counted_in_full(
    loyal_shop: Shop, read: list[int]
) -> None:
    for number in range(6):
        await order(loyal_shop, f"o-{number}", timestamp=loyal_shop.now + timedelta(minutes=number))
    assert max(read) == 1

    await order(loyal_shop, "o-1", timestamp=loyal_shop.now + timedelta(minutes=7))

    assert read[-1] == 6  # all orders, each once
    assert await doctor_agrees(loyal_shop)


async def test_late_and_returned_events_are_counted_in_full(loyal_shop: Shop, read: list[int]) -> None:
    for number in (1, 2, 3):
        await order(loyal_shop, f"o-{number}", timestamp=loyal_shop.now + timedelta(minutes=number))
    await order(loyal_shop, "o-late", timestamp=loyal_shop.now)
    assert read[-1] == 4
    await loyal_shop.track("Order Refunded", {"order_id": "o-2"}, timestamp=loyal_shop.now + timedelta(minutes=9))
    assert read[-1] == 4
    assert await progress(loyal_shop) == {("two-orders", "ever"): 3}
    assert await doctor_agrees(loyal_shop)


async def test_a_new_version_is_counted_in_full(loyal_shop: Shop, read: list[int]) -> None:
    for number in (1, 2, 3):
        await order(loyal_shop, f"o-{number}", timestamp=loyal_shop.now + timedelta(minutes=number))
    await put_live(loyal_shop, "challenge", TWO_ORDERS | {"name": "Another"})

    await order(loyal_shop, "o-4", timestamp=loyal_shop.now + timedelta(minutes=4))

    assert read[-1] == 4


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_comes_in_whatever_order_progress_equals_a_full_count(loyal_shop: Shop, seed: int) -> None:
    choose = random.Random(seed)
    for document in (VIEWS, VIEWS | {"challenge": "weekly", "every": "week"}):
        await put_live(loyal_shop, "challenge", document)
    for number in range(25):
        ahead = timedelta(hours=number * 12) if choose.random() < 0.8 else timedelta(hours=choose.randrange(300))
        at = loyal_shop.now + ahead
        name = choose.choice(["view", "view", "order", "again", "refund"])
        if name == "view":
            await loyal_shop.track("Product Viewed", {"product_id": "rose"}, timestamp=at)
        elif name == "refund":
            await loyal_shop.track("Order Refunded", {"order_id": f"o-{choose.randrange(number + 1)}"}, timestamp=at)
        else:
            await order(loyal_shop, f"o-{number if name == 'order' else choose.randrange(number + 1)}", timestamp=at)
        assert await doctor_agrees(loyal_shop)
