"""Anonymous visitors can be exported and erased by their id, and no customer can by it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import select

from database.audit import AuditEntry
from database.session import Database
from domain.keys import KeyKind, Scope
from tests.api.toy import make_key
from triggers.live import LiveCache
from triggers.router import Router
from triggers.routing import Routing

VISITOR = "/v1/visitors/browser%2F1"
VIEWED: dict[str, Any] = {"type": "track", "event": "Product Viewed", "anonymousId": "browser/1"}


async def send(client: httpx.AsyncClient, database: Database, *messages: dict[str, Any]) -> None:
    """Post messages and route them."""
    answer = await client.post("/v1/batch", json={"batch": messages})
    assert answer.json()["accepted"] == len(messages), answer.text
    router = Router(database, Routing(LiveCache()))
    while (await router.route_once()).seen:
        pass


async def test_an_anonymous_visitor_is_exported_and_erased_by_the_anonymous_id(
    client: httpx.AsyncClient, database: Database
) -> None:
    seen = VIEWED | {"properties": {"product_id": "lamp"}, "timestamp": "2026-01-05T10:00:00Z"}
    await send(client, database, seen, VIEWED | {"anonymousId": "browser/2"})

    export = await client.get(f"{VISITOR}/export")
    erased = await client.delete(VISITOR)
    again = await client.delete(VISITOR)
    spelt = await client.delete(f"{VISITOR}%E2%80%8B")  # a blank that nobody sees

    assert export.status_code == 200, export.text
    assert export.headers["Cache-Control"] == "no-store"
    assert [each["properties"]["product_id"] for each in export.json()["events"]] == ["lamp"]
    assert [each["value"] for each in export.json()["identities"]] == ["browser/1"]
    assert (erased.status_code, again.json(), spelt.json()) == (202, erased.json(), erased.json())
    assert (await client.get(erased.headers["Location"])).json() == erased.json()
    assert (await client.get(f"{VISITOR}/export")).json()["code"] == "visitor_not_found"
    await send(client, database, seen | {"messageId": "sent-again"})  # what happened before stays gone
    assert (await client.get(f"{VISITOR}/export")).status_code == 404
    assert (await client.get("/v1/visitors/browser%2F2/export")).status_code == 200
    async with database.read() as session:
        acts = [each.action for each in await session.scalars(select(AuditEntry).order_by(AuditEntry.id))]
    assert acts == ["export", "erase", "export"]  # the last one of the other visitor


async def test_nobody_reaches_a_customer_by_an_anonymous_id(client: httpx.AsyncClient, database: Database) -> None:
    await send(client, database, VIEWED, {"type": "identify", "anonymousId": "browser/1", "userId": "ann"})

    answers = [await client.get(f"{VISITOR}/export"), await client.delete(VISITOR)]

    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (409, "visitor_known")
        assert "ann" not in answer.text
    assert (await client.get("/v1/customers/ann")).status_code == 200
    assert (await client.delete("/v1/customers/ann")).status_code == 202
    assert (await client.delete(VISITOR)).status_code == 404  # the customer's erasure is not shown by it either


@pytest.mark.parametrize("scope", [Scope.CUSTOMERS_READ, Scope.EVENTS_WRITE])
async def test_only_keys_that_may_change_customers_erase_visitors(
    client: httpx.AsyncClient, database: Database, scope: Scope
) -> None:
    await send(client, database, VIEWED)
    key = await make_key(database, "other", KeyKind.SECRET, scope)
    headers = {"Authorization": f"Bearer {key}"}

    assert (await client.delete(VISITOR, headers=headers)).status_code == 403
    exported = await client.get(f"{VISITOR}/export", headers=headers)
    assert exported.status_code == (200 if scope is Scope.CUSTOMERS_READ else 403)
