"""Tells the routers that there are events, after their transaction and at most once in 20 ms.

PostgreSQL lets notifying transactions commit one after the other (a lock held over the flush to disk), which would
serialise ingest. So the transactions that take events in do not notify; this does, from a connection of its own. A
notification that is lost with the process costs one poll of the router and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from database.events import CHANNEL
from database.session import Database

log = structlog.get_logger(__name__)

_QUIET_SECONDS = 0.02


class Bell:
    """Rings once for everything that was appended since it rang last."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Something was committed. Never waits."""
        self._rung.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Rings while the block runs."""
        ringing = asyncio.create_task(self._keep_ringing())
        try:
            yield
        finally:
            ringing.cancel()
            with suppress(asyncio.CancelledError):
                await ringing

    async def _keep_ringing(self) -> None:
        while True:
            await self._rung.wait()
            self._rung.clear()
            try:
                async with self._database.transaction() as session:
                    await session.execute(text(f"NOTIFY {CHANNEL}"))
            except (SQLAlchemyError, OSError) as error:
                log.warning("routers_not_notified", error=type(error).__name__)
            await asyncio.sleep(_QUIET_SECONDS)
