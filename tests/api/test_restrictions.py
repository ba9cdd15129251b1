"""Restriction of processing over HTTP: a customer is stored and left alone until it is lifted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from database.audit import AuditEntry
from database.customers import Customer
from database.session import Database
from domain.keys import KeyKind, Scope
from perennial.doctor import examine
from tests.api.toy import make_key
from tests.factories import make_customer
from tests.sending import hello_template, welcome_journey
from triggers.live import LiveCache
from triggers.router import Router
from triggers.routing import Routing

PATH = "/v1/customers/ann/restriction"
WHY = {"reason": "disputes that the address is hers"}


class Town:
    """A shop with a journey that begins with sign-ups, and its router."""

    def __init__(self, client: httpx.AsyncClient, database: Database) -> None:
        self.client, self._router = client, Router(database, Routing(LiveCache()))

    async def publish(self) -> None:
        """A live journey with an entry by event and by call."""
        enter = {"on": {"any": [{"event": "Signed Up"}, {"api": True}]}, "again": {"after": "0s"}}
        journey = welcome_journey() | {"enter": enter}
        for kind, key, document in (("templates", "hello", hello_template()), ("journeys", "welcome", journey)):
            saved = await self.client.put(f"/v1/{kind}/{key}", json=document)
            assert saved.status_code == 200, saved.text
            published = await self.client.post(f"/v1/{kind}/{key}/publish", json={})
            assert published.status_code == 200, published.text

    async def send(self, *messages: dict[str, Any]) -> None:
        """Post messages and route them."""
        answer = await self.client.post("/v1/batch", json={"batch": messages})
        assert answer.json()["accepted"] == len(messages), answer.text
        while (await self._router.route_once()).seen:
            pass

    async def runs(self, user: str) -> int:
        """How many runs somebody has."""
        return len((await self.client.get(f"/v1/customers/{user}/runs")).json()["data"])


@pytest.fixture
async def town(client: httpx.AsyncClient, database: Database) -> Town:
    town = Town(client, database)
    await town.publish()
    await town.send({"type": "identify", "userId": "ann", "traits": {"email": "ann@example.com"}})
    return town


def signed_up(user: str = "ann") -> dict[str, Any]:
    return {"type": "track", "event": "Signed Up", "userId": user}


async def test_no_run_of_a_restricted_customer_begins_while_events_still_reach_the_profile(
    client: httpx.AsyncClient, town: Town
) -> None:
    put = await client.put(PATH, json=WHY)
    assert put.status_code == 200, put.text

    await town.send(signed_up(), {"type": "identify", "userId": "ann", "traits": {"plan": "gold"}})
    entered = await client.post("/v1/journeys/welcome/enter", json={"customer_id": "ann"})

    profile = (await client.get("/v1/customers/ann")).json()
    assert profile["traits"]["plan"] == "gold"
    assert profile["restriction"] == put.json()
    assert profile["restriction"]["reason"] == WHY["reason"]
    assert (entered.json()["entered"], entered.json()["reason"]) == (False, "restricted")
    explained = (await client.get("/v1/journeys/welcome/explain?customer_id=ann")).json()
    assert {each["reason"] for each in explained["considered"]} == {"restricted"}
    assert await town.runs("ann") == 0

    assert (await client.delete(PATH)).status_code == 204
    await town.send(signed_up())
    assert await town.runs("ann") == 1
    assert (await client.get("/v1/customers/ann")).json()["restriction"] is None


async def test_a_merge_keeps_the_restriction_of_either_id(client: httpx.AsyncClient, town: Town) -> None:
    await town.send({"type": "identify", "userId": "anna", "traits": {"plan": "gold"}})
    assert (await client.put("/v1/customers/anna/restriction", json=WHY)).status_code == 200

    await town.send({"type": "alias", "previousId": "anna", "userId": "ann"}, signed_up("ann"))

    for name in ("ann", "anna"):
        assert (await client.get(f"/v1/customers/{name}")).json()["restriction"]["reason"] == WHY["reason"]
    assert await town.runs("ann") == 0
    assert (await client.delete(PATH)).status_code == 204
    assert (await client.get("/v1/customers/anna")).json()["restriction"] is None


async def test_timeline_export_and_audit_show_a_restriction_and_that_it_was_lifted(
    client: httpx.AsyncClient, database: Database
) -> None:
    ours = await make_customer(database, "ann", traits={"email": "ann@example.com"})
    for reason in ("first", "second"):  # the second time gives another reason
        assert (await client.put(PATH, json={"reason": reason})).status_code == 200
    assert (await client.delete(PATH)).status_code == 204

    timeline = (await client.get("/v1/customers/ann/timeline")).json()["data"]
    export = (await client.get("/v1/customers/ann/export")).json()

    assert [(each["kind"], each["name"], each["detail"]["reason"]) for each in timeline] == [
        ("restriction", "lifted", "second"),
        ("restriction", "restricted", "second"),
    ]
    assert [(each["reason"], each["lifted_at"] is not None) for each in export["restrictions"]] == [("second", True)]
    again = await client.delete(PATH)
    assert (again.status_code, again.json()["code"]) == (404, "not_restricted")
    async with database.read() as session:
        audit = list(await session.scalars(select(AuditEntry).order_by(AuditEntry.id)))
    acts = [(each.action, each.target, each.detail) for each in audit if "restrict" in each.action]
    assert acts == [(action, f"customer/{ours}", {}) for action in ("restrict", "restrict", "lift_restriction")]


async def test_a_restricted_customer_can_be_erased(client: httpx.AsyncClient, database: Database) -> None:
    await make_customer(database, "ann")
    assert (await client.put(PATH, json=WHY)).status_code == 200

    assert (await client.delete("/v1/customers/ann")).status_code == 202

    assert (await client.put(PATH, json=WHY)).status_code == 404


async def test_only_keys_that_may_change_customers_restrict_them(client: httpx.AsyncClient, database: Database) -> None:
    await make_customer(database, "ann")
    reader = await make_key(database, "reader", KeyKind.SECRET, Scope.CUSTOMERS_READ)
    headers = {"Authorization": f"Bearer {reader}"}

    refused = [await client.put(PATH, json=WHY, headers=headers), await client.delete(PATH, headers=headers)]

    assert [each.status_code for each in refused] == [403, 403]
    assert (await client.put(PATH, json={"reason": " "})).status_code == 422
    async with database.read() as session:
        assert await session.scalar(select(Customer.restricted_at)) is None


async def test_the_doctor_counts_and_names_restricted_customers(client: httpx.AsyncClient, database: Database) -> None:
    async def restricted() -> list[str]:
        verdicts = await examine(database, datetime.now(UTC), email_per_second=50, provider="smtp")
        (found,) = (each for each in verdicts if each.guarantee == "restricted")
        assert found.is_kept
        return list(found.offenders)

    names = [f"c-{number}" for number in range(7)]
    for name in names:
        await make_customer(database, name)
        await client.put(f"/v1/customers/{name}/restriction", json=WHY)
    listed = await restricted()
    for name in names[1:]:
        await client.delete(f"/v1/customers/{name}/restriction")

    assert [line.split()[0] for line in listed[:-1]] == names[:5]
    assert listed[-1].startswith("7 in all")
    assert [line.split()[0] for line in await restricted()] == ["c-0"]
