"""The migrated database is the one that the tables describe, and migrating again changes nothing."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from database import migrations
from database.migrations.upgrade import current_revision, is_newest, newest_revision, upgrade
from database.secrets import PSEUDONYMS, known_secret
from database.session import Database
from database.tables import metadata


async def test_the_migrated_schema_is_what_the_tables_say(database: Database) -> None:
    async with database.engine.connect() as connection:
        differences = await connection.run_sync(_differences)

    assert differences == []


async def test_migrating_twice_stands_at_the_newest_revision(database: Database, database_url: str) -> None:
    await asyncio.to_thread(upgrade, database_url)

    async with database.read() as session:
        assert await current_revision(session) == newest_revision()
    assert await is_newest(database_url)


async def test_every_backup_knows_the_key_of_the_restore_journals_hashes(database: Database) -> None:
    """It is there before anything is hashed; a key that is in use stays when the migration comes to it."""
    async with database.read() as session:
        made = await known_secret(session, PSEUDONYMS)
    async with database.engine.begin() as connection:
        await connection.run_sync(_make_the_key)

    async with database.read() as session:
        assert made is not None
        assert await known_secret(session, PSEUDONYMS) == made


def test_the_newest_revision_is_the_end_of_the_one_chain_of_migrations() -> None:
    assert ScriptDirectory(migrations.__path__[0]).get_heads() == [newest_revision()]


def _make_the_key(connection: Connection) -> None:
    with Operations.context(MigrationContext.configure(connection)):
        import_module("database.migrations.versions.0041_key_of_hashes").upgrade()


def _differences(connection: Connection) -> list[Any]:  # alembic's tuples
    def is_ours(name: str | None, kind: str, _parents: object) -> bool:
        return kind != "table" or name in metadata.tables  # the partitions of event_keys are the migration's own

    context = MigrationContext.configure(connection, opts={"include_name": is_ours, "compare_server_default": True})
    return list(compare_metadata(context, metadata))
