"""Parts that several templates show: written once, checked, and never taken away under a journey that needs them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from temporalio.exceptions import ApplicationError

from api.dependencies import ApiDependencies
from connectors.rendering import Renderer
from database.messages import Link
from database.session import Database
from domain.provider_answers import Deferred
from domain.refusals import Fault
from tests.sending import NOON, PUBLIC_URL, Shop, enter, hello_template, open_shop, publish, welcome_journey

PAGE = "<html><body><p>Hi</p><!-- block: promise --></body></html>"
PROMISE = {
    "block": True,
    "html": '<p>Sent back <a href="https://returns.example/{{ customer.id }}">free of charge</a>.</p>',
    "locales": {"de": {"html": "<p>Rückgabe kostenlos.</p>"}},
}


@pytest.fixture
async def renderer() -> AsyncIterator[Renderer]:
    """One rendering process."""
    renderer = Renderer(processes=1)
    yield renderer
    await renderer.close()


@pytest.fixture
def api_dependencies(database: Database, renderer: Renderer) -> ApiDependencies:
    """An API that can render."""
    return ApiDependencies(database=database, renderer=renderer)


async def put(client: httpx.AsyncClient, key: str, **document: Any) -> list[str]:
    """Save and publish a template; answers the codes of what was found."""
    saved = await client.put(f"/v1/templates/{key}", json=document)
    assert saved.status_code == 200, saved.text
    await client.post(f"/v1/templates/{key}/publish", json={})
    return [finding["code"] for finding in saved.json()["findings"]]


async def shown(client: httpx.AsyncClient, key: str, **wish: Any) -> str:
    answer = await client.post(f"/v1/templates/{key}/preview", json={"purpose": "transactional", **wish})
    return str(answer.json()["html"])


async def test_a_block_stands_in_every_template_that_names_it(client: httpx.AsyncClient) -> None:
    assert await put(client, "promise", **PROMISE) == []
    for key in ("hello", "goodbye"):
        assert await put(client, key, subject="x", html=PAGE, locales={"de": {"subject": "y"}}) == []

    for key in ("hello", "goodbye"):
        assert '<p>Sent back <a href="https://returns.example/sample">free of charge</a>.</p>' in await shown(
            client, key
        )
        assert "<p>Rückgabe kostenlos.</p>" in await shown(client, key, locale="de-AT")

    await put(client, "promise", block=True, html="<p>Ninety days.</p>")
    assert await shown(client, "hello") == "<html><body><p>Hi</p><p>Ninety days.</p></body></html>"


async def test_an_mjml_block_stands_in_bodies_and_in_the_layout(client: httpx.AsyncClient) -> None:
    section = "<mj-section><mj-column><mj-text>{}</mj-text></mj-column></mj-section>"
    await put(client, "imprint", block=True, mjml=section.format("{{ shop.name }}, Hamburg"))
    frame = "<mjml><mj-body><!-- content --><!--block:imprint--></mj-body></mjml>"

    assert await put(client, "layout", mjml=frame) == []
    assert await put(client, "hello", subject="x", mjml=section.format("Hi")) == []

    assert "My shop, Hamburg" in await shown(client, "hello")


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({"subject": "x", "html": "<!-- block: nowhere -->"}, "block_unknown"),
        ({"subject": "x", "html": "<!-- block: plain -->"}, "block_unknown"),  # a template, and no block
        ({"block": True, "html": "<!-- block: promise -->"}, "block_nested"),
        ({"block": True}, "body_missing"),
        ({"block": True, "text": "Thirty days."}, "body_missing"),
        ({"subject": "x", "text": "Hi <!-- block: promise -->"}, "block_misplaced"),
        ({"subject": "x <!-- block: promise -->", "html": "<p>x</p>"}, "block_misplaced"),
        ({"subject": "x", "html": "<p>x</p>", "locales": {"de": {"text": "<!--block:promise-->"}}}, "block_misplaced"),
        ({"subject": "x", "html": "<!-- block: section -->"}, "block_unfit"),
        ({"block": True, "html": "{{ f() }}"}, "template_call"),
    ],
)
async def test_what_a_block_cannot_be_is_a_finding(
    client: httpx.AsyncClient, document: dict[str, Any], code: str
) -> None:
    await put(client, "promise", **PROMISE)
    await put(client, "plain", subject="x", html="<p>x</p>")
    await put(client, "section", block=True, mjml="<mj-section></mj-section>")

    assert code in await put(client, "hello", **document)
    assert (await client.post("/v1/templates/hello/publish", json={})).status_code == 409


async def test_a_block_is_no_message(client: httpx.AsyncClient) -> None:
    await put(client, "promise", **PROMISE)
    journey = welcome_journey() | {"steps": [{"id": "reminder", "send": {"template": "promise"}}]}

    saved = await client.put("/v1/journeys/welcome", json=journey)

    assert "unknown_template" in [finding["code"] for finding in saved.json()["findings"]]


@pytest.mark.parametrize("holder", ["hello", "layout"])
async def test_a_block_that_a_live_journey_shows_cannot_be_archived(client: httpx.AsyncClient, holder: str) -> None:
    await put(client, "promise", block=True, mjml="<mj-section></mj-section>")
    mark = {key: "<!-- block: promise -->" if key == holder else "" for key in ("hello", "layout")}
    await put(client, "layout", mjml=f"<mjml><mj-body><!-- content -->{mark['layout']}</mj-body></mjml>")
    await put(client, "hello", subject="x", mjml=f"<mj-section></mj-section>{mark['hello']}")
    await client.put("/v1/journeys/welcome", json=welcome_journey())
    published = await client.post("/v1/journeys/welcome/publish", json={})

    refused = await client.post("/v1/templates/promise/archive")

    assert published.status_code == 200, published.text
    assert (refused.status_code, refused.json()["code"]) == (409, "in_use")


MAIL = {"subject": "x", "html": "<p>x</p><!-- block: promise -->"}
HOOK = {"channel": "webhook", "url": "https://crm.example/", "body": {}}


@pytest.mark.parametrize(
    ("key", "published", "instead"),
    [
        ("hello", MAIL, {"block": True, "html": "<p>x</p>"}),
        ("hello", MAIL, HOOK),
        ("promise", PROMISE, {"subject": "x", "html": "<p>x</p>"}),
        ("promise", PROMISE, HOOK),
    ],
    ids=["mail-as-block", "mail-as-webhook", "block-as-mail", "block-as-webhook"],
)
async def test_what_a_live_journey_sends_or_shows_is_not_published_as_another_sort_of_template(
    client: httpx.AsyncClient, key: str, published: dict[str, Any], instead: dict[str, Any]
) -> None:
    for each, document in (("promise", PROMISE), ("hello", MAIL)):
        assert await put(client, each, **document) == []
    await client.put("/v1/journeys/welcome", json=welcome_journey())
    assert (await client.post("/v1/journeys/welcome/publish", json={})).status_code == 200
    await client.put(f"/v1/templates/{key}", json=instead)

    refused = [await client.post(f"/v1/templates/{key}/publish", json={"dry_run": dry}) for dry in (True, False)]

    assert [(each.status_code, each.json()["code"]) for each in refused] == [(409, "in_use")] * 2
    assert [user["journey"] for user in refused[1].json()["users"]] == ["welcome"]
    await client.put(f"/v1/templates/{key}", json=published)
    assert (await client.post(f"/v1/templates/{key}/publish", json={})).status_code == 200
    await client.post("/v1/journeys/welcome/archive")
    await client.put(f"/v1/templates/{key}", json=instead)
    assert (await client.post(f"/v1/templates/{key}/publish", json={})).status_code == 200


async def test_a_message_that_was_made_keeps_the_block_that_it_was_made_with(
    database: Database, renderer: Renderer
) -> None:
    async with open_shop(database, renderer) as shop:
        await _publish_hello(shop, "<p>Thirty days.</p>")
        shop.provider.script = [Deferred("greylisted", fault=Fault.MAILBOX)]
        run_id = await enter(shop)
        with pytest.raises(ApplicationError):
            await shop.send(run_id)
        await _publish_hello(shop, '<p>Ninety <a href="https://shop.example/days">days</a>.</p>')
        await shop.send(run_id, as_of=NOON + timedelta(minutes=30))
        await shop.send(await enter(shop, "bob"))

    first, again, later = shop.provider.calls
    assert "Thirty days" in first.html
    assert again.html == first.html
    assert f'<p>Ninety <a href="{PUBLIC_URL}/c/' in later.html
    async with database.read() as session:
        targets = (await session.execute(select(Link.target).where(Link.kind == "click"))).scalars().all()
    assert targets == ["https://shop.example/days"]


async def _publish_hello(shop: Shop, promise: str) -> None:
    async with shop.database.transaction() as session:
        await publish(session, "template", "promise", {"template": "promise", "block": True, "html": promise})
        await publish(session, "template", "hello", hello_template(html=PAGE))
