"""The loyalty programme over HTTP: its life as a document, and that one is live at most."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from sqlalchemy import select

from database.earnings import Earning
from database.programmes import live_programme, programme_at
from database.session import Database
from tests.factories import NOON, make_customer
from tests.triggers.shop import Shop


def document(**members: Any) -> dict[str, Any]:
    """A programme that pays for reviews."""
    rule = {"rule": "review", "on": {"event": "Product Reviewed"}, "amount": {"points": 50}}
    return {"zone": "Europe/Berlin", "earn": [rule], **members}


async def publish(client: httpx.AsyncClient, key: str, **members: Any) -> httpx.Response:
    saved = await client.put(f"/v1/programmes/{key}", json=document(**members))
    assert saved.status_code == 200, saved.text
    return await client.post(f"/v1/programmes/{key}/publish", json={})


async def test_a_programme_is_saved_and_published(client: httpx.AsyncClient, database: Database) -> None:
    published = await publish(client, "main")

    assert published.status_code == 200, published.text
    async with database.read() as session:
        live = await live_programme(session)
    assert live is not None
    assert (live.key, live.version, live.zone.key) == ("main", 1, "Europe/Berlin")
    assert live.definition.earn[0].rule == "review"


async def test_a_second_programme_is_refused_while_one_is_live(client: httpx.AsyncClient) -> None:
    await publish(client, "main")
    refused = await publish(client, "other")
    again = await publish(client, "main")
    await client.post("/v1/programmes/main/archive", json={})
    instead = await publish(client, "other")

    assert refused.status_code == 409
    assert refused.json()["code"] == "programme_live"
    assert again.json()["version"] == 2
    assert instead.status_code == 200


async def test_of_two_first_programmes_published_at_once_one_goes_live(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(publish(client, key) for key in ("one", "two", "three")))

    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]


async def test_a_programme_with_faults_is_kept_but_not_published(client: httpx.AsyncClient) -> None:
    saved = await client.put("/v1/programmes/main", json=document(zone="Europe/Atlantis"))
    refused = await client.post("/v1/programmes/main/publish", json={})

    assert [finding["code"] for finding in saved.json()["findings"] if finding["severity"] == "error"] == [
        "unknown_zone"
    ]
    assert refused.status_code == 409


async def test_a_moment_has_the_version_that_was_live_then(client: httpx.AsyncClient, database: Database) -> None:
    await publish(client, "main")
    await publish(client, "main", name="Second")

    async with database.read() as session:
        second = await live_programme(session)
        assert second is not None
        before_all = await programme_at(session, NOON.replace(year=2020))
        just_before = await programme_at(session, second.published_at.replace(microsecond=0).replace(year=2020))
        at = await programme_at(session, second.published_at)

    assert [version and version.version for version in (before_all, just_before, at)] == [1, 1, 2]


async def test_without_a_programme_nothing_is_live(database: Database) -> None:
    async with database.read() as session:
        assert await live_programme(session) is None


# What a cart would earn ----------------------------------------------------------------------------------

BASKET = {"subtotal": 49.90, "currency": "EUR"}
RULES: list[dict[str, Any]] = [
    {
        "rule": "purchase",
        "name": "Every euro",
        "on": {"event": "Order Completed"},
        "amount": {"per": {"amount": 100, "currency": "EUR"}, "of": "properties.subtotal", "points": 1},
        "multiply": [{"by": 1.5}, {"if": {"trait": "vip", "eq": True}, "by": 2}],
        "limit": {"per_customer": 100, "per": "1mo"},
    },
    {
        "rule": "large",
        "on": {"event": "Order Completed", "where": [{"property": "subtotal", "gte": 50}]},
        "amount": {"points": 20},
    },
]


async def preview(client: httpx.AsyncClient, **wish: Any) -> dict[str, Any]:
    answer = await client.post("/v1/programmes/main/preview", json=wish)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def test_a_preview_says_how_many_points_a_cart_would_earn_and_why(client: httpx.AsyncClient) -> None:
    """49.90 euros x 1.5 = 74.85 points; the second rule asks for 50 euros."""
    await publish(client, "main", earn=RULES)

    shown = await preview(client, properties=BASKET)

    assert (shown["version"], shown["points"]) == (1, 74)
    [purchase, large] = shown["rules"]
    assert (purchase["name"], purchase["points"], purchase["exact"]) == ("Every euro", 74, "1497/20")
    assert purchase["factors"] == [{"place": "/earn/0/multiply/0", "by": "3/2"}]
    assert (large["points"], large["reason"], large["failed"]) == (0, "where", "/earn/1/on/where/0")


async def test_a_preview_knows_the_customer_and_what_is_left_of_a_limit(
    client: httpx.AsyncClient, database: Database
) -> None:
    await publish(client, "main", earn=RULES)
    await make_customer(database, "ann", traits={"vip": True})

    shown = await preview(client, properties=BASKET, customer_id="ann")

    assert [(rule["points"], rule["wanted"], rule["reason"]) for rule in shown["rules"]] == [
        (100, 149, "clipped"),
        (0, 0, "where"),
    ]
    unknown = await client.post("/v1/programmes/main/preview", json={"customer_id": "nobody"})
    assert unknown.status_code == 404


async def test_a_draft_is_previewed_before_it_is_published(client: httpx.AsyncClient) -> None:
    await publish(client, "main", earn=RULES)
    doubled = [{**RULES[0], "multiply": [{"by": 2}]}]
    await client.put("/v1/programmes/main", json=document(earn=doubled))

    live, draft = await preview(client, properties=BASKET), await preview(client, properties=BASKET, draft=True)

    assert (live["points"], draft["points"], draft["version"]) == (74, 99, None)


async def test_a_preview_pays_and_keeps_nothing(client: httpx.AsyncClient, database: Database) -> None:
    await publish(client, "main", earn=RULES)
    await make_customer(database, "ann")

    first = await preview(client, properties={**BASKET, "order_id": "o-1"}, customer_id="ann")
    again = await preview(client, properties={**BASKET, "order_id": "o-1"}, customer_id="ann")

    assert first["points"] == again["points"] == 74
    decisions = await client.get("/v1/customers/ann/earnings")
    assert decisions.json() == {"data": [], "next_cursor": None}


async def test_routing_pays_what_the_preview_said_and_explains_it(
    client: httpx.AsyncClient, database: Database
) -> None:
    await publish(client, "main", earn=RULES)
    shop = Shop(database, now=datetime.now(UTC))
    await shop.identify({"vip": True}, user_id="ann/1")
    promised = await preview(client, properties=BASKET, customer_id="ann/1")

    await shop.track("Order Completed", {**BASKET, "order_id": "o-1"}, user_id="ann/1")

    answer = await client.get("/v1/customers/ann%2F1/earnings")
    [decision] = answer.json()["data"]
    assert decision["points"] == promised["points"] == 100
    assert (decision["rule"], decision["reason"], decision["order_id"]) == ("purchase", "clipped", "o-1")
    assert (decision["wanted"], decision["exact"], decision["counted"]) == (149, "1497/10", 4_990)
    assert [factor["by"] for factor in decision["factors"]] == ["3/2", "2"]


async def test_a_dry_run_tries_the_draft_on_what_was_recorded(client: httpx.AsyncClient, database: Database) -> None:
    """Three orders of 49.90 are 74, 26 of 74 and nothing under the limit of 100; one was a guest's."""
    await client.put("/v1/programmes/main", json=document(earn=RULES))
    shop = Shop(database)
    for n in range(3):
        await shop.track("Order Completed", {**BASKET, "order_id": f"o-{n}"}, user_id="ann")
    await shop.track("Order Completed", {**BASKET, "order_id": "o-9"}, anonymous_id="visitor-1")

    period = {"from": shop.now.isoformat(), "to": (shop.now + timedelta(seconds=1)).isoformat()}
    answer = await client.post("/v1/programmes/main/dry-run", json=period)

    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert (shown["events"], shown["customers"], shown["points"], shown["paid_then"]) == (4, 2, 100, 0)
    assert shown["rules"] == [
        {"rule": "purchase", "paid": 2, "points": 100, "unpaid": {"limit_reached": 1, "guest": 1}},
        {"rule": "large", "paid": 0, "points": 0, "unpaid": {"where": 4}},
    ]
    assert shown["is_complete"]
    assert shown["samples"][0]["customer_id"] == "ann"
    async with database.read() as session:
        assert (await session.execute(select(Earning))).all() == []


async def test_a_dry_run_pays_nothing_for_a_guests_order_that_only_a_browser_links(
    client: httpx.AsyncClient, database: Database
) -> None:
    await client.put("/v1/programmes/main", json=document(earn=RULES))
    shop = Shop(database)
    await shop.identify(user_id="ann", anonymous_id="visitor-1", trusted=False)
    await shop.track("Order Completed", {**BASKET, "order_id": "o-1"}, anonymous_id="visitor-1")
    period = {"from": shop.now.isoformat(), "to": (shop.now + timedelta(seconds=1)).isoformat()}

    shown = (await client.post("/v1/programmes/main/dry-run", json=period)).json()

    assert (shown["points"], shown["rules"][0]["unpaid"]) == (0, {"guest": 1})


async def test_a_dry_run_needs_a_period_and_a_draft_that_can_be_read(client: httpx.AsyncClient) -> None:
    at = "2026-05-01T00:00:00Z"
    nowhere = await client.post("/v1/programmes/main/dry-run", json={"from": at, "to": "2026-05-02T00:00:00Z"})
    await client.put("/v1/programmes/main", json=document(zone="Europe/Atlantis"))
    empty = await client.post("/v1/programmes/main/dry-run", json={"from": at, "to": at})
    faulty = await client.post("/v1/programmes/main/preview", json={})

    assert (nowhere.status_code, empty.status_code, faulty.status_code) == (404, 409, 409)
    assert empty.json()["code"] == "period_empty"
    assert faulty.json()["code"] == "draft_unreadable"
