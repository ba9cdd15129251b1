"""Brings a database to the newest schema, and tells whether it is there."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import text

from database.point_totals import is_complete, total_older
from database.session import Database, ReadSession
from database.trait_trust import is_marked, mark_untrusted_traits

T = TypeVar("T")
_HERE = Path(__file__).parent


def upgrade(url: str) -> str:
    """Run every migration that is missing, then the passes over old rows; answers the revision it then stands at.

    Blocking; safe from several processes. A schema of a newer release is left alone: migrations only add, so it serves.
    """
    standing = _in_own_loop(_stands_at(url))
    if standing is not None and standing > newest_revision():
        return standing
    from alembic import command  # here, as a process that starts on a migrated database has no use for it
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_HERE))
    config.set_main_option("database_url", url.replace("%", "%%"))
    command.upgrade(config, "head")
    _in_own_loop(_look_through(url))
    return newest_revision()


async def is_newest(url: str) -> bool:
    """Whether there is nothing to run; quicker to ask than to run nothing."""
    database = Database(url, pool_size=1)
    try:
        async with database.read() as session:
            revision = await current_revision(session)
            return serves(revision) and (revision != newest_revision() or await _is_looked_through(session))
    finally:
        await database.close()


def serves(revision: str | None) -> bool:
    """Whether this code runs on a schema: its own, or one of a newer release, which has only added to it."""
    return revision is not None and revision >= newest_revision()


async def _stands_at(url: str) -> str | None:
    database = Database(url, pool_size=1)
    try:
        async with database.read() as session:
            return await current_revision(session)
    finally:
        await database.close()


def _in_own_loop(work: Coroutine[Any, Any, T]) -> T:
    """Wait for it, also where the caller itself stands in a running event loop."""
    with ThreadPoolExecutor(max_workers=1) as own_loop:
        return own_loop.submit(asyncio.run, work).result()


async def _is_looked_through(session: ReadSession) -> bool:
    return await is_marked(session) and await is_complete(session)


async def _look_through(url: str) -> None:
    database = Database(url, pool_size=1)
    try:
        await mark_untrusted_traits(database, datetime.now(UTC))
        await total_older(database, datetime.now(UTC))
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
