"""Simulations show what browsers would have led on, and let no browser do more than it may in live runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
from sqlalchemy import select

from database.customers import Customer, Identity
from database.events import Event
from database.session import Database
from tests.factories_journeys import NOW, make_customer
from tests.programmes import publish_programme
from tests.rewarding import TEA, publish_reward
from tests.simulating import happened, simulate

GIFT: dict[str, Any] = {"points": {"award": 5}, "id": "gift"}


async def test_a_simulation_shows_which_runs_browsers_would_have_led_on(
    client: httpx.AsyncClient, database: Database
) -> None:
    await publish_programme(database, NOW - timedelta(days=300))
    await publish_reward(database, TEA)
    by_server, by_browser, by_trait, by_wait = [await make_customer(database) for _ in range(4)]
    async with database.transaction() as session:
        row = await session.get_one(Customer, by_trait)
        row.traits, row.trait_times = {"vip": True}, {"vip": ["2026-01-01T00:00:00.000000+00:00", "m", False]}
    for customer in (by_server, by_browser, by_trait, by_wait):
        at, trusted = NOW - timedelta(days=5), customer != by_browser
        await happened(database, customer, "Signed Up", at, trusted=trusted)
        trusted = customer not in (by_browser, by_wait)
        await happened(database, customer, "Confirmed", at + timedelta(hours=1), trusted=trusted)
    tea = {"reward": {"give": "free-tea", "untrusted": {"per_customer": 1}}, "id": "tea"}
    steps = [
        {"wait_for": {"any": [{"event": "Confirmed"}], "timeout": "1d"}, "id": "word"},
        {"branch": [{"if": {"trait": "vip", "eq": True}, "steps": []}], "id": "way"},
        *(GIFT, tea),
    ]

    told = await simulate(
        client, definition={"journey": "cart", "enter": {"on": {"event": "Signed Up"}}, "steps": steps}
    )

    assert (told["entered"], told["untrusted"]) == (4, 3)
    assert sorted(run["trusted"] for run in told["samples"]) == [False, False, False, True]
    skipped = {step["step"]: (step["done"], step["skipped"]) for step in told["steps"]}
    assert skipped["gift"] == (1, {"untrusted": 3})
    assert skipped["tea"] == (3, {"untrusted": 1})  # nobody but browsers told of one
    assert told["costs"] == {"points_awarded": 5, "points_deducted": 0, "rewards": {"free-tea": 3}}


async def test_a_simulation_knows_customers_by_events_that_the_journey_does_not_name(
    client: httpx.AsyncClient, database: Database
) -> None:
    await publish_programme(database, NOW - timedelta(days=300))
    await publish_reward(database, TEA)
    before, after, never = [await make_customer(database) for _ in range(3)]
    for customer, days in ((before, 20), (after, 2)):
        await happened(database, customer, "Letter Answered", NOW - timedelta(days=days))
    await happened(database, never, "Letter Answered", NOW - timedelta(days=20), trusted=False)
    for customer in (before, after, never):
        await happened(database, customer, "App Installed", NOW - timedelta(days=5), trusted=False)
    tea = {"reward": {"give": "free-tea", "untrusted": {"per_customer": 1}}, "id": "tea"}

    told = await simulate(
        client, definition={"journey": "cart", "enter": {"on": {"event": "App Installed"}}, "steps": [tea]}
    )

    assert told["costs"]["rewards"] == {"free-tea": 1}


async def test_a_simulation_gives_a_coupon_once_that_a_browsers_run_gave_and_nobody_was_told_of(
    client: httpx.AsyncClient, database: Database
) -> None:
    await publish_programme(database, NOW - timedelta(days=300))
    await publish_reward(database, TEA)
    customer = await make_customer(database)
    await happened(database, customer, "Letter Answered", NOW - timedelta(days=20))
    for days, trusted in ((5, False), (4, True)):
        await happened(database, customer, "Order Paid", NOW - timedelta(days=days), trusted=trusted, order_id="o-1")
    tea = {"reward": {"give": "free-tea", "untrusted": {"per_customer": 1}}, "id": "tea"}
    mail = {"send": {"template": "t"}, "id": "mail"}  # nobody knows an address
    enter = {"on": {"event": "Order Paid"}, "occasion": "properties.order_id"}

    told = await simulate(client, definition={"journey": "cart", "enter": enter, "steps": [tea, mail]})

    assert (told["entered"], told["untrusted"]) == (2, 1)
    assert told["costs"]["rewards"] == {"free-tea": 1}


async def test_a_simulation_lets_no_browser_take_the_turn_or_the_points_of_a_trusted_customer(
    client: httpx.AsyncClient, database: Database
) -> None:
    await publish_programme(database, NOW - timedelta(days=300))
    at = NOW - timedelta(days=5)
    turn, left = await make_customer(database), await make_customer(database)
    for customer, trusted in ((turn, False), (turn, True), (left, True)):
        await happened(database, customer, "Order Paid", at, trusted=trusted, order_id="o-1")
    await happened(database, left, "Club Left", at + timedelta(minutes=1), trusted=False)
    steps = [{"wait": {"for": "1h"}, "id": "pause"}, {"send": {"template": "t"}, "id": "mail"}, GIFT]
    enter = {"on": {"event": "Order Paid"}, "occasion": "properties.order_id"}
    document = {"journey": "cart", "purpose": "transactional", "enter": enter, "exit": [{"event": "Club Left"}]}

    told = await simulate(client, definition={**document, "steps": steps})

    assert (told["entered"], told["untrusted"], told["exited"]) == (3, 1, {"superseded": 1})
    assert told["costs"]["points_awarded"] == 10


async def test_a_simulation_lets_no_browser_end_a_run_that_has_given_a_coupon(
    client: httpx.AsyncClient, database: Database
) -> None:
    await publish_programme(database, NOW - timedelta(days=300))
    await publish_reward(database, TEA)
    at, customer = NOW - timedelta(days=5), await make_customer(database)
    await happened(database, customer, "App Removed", at - timedelta(days=1))
    await happened(database, customer, "App Installed", at, trusted=False)
    await happened(database, customer, "App Removed", at + timedelta(minutes=1), trusted=False)
    tea = {"reward": {"give": "free-tea", "untrusted": {"per_customer": 1}}, "id": "tea"}
    document = {"journey": "cart", "enter": {"on": {"event": "App Installed"}}, "exit": [{"event": "App Removed"}]}

    told = await simulate(client, definition={**document, "steps": [tea, {"wait": {"for": "1h"}, "id": "pause"}]})

    assert (told["entered"], told["untrusted"], told["exited"]) == (1, 1, {})


async def test_a_simulation_promises_no_points_for_a_guests_order_that_only_a_browser_links(
    client: httpx.AsyncClient, database: Database
) -> None:
    await publish_programme(database, NOW - timedelta(days=300))
    ann = await make_customer(database)
    await happened(database, ann, "Signed Up", NOW - timedelta(days=5))
    async with database.transaction() as session:
        [event] = (await session.scalars(select(Event))).all()
        event.user_id, event.anonymous_id, event.subject = None, "guest", "a:guest"
        session.add(Identity(kind="anonymous", value="guest", customer_id=ann, first_seen=NOW, linked_trusted=False))

    told = await simulate(
        client, definition={"journey": "cart", "enter": {"on": {"event": "Signed Up"}}, "steps": [GIFT]}
    )

    assert (told["entered"], told["untrusted"], told["costs"]["points_awarded"]) == (1, 1, 0)
