"""Databases for tests: a copy of the migrated schema for each test, emptied and handed on instead of copied anew.

Emptying what a test has written takes a twentieth of the time of a copy, and a thousand tests want a database.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from perennial.embedded.postgres import EmbeddedPostgres

_LARGE_BYTES = 1_000_000
"""What leaves more than this in one table is not worth emptying: deleted rows still cost whoever reads the table."""

_TABLES = (
    "SELECT count(*), coalesce(max(pg_table_size(oid)), 0) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
)

_END_OTHERS = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""

# As a replica, neither foreign keys nor the triggers of append-only tables stand in the way.
_EMPTY = """
SET session_replication_role = replica;
DO $$
DECLARE written text;
BEGIN
    FOR written IN
        SELECT oid::regclass FROM pg_class
        WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
            AND relname NOT IN ('alembic_version', 'secrets') AND pg_relation_size(oid) > 0
    LOOP
        EXECUTE 'DELETE FROM ' || written;
    END LOOP;
    DELETE FROM secrets WHERE name <> 'pseudonyms';  -- which the migrations have made
    PERFORM setval(format('%I.%I', schemaname, sequencename), start_value, false)
    FROM pg_sequences WHERE last_value IS NOT NULL;
END $$
"""


class Databases:
    """The test databases of one server, all copies of `template`."""

    def __init__(self, server: EmbeddedPostgres, template: str) -> None:
        self._server = server
        self._template = template
        self._tables: int | None = None
        self._empty: list[str] = []

    async def take(self) -> str:
        """The name of a migrated, empty database that is the caller's alone."""
        if self._empty:
            return self._empty.pop()
        name = f"test_{uuid.uuid4().hex}"
        async with self._connected("postgres") as connection:
            await connection.execute(f"CREATE DATABASE {name} TEMPLATE {self._template} STRATEGY FILE_COPY")
        if self._tables is None:
            async with self._connected(name) as connection:
                self._tables = await connection.fetchval(_TABLES)
        return name

    async def give_back(self, name: str) -> None:
        """Empty it for the next; drop it if it grew large or its tables are no longer those of the template."""
        async with self._connected(name) as connection:
            await connection.execute(_END_OTHERS)
            tables, largest = await connection.fetchrow(_TABLES)
            is_kept = tables == self._tables and largest <= _LARGE_BYTES
            if is_kept:
                is_kept = await _is_emptied(connection)
        if is_kept:
            self._empty.append(name)
        else:
            async with self._connected("postgres") as connection:
                await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    @asynccontextmanager
    async def _connected(self, name: str) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self._server.url(name))
        try:
            yield connection
        finally:
            await connection.close()


async def _is_emptied(connection: asyncpg.Connection) -> bool:
    """False where something of the test still writes, as in tests that do without our locks."""
    try:
        await connection.execute(_EMPTY)
    except asyncpg.DeadlockDetectedError:
        return False
    return True
