"""What arrived of what real clients sent."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from database.session import Database

Arrival = dict[str, Any]  # a row of events


async def arrivals(database: Database) -> list[Arrival]:
    """All stored events in order of receipt."""
    async with database.read() as session:
        rows = await session.execute(text("SELECT * FROM events ORDER BY received_at, id"))
        return [dict(row) for row in rows.mappings()]


async def until_arrived(database: Database, count: int) -> list[Arrival]:
    """All stored events, once there are at least `count`."""
    async with asyncio.timeout(120):
        while len(found := await arrivals(database)) < count:
            await asyncio.sleep(0.05)
    return found


def assert_the_shop_visit(events: list[Arrival], *, source: str = "server") -> None:
    """The story every server client tells: Ann signs up, buys, reads, uses the app, joins a firm, was anonymous."""
    by_kind = {event["kind"]: event for event in events}
    assert sorted(event["kind"] for event in events) == ["alias", "group", "identify", "page", "screen", "track"]
    assert {event["source"] for event in events} == {source}
    assert {event["subject"] for event in events} == {"u:ann"}
    assert len({event["message_id"] for event in events}) == 6
    assert by_kind["identify"]["traits"]["email"] == "ann@example.com"
    assert (by_kind["track"]["name"], by_kind["track"]["properties"]["order_id"]) == ("Order Completed", "o-1")
    assert by_kind["page"]["properties"]["name"] == "Docs"
    assert by_kind["screen"]["properties"]["name"] == "Home"
    assert by_kind["group"]["properties"]["group_id"] == "acme"
    assert by_kind["alias"]["previous_id"] == "anon-1"
    now = datetime.now(UTC)
    assert all(abs(event["timestamp"] - now) < timedelta(minutes=5) for event in events)
