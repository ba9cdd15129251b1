"""A document that this release cannot read costs nobody an event, and nobody else a journey, points or a prize."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from database.documents import DocumentVersion
from database.events import Event
from database.published import unread_documents
from tests.challenging import TWO_ORDERS, put_live
from tests.triggers.shop import Shop, abandoned_cart
from triggers.live import LiveCache
from triggers.routing import Routing

NOVEL: dict[str, dict[str, Any]] = {
    "journey": {**abandoned_cart(), "journey": "novel", "steps": [{"id": "away", "teleport": {"to": "moon"}}]},
    "programme": {"programme": "novel", "earn": [{"rule": "wind", "on": {"event": "Product Added"}, "weather": 3}]},
    "challenge": {**TWO_ORDERS, "challenge": "novel", "metric": {"steps_walked": 3}},
    "contest": {"contest": "novel", "closes": "2026-07-04", "entries": [{"luck": 1}]},
    "reward": {"reward": "novel", "gives": {"weather": "sun"}},
}


@pytest.mark.parametrize("kind", NOVEL)
async def test_event_is_routed_beside_a_live_document_of_a_newer_release(shop: Shop, kind: str) -> None:
    await shop.publish(abandoned_cart())
    await put_live(shop, kind, NOVEL[kind])

    await shop.identify({"email": "ann@example.com"})
    await shop.track("Product Added", {"cart_id": "c-1", "product_id": "p", "price": 3})
    await shop.track("Order Completed", {"order_id": "o-1", "total": 5, "currency": "EUR"})

    assert await _unrouted(shop) == 0
    assert [(run.journey, run.state) for run in await shop.runs()] == [("abandoned-cart", "exited")]


async def test_doctor_names_what_this_release_cannot_read_until_it_is_published_anew(shop: Shop) -> None:
    await put_live(shop, "journey", NOVEL["journey"])
    await put_live(shop, "contest", {**_contest(), "weather": "fine"})

    assert [line.split(": ")[:2] for line in await _unread(shop)] == [
        ["contest summer, version 1", "passed over /weather"],
        ["journey novel, version 1", "This release cannot read /steps/0"],
    ]

    await put_live(shop, "journey", {**abandoned_cart(), "journey": "novel"})
    await put_live(shop, "contest", _contest())

    assert await _unread(shop) == []


async def test_member_that_a_newer_release_added_does_not_keep_a_journey_from_starting(shop: Shop) -> None:
    newer = {**abandoned_cart(), "greeting": "hello"}
    newer["enter"] = {**newer["enter"], "mood": "good"}
    await put_live(shop, "journey", newer)

    await shop.track("Product Added", {"cart_id": "c-1"})

    assert [run.journey for run in await shop.runs()] == ["abandoned-cart"]


async def test_event_that_needs_an_unreadable_version_waits_and_is_never_quarantined(shop: Shop) -> None:
    """A run in flight on a version that this release cannot read, as after a roll-back: others go on."""
    await shop.publish(abandoned_cart())
    await shop.track("Product Added", {"cart_id": "c-1"})
    async with shop.database.transaction() as session:
        novel = update(DocumentVersion).values(document=NOVEL["journey"])
        await session.execute(novel.where(DocumentVersion.kind == "journey"))
    shop.routing = Routing(LiveCache())

    for _ in range(8):
        await shop.track("Page Viewed", user_id="u-2")
        await shop.track("Page Viewed")
        shop.later(seconds=timedelta(minutes=5).total_seconds())

    async with shop.database.read() as session:
        quarantined = select(func.count()).where(Event.status == "quarantined")
        assert (await session.execute(quarantined)).scalar_one() == 0
    assert await _unrouted(shop) == 0


async def test_publishing_is_seen_by_the_next_batch_of_every_router(shop: Shop) -> None:
    other = Shop(shop.database, routing=Routing(LiveCache()))
    for router in (shop, other):
        await router.track("Product Added", {"cart_id": "c-0"}, message_id=f"before-{id(router)}")

    await shop.publish(abandoned_cart())
    await shop.track("Product Added", {"cart_id": "c-1"})
    await other.track("Product Added", {"cart_id": "c-2"}, user_id="u-2", message_id="other")

    assert len(await shop.runs()) == 2


def _contest() -> dict[str, Any]:
    return {"contest": "summer", "closes": "2026-07-04", "entries": [{"rule": "form"}]}


async def _unrouted(shop: Shop) -> int:
    async with shop.database.read() as session:
        return (await session.execute(select(func.count()).where(Event.status != "routed"))).scalar_one()


async def _unread(shop: Shop) -> list[str]:
    async with shop.database.read() as session:
        return await unread_documents(session)
