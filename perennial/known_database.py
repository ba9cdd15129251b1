"""A process works on one database, on which the restore journal was replayed; another one it first makes known."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from database.completeness import check_complete
from database.incarnations import INCARNATION, Admission, AnotherDatabaseError, Incarnation
from database.session import Database
from domain.errors import Unavailable
from perennial.settings import Settings

log = structlog.get_logger(__name__)

_LOOK_AGAIN_SECONDS = 2.0
_LOOK_EVERY_SECONDS = 1.0

Work = Callable[[asyncio.Event], Coroutine[Any, Any, None]]
"""Runs until the event is set."""


async def work_on_known(settings: Settings, database: Database, work: Work, stop: asyncio.Event) -> None:
    """Replay the journal, work until the database is another one, and begin anew with nothing in memory."""
    while True:
        await until(stop, undo_restore(settings, database))
        if stop.is_set():
            return
        over = asyncio.Event()
        async with asyncio.TaskGroup() as running:
            watching = running.create_task(_end_with(stop, settings, database, over))
            await work(over)
            watching.cancel()


async def undo_restore(settings: Settings, database: Database) -> None:
    """Do again what a restore of the database has undone, before anything is routed or sent; then admit it."""
    while True:
        try:
            await _replay_and_trust(settings, database)
        except Unavailable as incomplete:
            log.warning("the database cannot be used yet; nothing begins before", why=incomplete.detail)
        except (SQLAlchemyError, OSError):
            log.exception("the restore journal cannot be compared; nothing begins before it is")
        else:
            return
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)


async def until(over: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Work until it is over; the work is cancelled then, and given the time that it needs to end."""
    task, ending = asyncio.create_task(work), asyncio.create_task(over.wait())
    try:
        await asyncio.wait((ending, task), return_when=asyncio.FIRST_COMPLETED)
    finally:
        ending.cancel()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _replay_and_trust(settings: Settings, database: Database) -> None:
    """By connections of its own, all to one incarnation: what is admitted is what was replayed on."""
    pinned = Admission(pins=True)
    fresh = Database(database.url, pool_size=2, application_name="perennial restore", admission=pinned)
    try:
        await check_complete(fresh)
        if settings.journal_dir is not None:
            await _replay(fresh, settings.journal_dir)
        async with fresh.read() as session:
            pinned.check(Incarnation(*(await session.execute(text(INCARNATION))).one()))
    finally:
        await fresh.close()
    if database.admission is not None and pinned.trusted is not None:
        database.admission.trust(pinned.trusted)


async def _replay(fresh: Database, folder: Path) -> None:
    from connectors.journal_folder import JournalFolder
    from triggers.restoring import replay

    done = await replay(fresh, JournalFolder(folder), datetime.now(UTC))
    if done.count or done.unreadable:
        log.warning("the database was restored; done again what people had asked for", **asdict(done))


async def _end_with(stop: asyncio.Event, settings: Settings, database: Database, over: asyncio.Event) -> None:
    await until(stop, _replaced(settings, database))
    over.set()


async def _replaced(settings: Settings, database: Database) -> None:
    """Return when the process has another database; the journal has been replayed on it by then, so that what is under
    way can be recorded.
    """
    if database.admission is None:
        await asyncio.Event().wait()
        return
    await until(database.admission.is_strange, _keep_looking(database))
    log.warning("the database is another one than before, or was started anew: the restore journal comes first")
    await undo_restore(settings, database)


async def _keep_looking(database: Database) -> None:
    """Tables may be brought back while connections to them stay open, which no new connection would show."""
    while True:
        await asyncio.sleep(_LOOK_EVERY_SECONDS)
        try:
            async with database.read() as session:
                found = Incarnation(*(await session.execute(text(INCARNATION))).one())
            if database.admission is not None:
                database.admission.check(found)
        except AnotherDatabaseError:
            await database.engine.dispose()  # what is open leads there too
        except (SQLAlchemyError, OSError) as error:
            log.debug("the database could not be looked at", error=type(error).__name__)
