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


async def post(api: ApiServer, event: dict[str, Any]) -> None:
    """As a shop's server posts it."""
    async with httpx.AsyncClient(timeout=30) as client:
        answer = await client.post(f"{api.url}/v1/track", json=event | {"writeKey": api.write_key})
    assert answer.json() == {"success": True}
