"""No route takes a second connection while it holds one: every one answers with a single connection (G28)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx
import pytest

from activities.pacing import Pacer
from activities.trial_messages import TrialSender
from api.dependencies import ApiDependencies
from connectors.outbox_provider import OutboxProvider
from connectors.rendering import Renderer
from database.messages import Link, Message
from database.session import Database
from domain.ids import new_id
from tests.api.bodies import least
from tests.api.conftest import ApiServer
from tests.checkouts import NestedCheckouts
from tests.factories import NOON, make_customer, make_events
from triggers.live import LiveCache
from triggers.router import Router
from triggers.routing import Routing

NOBODY = "019a0000-0000-7000-8000-000000000000"
TOKEN = "Ab3" * 5
SIGNED = "meta-secret"
TEMPLATE = {"channel": "email", "name": "Hello", "subject": "Hello", "html": "<p>Hi</p>"}


@pytest.fixture
async def single(database_url: str) -> AsyncIterator[Database]:
    """One connection for everything."""
    database = Database(database_url, pool_size=1)
    yield database
    await database.close()


@pytest.fixture
def nested(single: Database) -> NestedCheckouts:
    return NestedCheckouts(single)


@pytest.fixture
async def api_dependencies(
    database_url: str, single: Database, nested: NestedCheckouts
) -> AsyncIterator[ApiDependencies]:
    """An API that can do everything."""
    renderer = Renderer(processes=1)
    trials = TrialSender(
        single, renderer, OutboxProvider(), Pacer(single, {"outbox": 50}), public_url="https://shop.example"
    )
    ingest = Database(database_url, pool_size=1)
    NestedCheckouts(ingest)
    yield ApiDependencies(
        database=single, ingest_database=ingest, renderer=renderer, trials=trials, is_inbox_open=True,
        meta_app_secret=SIGNED, meta_verify_token=SIGNED,
    )  # fmt: skip
    await ingest.close()


async def make_world(database: Database) -> None:
    """Ann, with a message whose links work."""
    ann = await make_customer(database, "ann", traits={"email": "ann@example.com"})
    await make_events(database, ann, "ann", "Product Added", "Order Completed")
    async with database.transaction() as session:
        message = Message(
            id=new_id(), customer_id=ann, channel="email", purpose="marketing", template="t", state="accepted",
            created_at=NOON, html="<p>Hello</p>", to="ann@example.com",
        )  # fmt: skip
        session.add(message)
        await session.flush()
        for number, kind in enumerate(("click", "open", "view", "unsubscribe")):
            session.add(
                Link(token=f"{TOKEN}{number}", message_id=message.id, kind=kind, target="https://shop.example/")
            )


def known(name: str) -> str:
    return "ann" if name == "customer_id" else NOBODY if name.endswith("_id") else "1" if name == "version" else "thing"


def unknown(name: str) -> str:
    return "somebody-new" if name == "customer_id" else known(name)


def requests_of(document: dict[str, Any]) -> list[tuple[str, str, Any]]:
    """Every operation, for a customer who is known and one who is not, with the least body that fits."""
    schemas = document["components"]["schemas"]
    return [
        (method.upper(), path, body)
        for template, methods in document["paths"].items()
        for method, told in methods.items()
        for path in sorted(paths_of(template))[: 1 if method == "get" and "{token}" not in template else None]
        for body in [least(each["schema"], schemas) for each in bodies_of(told)] or [None]
    ]


def bodies_of(told: dict[str, Any]) -> list[dict[str, Any]]:
    return list(told.get("requestBody", {}).get("content", {}).values())


def paths_of(template: str) -> set[str]:
    tokens = [f"{TOKEN}{number}" for number in range(4)] + ["unknown" * 2] if "{token}" in template else [""]
    return {
        re.sub(r"{(\w+)}", lambda match: token if match[1] == "token" else value(match[1]), template)  # noqa: B023
        for token in tokens
        for value in (known, unknown)
    }


@pytest.mark.slow
async def test_every_route_and_page_answers_with_a_single_connection(
    client: httpx.AsyncClient, database: Database, nested: NestedCheckouts
) -> None:
    await make_world(database)
    document = (await client.get("/openapi.json")).json()
    failed = []
    for method, path, body in requests_of(document):
        answer = await client.request(method, path, json=body, headers={"Idempotency-Key": path})
        if answer.status_code == 500 or "in time" in answer.text:
            failed.append((method, path, body, answer.status_code, answer.text[:300]))

    assert failed == []
    assert nested.found == []


async def test_every_way_to_a_new_customer_and_every_rendering_needs_one_connection(
    client: httpx.AsyncClient, database: Database, nested: NestedCheckouts
) -> None:
    stop = asyncio.Event()
    routing = asyncio.create_task(Router(database, Routing(LiveCache())).run(stop))
    calls: list[tuple[str, str, Any]] = [
        ("PATCH", "/v1/customers/new-1", {"traits": {"name": "New"}}),
        ("PUT", "/v1/customers/new-2/consent", {"state": "subscribed"}),
        ("PUT", "/v1/templates/hello", TEMPLATE),
        ("POST", "/v1/templates/hello/check", None),
        ("POST", "/v1/templates/hello/preview", {}),
        ("POST", "/v1/templates/hello/publish", {}),
        ("POST", "/v1/templates/hello/test", {"to": "me@example.com"}),
        ("GET", "/u/unknown-token", None),
        ("POST", "/u/unknown-token", None),
    ]
    try:
        answers = [
            await client.request(method, path, json=body, headers={"Idempotency-Key": path})
            for method, path, body in calls
        ]
        rows = b'{"user_id": "new-3"}\n'
        answers.append(await client.post("/v1/customers/import", content=rows, headers={"Idempotency-Key": "rows"}))
    finally:
        stop.set()
        await routing

    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 200, 200, 200, 404, 404, 200]
    assert nested.found == []


async def test_events_are_taken_at_once_while_many_follow_unknown_links(
    api_server: ApiServer, client: httpx.AsyncClient, single: Database
) -> None:
    event = {"userId": "ann", "event": "Product Viewed"}
    async with single.engine.connect():  # what the links wait for
        links = [asyncio.create_task(client.get(f"/u/unknown-link-{number}")) for number in range(30)]
        taken = await asyncio.gather(
            *(client.post("/v1/track", json=event, auth=(api_server.write_key, "")) for _ in range(10))
        )
        assert not any(link.done() for link in links)

    assert {answer.status_code for answer in taken} == {200}
    assert {answer.status_code for answer in await asyncio.gather(*links)} == {404}


async def test_slow_bodies_on_an_unsubscribe_link_stop_nobody(
    api_server: ApiServer, client: httpx.AsyncClient, database: Database
) -> None:
    await make_world(database)
    host, _, port = api_server.url.removeprefix("http://").partition(":")
    head = f"POST /u/{TOKEN}3 HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nList-".encode()
    slow = [await asyncio.open_connection(host, int(port)) for _ in range(11)]
    for _, writer in slow:
        writer.write(head)
        await writer.drain()
    await asyncio.sleep(0.1)

    event = {"userId": "ann", "event": "Product Viewed"}
    taken = await client.post("/v1/track", json=event, auth=(api_server.write_key, ""))
    page, profile = await client.get(f"/u/{TOKEN}3"), await client.get("/v1/customers/ann")

    assert (taken.status_code, page.status_code, profile.status_code) == (200, 200, 200)
    for reader, writer in slow:  # a body that breaks off is told with a traceback, which takes longer than all the rest
        with suppress(ConnectionError):
            writer.write(b"x" * 95)
            await writer.drain()
            assert await reader.read(1)
        writer.close()
