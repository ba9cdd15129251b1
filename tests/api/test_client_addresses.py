"""With PERENNIAL_TRUNCATE_IP no whole IP address of a client is stored, by whatever door it comes in."""

from __future__ import annotations

import httpx
import pytest
from sqlalchemy import select

from api.dependencies import ApiDependencies
from database.consent import Consent
from database.customers import Customer
from database.events import Event
from database.session import Database
from database.tables import metadata
from tests.api.conftest import ApiServer
from tests.sending import hello_template, welcome_journey
from triggers.live import LiveCache
from triggers.router import Router
from triggers.routing import Routing

ADDRESSES = ("93.184.216.34", "2001:db8:1234:5678::1")


@pytest.fixture
def api_dependencies(database: Database) -> ApiDependencies:
    """An API that keeps networks only."""
    return ApiDependencies(database=database, truncate_ip=True)


async def everything(database: Database) -> str:
    """Every row of every table as text."""
    async with database.read() as session:
        return "\n".join([str(row) for table in metadata.sorted_tables for row in await session.execute(select(table))])


async def test_no_whole_address_is_stored_by_any_door_where_addresses_are_truncated(
    client: httpx.AsyncClient, database: Database
) -> None:
    ipv4, ipv6 = ADDRESSES
    given = {"purpose": "marketing", "email": "ann@example.com", "ip": ipv4}
    batch = [
        {"type": "identify", "userId": "ann", "traits": {"email": "ann@example.com", "ip": ipv4}},
        {"type": "track", "userId": "ann", "event": "Consent Granted", "properties": given, "context": {"ip": ipv6}},
    ]
    taken = await client.post("/v1/batch", json={"batch": batch, "context": {"ip": ipv4}})
    assert taken.json()["accepted"] == 2, taken.text
    columns = "user_id,ip,consent.marketing,consent.marketing.at,consent.marketing.ip"
    rows = f"{columns}\nbob,{ipv4},subscribed,2026-01-01,{ipv6}\n"
    imported = await client.post("/v1/customers/import", content=rows, headers={"Content-Type": "text/csv"})
    assert imported.status_code == 200, imported.text
    router = Router(database, Routing(LiveCache()))
    while (await router.route_once()).seen:
        pass
    change = {"state": "subscribed", "ip": ipv4, "evidence": {"client": {"ip": ipv6}}}
    assert (await client.put("/v1/customers/ann/consent", json=change)).status_code == 200

    stored = await everything(database)

    assert [address for address in ADDRESSES if address in stored] == []
    async with database.read() as session:
        contexts = list(await session.scalars(select(Event.context).where(Event.context != {})))
        evidence = list(await session.scalars(select(Consent.evidence).order_by(Consent.at)))
        (traits,) = await session.scalars(select(Customer.traits).where(Customer.external_id == "ann"))
    assert sorted(each["ip"] for each in contexts) == ["2001:db8:1234::", "93.184.216.0"]
    assert evidence[-1]["ip"] == "93.184.216.0"
    assert traits["ip"] == "93.184.216.0"


async def test_an_address_that_a_call_names_is_stored_as_its_network_only(
    client: httpx.AsyncClient, api_server: ApiServer, database: Database
) -> None:
    """By a page's script, a new trait, the entry of a journey, a submission and a referral's signals."""
    ipv4, ipv6 = ADDRESSES
    router = Router(database, Routing(LiveCache()))
    journey = welcome_journey() | {"enter": {"on": {"any": [{"event": "Signed Up"}, {"api": True}]}}}
    for kind, key, document in (("templates", "hello", hello_template()), ("journeys", "welcome", journey)):
        assert (await client.put(f"/v1/{kind}/{key}", json=document)).status_code == 200
        assert (await client.post(f"/v1/{kind}/{key}/publish", json={})).status_code == 200
    page = {"anonymousId": "v-1", "event": "Seen", "context": {"ip": ipv4}, "properties": {"clientIp": ipv6}}
    seen = await client.post("/v1/track", json=page, headers={"Authorization": f"Bearer {api_server.browser_key}"})
    known = await client.post("/v1/identify", json={"userId": "ann", "traits": {"email": "ann@example.com"}})
    assert (seen.status_code, known.status_code) == (200, 200)
    while (await router.route_once()).seen:
        pass

    entered = await client.post(
        "/v1/journeys/welcome/enter", json={"customer_id": "ann", "properties": {"ip": ipv4, "form": {"ip": ipv6}}}
    )
    told = {"customer_id": "ann", "action": "photo", "object": "p-1", "detail": {"ip": ipv4, "remote_addr": ipv6}}
    submitted = await client.post("/v1/submissions", json=told)

    assert (entered.status_code, entered.json()["entered"], submitted.status_code) == (200, True, 201), entered.text
    stored = await everything(database)
    assert [address for address in ADDRESSES if address in stored] == []
    assert "93.184.216.0" in stored
