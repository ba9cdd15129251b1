"""G4: an event that cannot be routed costs its own customer some time, and nobody else more than one poll."""

from __future__ import annotations

from sqlalchemy import select

from database.events import Event
from database.routing import quarantined, retry_quarantined
from tests.triggers.shop import Shop
from triggers.batch import Wave
from triggers.live import LiveCache
from triggers.reactions import REACTIONS
from triggers.routing import RETRIES, Routing


async def choke(wave: Wave) -> None:
    """A reaction with a fault that one event in a thousand shows."""
    if any(event.event.properties.get("poison") for event in wave.events):
        raise ZeroDivisionError("one in a thousand")


def choking(shop: Shop) -> Shop:
    shop.routing = Routing(LiveCache(), (*REACTIONS, choke))
    return shop


async def statuses(shop: Shop) -> dict[str, list[str]]:
    async with shop.database.read() as session:
        rows = await session.execute(select(Event.status, Event.message_id).order_by(Event.id))
        found: dict[str, list[str]] = {}
        for status, message_id in rows:
            found.setdefault(status, []).append(message_id)
        return found


async def test_one_poisoned_event_in_a_thousand_delays_no_other_customer_by_a_poll(shop: Shop) -> None:
    choking(shop)
    events = [shop.event("Page Viewed", user_id=f"u-{n}", properties={"poison": n == 617}) for n in range(1_000)]
    await shop.post(*events)
    async with shop.database.transaction() as session:
        done = await shop.routing.route(session, shop.now, 1_000)
    assert (done.routed, done.failed) == (999, 1)


async def test_a_poisoned_event_is_tried_again_then_set_aside_and_its_customer_goes_on(shop: Shop) -> None:
    choking(shop)
    await shop.track("Page Viewed", message_id="before")
    await shop.track("Page Viewed", {"poison": True}, message_id="poison")
    await shop.track("Page Viewed", message_id="behind")
    assert await statuses(shop) == {"routed": ["before"], "pending": ["poison", "behind"]}
    for wait in RETRIES:
        shop.later(seconds=wait.total_seconds())
        await shop.route()
    assert await statuses(shop) == {"routed": ["before", "behind"], "quarantined": ["poison"]}
    async with shop.database.read() as session:
        [told] = await quarantined(session, limit=10)
    assert (told.message_id, told.attempts, told.error) == ("poison", 5, "ZeroDivisionError: one in a thousand")


async def test_a_mended_fault_lets_the_quarantined_event_through(shop: Shop) -> None:
    choking(shop)
    await shop.track("Page Viewed", {"poison": True})
    for wait in RETRIES:
        shop.later(seconds=wait.total_seconds())
        await shop.route()
    shop.routing = Routing(LiveCache())
    async with shop.database.transaction() as session:
        assert await retry_quarantined(session) == 1
    assert (await shop.route()).routed == 1
    assert (await shop.customer()).last_number == 1


async def test_events_before_the_poisoned_one_of_the_same_customer_are_routed(shop: Shop) -> None:
    choking(shop)
    await shop.post(*(shop.event("Page Viewed", properties={"poison": n == 2}, message_id=str(n)) for n in range(4)))
    await shop.route()
    assert await statuses(shop) == {"routed": ["0", "1"], "pending": ["2", "3"]}


async def test_ten_thousand_events_behind_a_poisoned_one_leave_the_window_to_others(shop: Shop) -> None:
    choking(shop)
    await shop.track("Page Viewed", {"poison": True}, user_id="bot")
    await shop.post(*(shop.event("Page Viewed", user_id="bot") for _ in range(300)))
    await shop.post(shop.event("Page Viewed", user_id="ann"))
    await shop.route(limit=50)
    assert (await shop.customer("ann")).last_number == 1
