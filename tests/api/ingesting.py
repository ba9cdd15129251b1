"""What tests of ingest post, and what was stored of it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from database.session import Database


async def stored(database: Database) -> list[dict[str, Any]]:
    async with database.read() as session:
        rows = await session.execute(text("SELECT * FROM events ORDER BY id"))
        return [dict(row) for row in rows.mappings()]


async def stored_one(database: Database) -> dict[str, Any]:
    (event,) = await stored(database)
    return event


def a_track(message_id: str | None = None, **members: object) -> dict[str, Any]:
    return {"type": "track", "event": "Product Viewed", "userId": "ann", "messageId": message_id} | members
