"""An import delays nobody: live events are routed before waiting history, which starts nothing unless it is to."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from database.events import Event
from tests.triggers.shop import NOON, Shop, abandoned_cart
from triggers.routing import LIVE_IN_A_ROW


async def routed(shop: Shop) -> list[str]:
    """The names of what has been routed."""
    async with shop.database.read() as session:
        statement = select(Event.name).where(Event.status == "routed").order_by(Event.id)
        return list((await session.execute(statement)).scalars())


async def route_once(shop: Shop, limit: int) -> None:
    async with shop.database.transaction() as session:
        await shop.routing.route(session, shop.now, limit)


def past(shop: Shop, count: int, user_id: str = "u-old") -> list[object]:
    return [shop.event("Imported", is_history=True, user_id=user_id) for _ in range(count)]


async def test_live_events_are_routed_before_history_that_came_long_before_also_of_the_same_customer(
    shop: Shop,
) -> None:
    await shop.post(*past(shop, 30), *past(shop, 30, "u-1"))  # type: ignore[arg-type]
    await shop.post(shop.event("Product Viewed"), shop.event("Product Viewed", user_id="u-2"))

    await route_once(shop, 10)

    assert await routed(shop) == ["Product Viewed"] * 2

    await shop.route()

    assert len(await routed(shop)) == 62


async def test_history_gets_one_window_in_five_while_live_events_wait(shop: Shop) -> None:
    await shop.post(*past(shop, 10))  # type: ignore[arg-type]
    await shop.post(*(shop.event("Product Viewed", user_id=f"u-{number}") for number in range(20)))

    for _ in range(LIVE_IN_A_ROW):
        await route_once(shop, 2)
    live_only = await routed(shop)
    await route_once(shop, 2)
    with_history = await routed(shop)
    await route_once(shop, 2)

    assert live_only == ["Product Viewed"] * 8
    assert with_history.count("Imported") == 2
    assert (await routed(shop)).count("Product Viewed") == 10


async def test_imported_history_starts_journeys_only_if_it_is_to(shop: Shop) -> None:
    await shop.publish(abandoned_cart())
    at = NOON - timedelta(days=30)

    await shop.track("Product Added", {"cart_id": "a"}, is_history=True, timestamp=at)
    nothing = await shop.runs()
    await shop.track("Product Added", {"cart_id": "b"}, is_history=True, enters=True, timestamp=at)

    assert nothing == []
    assert [run.occasion for run in await shop.runs()] == ["b"]
