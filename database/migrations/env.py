"""Runs migrations over one asyncpg connection; `database_url` comes from the caller (perennial migrate, tests)."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from database.tables import metadata

LOCK_KEY = 7_305_801  # two deploys that migrate at once take turns


def run(connection: Connection) -> None:
    """Upgrade in one transaction under an advisory lock, giving up on a table lock after five seconds."""
    context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=False)
    with context.begin_transaction():
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
        connection.execute(text("SET LOCAL lock_timeout = '5s'"))
        context.run_migrations()


async def migrate() -> None:
    """Connect, run, disconnect."""
    url = context.config.get_main_option("database_url") or ""
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://", 1), poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(run)
            await connection.commit()
    finally:
        await engine.dispose()


with ThreadPoolExecutor(max_workers=1) as own_loop:  # the caller may itself stand in a running event loop
    own_loop.submit(asyncio.run, migrate()).result()
