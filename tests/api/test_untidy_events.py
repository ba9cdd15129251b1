"""Untidy events are read for what they say: times as text, PHP's empty arrays."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from database.events import Event
from database.session import Database
from tests.api.conftest import ApiServer

TOLD = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "written", [TOLD.timestamp(), str(int(TOLD.timestamp())), f"{TOLD.timestamp() * 1_000:.0f}", " 2026-05-01T12:00Z "]
)
async def test_a_time_is_read_as_number_and_as_text(
    api_server: ApiServer, database: Database, written: str | float
) -> None:
    await post(api_server, {"event": "Signed Up", "userId": "ann", "timestamp": written})

    async with database.read() as session:
        assert await session.scalar(select(Event.timestamp)) == TOLD


async def test_an_empty_array_is_phps_empty_object(api_server: ApiServer, database: Database) -> None:
    await post(api_server, {"event": "Signed Up", "userId": "ann", "properties": [], "context": [], "traits": []})

    async with database.read() as session:
        row = (await session.execute(select(Event.properties, Event.context))).one()
    assert tuple(row) == ({}, {})


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/b", "/v1/import", "/beacon/v1/batch"])
async def test_an_empty_array_is_phps_empty_object_in_every_call_of_a_batch(
    api_server: ApiServer, database: Database, path: str
) -> None:
    empty: dict[str, Any] = {name: [] for name in ("properties", "traits", "context", "integrations")}
    items: list[dict[str, Any]] = [
        {"type": "track", "event": "Signed Up", **empty},
        {"type": "identify", **empty},
        {"type": "identify", "context": {"traits": [], "device": []}},
        {"type": "page", "name": "Docs", **empty},
        {"type": "screen", **empty},
        {"type": "group", "groupId": "acme", **empty},
        {"type": "alias", "previousId": "a-1", **empty},
    ]
    body = {"batch": [item | {"userId": "ann"} for item in items], "context": [], "writeKey": api_server.write_key}
    async with httpx.AsyncClient(timeout=30) as client:
        answer = await client.post(f"{api_server.url}{path}", json=body)

    assert (answer.json()["accepted"], answer.json()["rejected"]) == (len(items), [])
    async with database.read() as session:
        rows = await session.execute(select(Event.properties, Event.traits, Event.context).order_by(Event.id))
    assert [tuple(row) for row in rows] == [
        ({}, {}, {}),
        ({}, {}, {}),
        ({}, {}, {"traits": [], "device": []}),
        ({"name": "Docs"}, {}, {}),
        ({}, {}, {}),
        ({"group_id": "acme", "traits": {}}, {}, {}),
        ({}, {}, {}),
    ]


async def post(api: ApiServer, event: dict[str, Any]) -> None:
    """As a shop's server posts it."""
    async with httpx.AsyncClient(timeout=30) as client:
        answer = await client.post(f"{api.url}/v1/track", json=event | {"writeKey": api.write_key})
    assert answer.json() == {"success": True}


async def test_what_is_taken_and_cannot_be_read_is_told_in_the_answer(
    api_server: ApiServer, database: Database
) -> None:
    refund = {
        "type": "track",
        "event": "Order Refunded",
        "userId": "ann",
        "properties": {"order_id": 1, "total": "10,00"},
    }
    other = {"type": "track", "event": "Signed Up", "userId": "ann", "properties": {"total": "10,00"}}
    async with httpx.AsyncClient(timeout=30) as client:
        body = {"batch": [{"type": "unheard"}, other, refund], "writeKey": api_server.write_key}
        batch = (await client.post(f"{api_server.url}/v1/batch", json=body)).json()
        single = await client.post(f"{api_server.url}/v1/track", json=refund | {"writeKey": api_server.write_key})
        metrics = (await client.get(f"{api_server.url}/metrics")).text

    assert (batch["accepted"], [each["index"] for each in batch["rejected"]]) == (2, [0])
    assert [(each["index"], each["code"]) for each in batch["warnings"]] == [(2, "refund_unreadable")]
    assert [each["code"] for each in single.json()["warnings"]] == ["refund_unreadable"]
    assert 'perennial_events_misread_total{code="refund_unreadable"}' in metrics
    async with database.read() as session:
        assert len((await session.scalars(select(Event.id))).all()) == 3
