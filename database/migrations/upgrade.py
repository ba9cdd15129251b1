"""Brings a database to the newest schema, and tells whether it is there."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from sqlalchemy import text

from database.session import Database, ReadSession
from database.trait_trust import is_marked, mark_untrusted_traits

_HERE = Path(__file__).parent


def upgrade(url: str) -> None:
    """Run every migration that is missing, then the passes over old rows. Blocking; safe from several processes."""
    from alembic import command  # here, as a process that starts on a migrated database has no use for it
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_HERE))
    config.set_main_option("database_url", url.replace("%", "%%"))
    command.upgrade(config, "head")
    with ThreadPoolExecutor(max_workers=1) as own_loop:  # the caller may itself stand in a running event loop
        own_loop.submit(asyncio.run, _look_through(url)).result()


async def is_newest(url: str) -> bool:
    """Whether there is nothing to run; quicker to ask than to run nothing."""
    database = Database(url, pool_size=1)
    try:
        async with database.read() as session:
            return await current_revision(session) == newest_revision() and await is_marked(session)
    finally:
        await database.close()


async def _look_through(url: str) -> None:
    database = Database(url, pool_size=1)
    try:
        await mark_untrusted_traits(database, datetime.now(UTC))
    finally:
        await database.close()


@cache
def newest_revision() -> str:
    """The revision that this code expects: the number of the last file, told without loading Alembic."""
    return max(path.name.partition("_")[0] for path in (_HERE / "versions").glob("[0-9]*_*.py"))


async def current_revision(session: ReadSession) -> str | None:
    """The revision the database stands at; None when it was never migrated."""
    exists = await session.scalar(text("SELECT to_regclass('alembic_version')"))
    return await session.scalar(text("SELECT version_num FROM alembic_version")) if exists else None
