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
