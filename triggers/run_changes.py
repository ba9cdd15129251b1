"""The loop that carries out what was decided about many runs, a page in a transaction, one router at a change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from prometheus_client import Counter
from sqlalchemy.exc import SQLAlchemyError

from database.run_changes import PAGE, carry_out_page
from database.session import Database

log = structlog.get_logger(__name__)

CHANGED = Counter("perennial_runs_changed", "Runs that were archived, finished, moved or woken in the background")

_IDLE_SECONDS = 1.0
_BREATH_SECONDS = 0.02
"""Between two pages, so that routing and the relay get their turn."""


class RunChanges:
    """Needs the database only: while Temporal is away, the wakes wait in the outbox."""

    def __init__(self, database: Database, *, page: int = PAGE, now: Callable[[], datetime] | None = None) -> None:
        self._database = database
        self._page = page
        self._now = now or _utc_now

    async def run(self, stop: asyncio.Event) -> None:
        """Carry out until told to stop."""
        while not stop.is_set():
            try:
                async with asyncio.timeout(await self._turn()):
                    await stop.wait()
            except TimeoutError:
                continue

    async def carry_out_once(self) -> int | None:
        """One page; None when nothing is to be done."""
        async with self._database.transaction() as session:
            return await carry_out_page(session, self._now(), self._page)

    async def _turn(self) -> float:
        """One page; answers how many seconds to rest."""
        try:
            reached = await self.carry_out_once()
        except (SQLAlchemyError, OSError):
            log.warning("a page of runs was rolled back; it is tried again", exc_info=True)
            return _IDLE_SECONDS
        CHANGED.inc(reached or 0)
        return _BREATH_SECONDS if reached else _IDLE_SECONDS


def _utc_now() -> datetime:
    return datetime.now(UTC)
