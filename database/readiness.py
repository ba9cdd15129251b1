"""Whether the database can be written to: a read-only or full one answers questions and takes nothing."""

from __future__ import annotations

from sqlalchemy import text

from database.session import Database
from domain.errors import Unavailable

_PROBE = """
    CREATE TEMPORARY TABLE perennial_room ON COMMIT DROP AS
    SELECT sha256(i::text::bytea) FROM generate_series(1, 20000) AS i
"""
"""A megabyte that is thrown away: asked only after a write has found no room."""


async def check_writable(database: Database) -> None:
    """Raises Unavailable `database_read_only`, and what PostgreSQL says when it is full or away."""
    async with database.transaction() as session:
        if await session.scalar(text("SHOW transaction_read_only")) == "on":
            raise Unavailable("The database is read-only.", code="database_read_only")
        if database.is_full:
            await session.execute(text(_PROBE))
    database.is_full = False
