"""G5: in whatever order the stored events of a day are routed, profile, identity and orders end the same.

Many of them are of one instant, and of those some were sent together: a day of a shop that writes whole seconds.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from database.customers import Customer, Identity
from database.events import Event
from database.orders import Order, Refund
from database.products import ProductView
from database.session import Database
from database.shop_settings import save_shop_settings
from domain.events import EventKind, NewEvent
from domain.shop_settings import ShopSettings
from tests.triggers.shop import NOON, Shop

USERS = ("ann", "bob", "cy")
BROWSERS = ("home", "work", "phone")


def day(chance: random.Random, shop: Shop) -> list[NewEvent]:
    """A day of three people at three browsers, some shared: visits, identifies, aliases, orders, refunds,
    a part of it as browsers say it.

    Six things happen at each moment, sent at four.
    """
    events = []
    for hour in range(36):
        at = NOON + timedelta(minutes=37 * (hour - hour % 6))
        sent = at + timedelta(seconds=chance.randrange(4))
        user, browser = chance.choice(USERS), chance.choice(BROWSERS)
        events.append(
            {"trusted": chance.random() < 0.6}
            | something(chance, shop, user, browser)
            | {"timestamp": at, "sent": sent, "received_at": at + timedelta(minutes=1)}
        )
    return [build(shop, event) for event in events]


def build(shop: Shop, given: dict[str, Any]) -> NewEvent:
    return shop.event(given.pop("name", ""), kind=given.pop("kind", EventKind.TRACK), **given)


def something(chance: random.Random, shop: Shop, user: str, browser: str) -> dict[str, Any]:
    order = f"o-{chance.randrange(4)}"
    product = {"product_id": f"p-{chance.randrange(3)}", "price": 10.0}
    return chance.choice(
        [
            {"name": "Product Viewed", "anonymous_id": browser, "properties": product},
            {"name": "Product Viewed", "anonymous_id": browser, "properties": product},
            {"kind": EventKind.IDENTIFY, "anonymous_id": browser, "traits": {"mood": chance.random(), "seen": browser}},
            {"kind": EventKind.IDENTIFY, "user_id": user, "anonymous_id": browser, "traits": {"plan": chance.random()}},
            {"kind": EventKind.IDENTIFY, "user_id": user, "traits": {"plan": None, "city": chance.choice("abc")}},
            {"name": "Page Viewed", "user_id": user, "context": {"timezone": chance.choice(["Europe/Rome", "UTC"])}},
            {"kind": EventKind.ALIAS, "user_id": user, "previous_id": chance.choice(["ann-old", "bob-old", browser])},
            {
                "kind": EventKind.ALIAS,
                "user_id": user,
                "previous_id": chance.choice([*USERS, "null"]),
                "trusted": False,
            },
            {"name": "Page Viewed", "user_id": "guest", "anonymous_id": browser},
            {
                "name": "Order Completed",
                "user_id": user,
                "properties": {"order_id": order, "total": chance.choice([20, 30])},
            },
            {
                "name": "Order Updated",
                "user_id": user,
                "properties": {"order_id": order, "coupon": chance.choice("xyz")},
            },
            {"name": "Order Refunded", "user_id": user, "properties": {"order_id": order, "total": 5}},
            {"name": "Order Refunded", "user_id": user, "properties": {"order_id": order}},
        ]
    )


@pytest.fixture
async def without_brakes(shop: Shop, other_database: Database) -> None:
    """What the limit of merges refuses depends on the order of routing, and on nothing else."""
    for database in (shop.database, other_database):
        async with database.transaction() as session:
            await save_shop_settings(session, ShopSettings(merge_limit=100), NOON)


@pytest.mark.usefixtures("without_brakes")
@pytest.mark.parametrize("seed", range(8))
async def test_a_day_of_events_ends_the_same_in_every_order_and_batching(
    shop: Shop, other_database: Database, seed: int
) -> None:
    chance = random.Random(seed)
    events = day(chance, shop)
    other = Shop(other_database, now=shop.now)
    await take_in(shop, events, 50)
    shuffled = chance.sample(events, len(events))
    await take_in(other, shuffled, chance.choice([1, 3, 10]))
    assert await story(shop) == await story(other)


async def take_in(shop: Shop, events: Sequence[NewEvent], at_once: int) -> None:
    for start in range(0, len(events), at_once):
        shop.later(seconds=1)
        batch = events[start : start + at_once]
        await shop.post(*batch)
        assert (await shop.route()).failed == 0


async def story(shop: Shop) -> list[Any]:
    """Everything that must not depend on order, without our own uuids."""
    async with shop.database.read() as session:
        customers = (await session.execute(select(Customer).where(Customer.merged_into.is_(None)))).scalars().all()
        told = []
        for customer in customers:
            ids = (await session.execute(select(Identity).where(Identity.customer_id == customer.id))).scalars()
            messages = (
                await session.execute(select(Event.message_id).where(Event.customer_id == customer.id))
            ).scalars()
            orders = (await session.execute(select(Order).where(Order.customer_id == customer.id))).scalars()
            refunds = (await session.execute(select(Refund).where(Refund.customer_id == customer.id))).scalars()
            views = (await session.execute(select(ProductView).where(ProductView.customer_id == customer.id))).scalars()
            told.append(
                {
                    "ids": sorted((each.kind, each.value, each.superseded, each.first_seen) for each in ids),
                    "goes_by": customer.external_id,
                    "profile": (
                        customer.traits,
                        customer.trait_times,
                        customer.observed,
                        customer.zone,
                        customer.email,
                    ),
                    "seen": (customer.first_seen, customer.last_seen),
                    "events": sorted(messages),
                    "orders": sorted(
                        (each.order_id, each.state, each.total, each.coupon, each.refunded, each.completed_at)
                        for each in orders
                    ),
                    "refunds": sorted((each.order_id, each.total or 0, each.at) for each in refunds),
                    "views": sorted((each.product_id, each.views, each.viewed_at) for each in views),
                }
            )
    return sorted(told, key=lambda each: each["events"])
