"""The composition root: the only place that constructs things and hands them what they use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from database.session import Database
from perennial.settings import Settings


@asynccontextmanager
async def open_database(settings: Settings, process: str) -> AsyncIterator[Database]:
    """The database of this deployment, its connections named after the process and given back at the end."""
    database = Database(
        settings.database_url.get_secret_value(),
        pool_size=settings.database_pool_size,
        application_name=f"perennial {process}",
    )
    try:
        yield database
    finally:
        await database.close()
