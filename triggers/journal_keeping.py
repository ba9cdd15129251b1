"""Writes the restore journal: what was noted in the database goes to files outside it within a second or so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from prometheus_client import Gauge
from sqlalchemy.exc import SQLAlchemyError

from connectors.journal_folder import JournalFolder
from database import restore_journal
from database.awaited_lines import with_identities
from database.session import Database

log = structlog.get_logger(__name__)

UNWRITTEN = Gauge("perennial_restore_journal_unwritten", "Lines of the restore journal that could not be written yet")

_EVERY: Final = timedelta(seconds=1)
_AT_ONCE = 500


class JournalKeeper:
    """Any number may run: a line that two write stands twice in the files, and counts once."""

    def __init__(self, database: Database, folder: JournalFolder, *, now: Callable[[], datetime] | None = None) -> None:
        self._database = database
        self._folder = folder
        self._now = now or _utc_now

    async def run(self, stop: asyncio.Event) -> None:
        """Write until told to stop, and once more then."""
        while not stop.is_set():
            await self._try_to_write()
            try:
                async with asyncio.timeout(_EVERY.total_seconds()):
                    await stop.wait()
            except TimeoutError:
                continue
        await self._try_to_write()

    async def write(self) -> int:
        """Write what waits; answers how many lines. No connection is held while the disk is waited for."""
        count = 0
        while True:
            async with self._database.read() as session:
                lines = await with_identities(session, await restore_journal.unwritten(session, _AT_ONCE))
            UNWRITTEN.set(len(lines))
            if not lines:
                return count
            await asyncio.to_thread(self._folder.append, lines)
            async with self._database.transaction() as session:
                await restore_journal.mark_written(session, [line.id for line in lines], self._now())
            count += len(lines)

    async def _try_to_write(self) -> None:
        try:
            await self.write()
        except (SQLAlchemyError, OSError):
            log.exception("the restore journal cannot be written", folder=str(self._folder.folder))


def _utc_now() -> datetime:
    return datetime.now(UTC)
