"""Messages over HTTP, and the development inbox."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest

from api.app import create_app
from api.dependencies import ApiDependencies
from connectors.rendering import Renderer
from database.session import Database
from tests.sending import NOON, Shop, enter, open_shop


@pytest.fixture
def api_dependencies(database: Database) -> ApiDependencies:
    """An API whose inbox stands open."""
    return ApiDependencies(database=database, is_inbox_open=True)


@pytest.fixture
async def shop(database: Database) -> AsyncIterator[Shop]:
    """A shop that has sent to Ann and skipped Bo."""
    renderer = Renderer(processes=1)
    async with open_shop(database, renderer) as shop:
        await shop.send(await enter(shop, "ann"))
        await shop.send(await enter(shop, "bo", consent=None), as_of=NOON + timedelta(minutes=1))
        yield shop
    await renderer.close()


async def test_the_list_shows_what_was_sent_and_why_others_were_not(client: httpx.AsyncClient, shop: Shop) -> None:
    rows = (await client.get("/v1/messages")).json()["data"]

    assert [(row["customer_id"], row["state"], row["reason"]) for row in rows] == [
        ("bo", "skipped", "no_consent"),
        ("ann", "accepted", None),
    ]
    assert rows[1]["to"] == "ann@example.com"
    assert (rows[1]["journey"], rows[1]["step"], rows[1]["template"]) == ("welcome", "reminder", "hello")


async def test_the_list_is_filtered_and_paged(client: httpx.AsyncClient, shop: Shop) -> None:
    first = (await client.get("/v1/messages", params={"limit": 1})).json()
    rest = (await client.get("/v1/messages", params={"limit": 1, "cursor": first["next_cursor"]})).json()
    skipped = (await client.get("/v1/messages", params={"state": "skipped", "journey": "welcome"})).json()
    of_ann = (await client.get("/v1/messages", params={"customer_id": "ann"})).json()

    assert [page["data"][0]["customer_id"] for page in (first, rest)] == ["bo", "ann"]
    assert rest["next_cursor"] is None
    assert [row["customer_id"] for row in skipped["data"]] == ["bo"]
    assert [row["customer_id"] for row in of_ann["data"]] == ["ann"]
    assert (await client.get("/v1/messages", params={"customer_id": "nobody"})).status_code == 404
    assert (await client.get("/v1/messages", params={"state": "nonsense"})).status_code == 422


async def test_one_message_comes_with_content_attempts_and_events(client: httpx.AsyncClient, shop: Shop) -> None:
    listed = (await client.get("/v1/messages", params={"customer_id": "ann"})).json()["data"][0]

    detail = (await client.get(f"/v1/messages/{listed['id']}")).json()

    assert "<p>Hi</p>" in detail["html"]
    assert "Hi" in detail["text"]
    assert detail["headers"]["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert [attempt["outcome"] for attempt in detail["attempts"]] == ["accepted"]
    assert detail["events"] == []


async def test_the_inbox_shows_a_message_in_a_frame_that_can_do_nothing(client: httpx.AsyncClient, shop: Shop) -> None:
    listed = (await client.get("/v1/messages", params={"customer_id": "ann"})).json()["data"][0]

    async with httpx.AsyncClient(base_url=client.base_url, timeout=30) as anybody:
        inbox = await anybody.get("/inbox")
        opened = await anybody.get(f"/inbox/{listed['id']}")
        html = await anybody.get(f"/inbox/{listed['id']}/html")

    assert "ann@example.com" in inbox.text
    assert "no consent" in inbox.text
    assert f'src="/inbox/{listed["id"]}/html"' in opened.text
    assert html.headers["content-security-policy"].startswith("sandbox")
    assert "/o/" not in html.text  # a colleague's look is no opening


async def test_a_closed_inbox_wants_a_key(database: Database, shop: Shop) -> None:
    transport = httpx.ASGITransport(create_app(ApiDependencies(database=database)))
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as anybody:
        assert (await anybody.get("/inbox")).status_code == 401
