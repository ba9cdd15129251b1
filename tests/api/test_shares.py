"""Shared links that count when somebody else comes by them, and submissions that people review."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from api.dependencies import ApiDependencies
from database.events import Event
from database.session import Database
from tests.referring import ReferringShop

SAFARI = {"User-Agent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Safari/605.1.15"}
LAMP = {"object": "lamp", "url": "https://shop.example/lamp?size=l", "event": "Product Shared"}


@pytest.fixture
def api_dependencies(database: Database, shop: ReferringShop) -> ApiDependencies:
    """An API whose clock is the shop's."""
    return ApiDependencies(database=database, now=lambda: shop.now, public_url="https://links.example")


@pytest.fixture
async def shop(database: Database) -> ReferringShop:
    """Two customers."""
    shop = ReferringShop(database)
    await shop.sign_up("ann", "bob")
    return shop


@pytest.fixture
async def anybody(client: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody without a key."""
    async with httpx.AsyncClient(base_url=client.base_url, headers=SAFARI, timeout=30) as anybody:
        yield anybody


async def share(client: httpx.AsyncClient, shop: ReferringShop, **changes: Any) -> str:
    """The path of Ann's link; a minute passes."""
    made = await client.post("/v1/customers/ann/shares", json={**LAMP, **changes})
    assert made.status_code == 201, made.text
    shop.later(minutes=1)
    return str(made.json()["link"]).removeprefix("https://links.example")


async def told(shop: ReferringShop, *names: str) -> list[tuple[str, str | None, dict[str, Any]]]:
    await shop.route()
    statement = select(Event).where(Event.name.in_(names), Event.source == "perennial").order_by(Event.id)
    async with shop.database.read() as session:
        events = (await session.execute(statement)).scalars().all()
    return [(event.name, event.user_id, event.properties) for event in events]


async def test_somebody_else_who_comes_by_the_link_verifies_the_share_once(
    client: httpx.AsyncClient, anybody: httpx.AsyncClient, shop: ReferringShop
) -> None:
    path = await share(client, shop)
    answers = [await anybody.get(path) for _ in range(3)]

    answer = answers[-1]
    assert answer.status_code == 302
    assert answer.headers["location"] == f"https://shop.example/lamp?size=l&share={path.removeprefix('/s/')}"
    events = await told(shop, "Share Verified", "Product Shared")
    assert [(name, user) for name, user, _ in events] == [("Share Verified", "ann"), ("Product Shared", "ann")]
    assert events[1][2]["verified_by"] == "click_back"
    [row] = (await client.get("/v1/customers/ann/shares")).json()["data"]
    assert (row["visitors"], row["verified_at"] is not None, row["ordered_at"]) == (1, True, None)


@pytest.mark.parametrize("headers", [{"User-Agent": "WhatsApp/2.23"}, {"Sec-Purpose": "prefetch"}, {"User-Agent": ""}])
async def test_a_preview_verifies_nothing(
    client: httpx.AsyncClient, anybody: httpx.AsyncClient, shop: ReferringShop, headers: dict[str, str]
) -> None:
    path = await share(client, shop)
    assert (await anybody.get(path, headers=headers)).status_code == 302
    assert await told(shop, "Share Verified") == []


async def test_whoever_shares_cannot_verify_their_own_link(
    client: httpx.AsyncClient, anybody: httpx.AsyncClient, shop: ReferringShop
) -> None:
    await shop.track("Page Viewed", user_id="ann", context={"ip": "127.0.0.1"})
    path = await share(client, shop)
    await anybody.get(path)
    assert await told(shop, "Share Verified") == []


async def test_there_is_one_link_for_each_customer_action_and_object(
    client: httpx.AsyncClient, anybody: httpx.AsyncClient, shop: ReferringShop
) -> None:
    paths = {await share(client, shop) for _ in range(3)}
    [path] = paths
    await asyncio.gather(*(anybody.get(path, headers={"User-Agent": f"Mozilla/5.0 ({n})"}) for n in range(8)))
    assert len(await told(shop, "Share Verified")) == 1
    assert await share(client, shop, action="pin") != path


async def test_an_order_of_somebody_who_came_by_the_link_counts_and_the_sharers_own_does_not(
    client: httpx.AsyncClient, shop: ReferringShop
) -> None:
    token = (await share(client, shop)).removeprefix("/s/")
    await shop.track("Order Completed", {"order_id": "a", "share": token}, user_id="ann")
    await shop.track("Order Completed", {"order_id": "b", "share": token}, user_id="bob", trusted=False)
    assert await told(shop, "Share Ordered") == []

    for order in ("c", "d"):
        await shop.track("Order Completed", {"order_id": order, "share": token}, user_id="bob")
    assert [(name, user) for name, user, _ in await told(shop, "Share Ordered", "Share Verified")] == [
        ("Share Verified", "ann"),
        ("Share Ordered", "ann"),
    ]


PHOTO = {"customer_id": "ann", "action": "photo", "object": "https://photos.example/1", "event": "Photo Posted"}


async def test_a_person_approves_a_submission_once_and_it_is_told(
    client: httpx.AsyncClient, shop: ReferringShop
) -> None:
    first = await client.post("/v1/submissions", json=PHOTO)
    again = await client.post("/v1/submissions", json={**PHOTO, "detail": {"stars": "5"}})
    assert (first.status_code, again.status_code, first.json() == again.json()) == (201, 200, True)
    [pending] = (await client.get("/v1/submissions?state=pending")).json()["data"]

    path = f"/v1/submissions/{pending['id']}"
    answers = [await client.post(f"{path}/approve"), await client.post(f"{path}/reject", json={"reason": "not_found"})]

    assert [answer.status_code for answer in answers] == [200, 409]
    assert answers[1].json()["code"] == "decided_already"
    events = await told(shop, "Submission Approved", "Photo Posted")
    assert [name for name, _, _ in events] == ["Submission Approved", "Photo Posted"]
    assert events[1][2]["verified_by"] == "review"
    assert (await client.get("/v1/submissions?state=pending")).json()["data"] == []


async def test_a_rejected_submission_says_why_and_stays_rejected(
    client: httpx.AsyncClient, shop: ReferringShop
) -> None:
    made = (await client.post("/v1/submissions", json=PHOTO)).json()
    answer = await client.post(f"/v1/submissions/{made['id']}/reject", json={"reason": "not_theirs"})
    again = await client.post("/v1/submissions", json=PHOTO)
    assert (answer.json()["state"], answer.json()["reason"], again.json()["state"]) == (
        *("rejected", "not_theirs", "rejected"),
    )
    [(_, user, properties)] = await told(shop, "Submission Rejected")
    assert (user, properties["reason"]) == ("ann", "not_theirs")


async def test_a_rule_that_asks_for_a_click_back_pays_once_on_it_and_never_on_the_event_alone(
    client: httpx.AsyncClient, anybody: httpx.AsyncClient, shop: ReferringShop
) -> None:
    rules = [
        {"rule": "share", "on": {"event": "Product Shared"}, "amount": {"points": 10}, "verify": "click_back"},
        {"rule": "photo", "on": {"event": "Photo Posted"}, "amount": {"points": 25}, "verify": "review"},
        {"rule": "any", "on": {"event": "Photo Posted"}, "amount": {"points": 1}},
    ]
    await shop.publish_programme(earn=rules)
    path = await share(client, shop)
    await shop.track("Product Shared", {"product_id": "lamp", "verified_by": "click_back"}, user_id="ann")
    assert await shop.points("ann") == 0

    for agent in ("Mozilla/5.0 (1)", "Mozilla/5.0 (2)"):
        await anybody.get(path, headers={"User-Agent": agent})
    await shop.route()
    assert await shop.points("ann") == 10

    made = (await client.post("/v1/submissions", json=PHOTO)).json()
    await client.post(f"/v1/submissions/{made['id']}/approve")
    await shop.route()
    assert await shop.points("ann") == 35
