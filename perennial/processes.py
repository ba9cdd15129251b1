"""The long-running processes of a deployment. Each ends on SIGTERM or Ctrl-C after finishing what it has begun."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError
from temporalio.client import Client

from database.readiness import check_writable
from database.session import Database
from perennial.composition import build_api, build_router_loops, link_temporal, open_database
from perennial.health import Check, health_pages
from perennial.loading import loading
from perennial.queues import Queue
from perennial.serving import serving, stop_on_signals
from perennial.settings import Settings

log = structlog.get_logger(__name__)

_LOOK_AGAIN_SECONDS = 2.0


async def run_api(settings: Settings) -> None:
    """Serve the HTTP API."""
    stop = stop_on_signals()
    async with open_database(settings, "api", settings.api_pool) as database, AsyncExitStack() as closing:
        with loading():
            app = await build_api(settings, database, closing)
        async with serving(app, settings.host, settings.api_port, trusted_proxies=settings.forwarded_allow_ips):
            await stop.wait()


async def run_router(settings: Settings) -> None:
    """Route events, and relay commands to Temporal; routing goes on while Temporal is away."""
    stop = stop_on_signals()
    link = link_temporal(settings)
    async with open_database(settings, "router", settings.router_pool) as database:
        client = await link.lazy_client()
        pages = health_pages(
            {"database": database_check(database)}, link.metrics, shown={"temporal": temporal_check(client)}
        )
        async with serving(pages, settings.host, settings.router_port):
            with loading():
                loops = build_router_loops(settings, database, client)
            await _until(stop, undo_restore(settings, database))
            async with asyncio.TaskGroup() as running:
                for loop in loops:
                    running.create_task(loop(stop))


async def run_worker(settings: Settings, queues: Collection[Queue]) -> None:
    """Serve task queues of Temporal. Waits for Temporal as long as it is away."""
    with loading():
        from perennial.workers import work  # here, so that api and router do not carry what only workers need

    stop = stop_on_signals()
    link = link_temporal(settings)
    async with open_database(settings, "worker", settings.worker_pool) as database:
        begun = asyncio.Event()
        checks = {
            "database": database_check(database),
            "temporal": temporal_check(await link.lazy_client()),
            "queues": begun_check(begun),
        }
        async with serving(health_pages(checks, link.metrics), settings.host, settings.worker_port):
            await _until(stop, undo_restore(settings, database))
            if not stop.is_set():
                await _until(stop, work(settings, database, link.client, queues, begun))


async def undo_restore(settings: Settings, database: Database) -> None:
    """Do again what a restore of the database has undone, before anything is routed or sent."""
    if settings.journal_dir is None:
        return
    from connectors.journal_folder import JournalFolder
    from triggers.restoring import replay

    while True:
        try:
            done = await replay(database, JournalFolder(settings.journal_dir), datetime.now(UTC))
        except (SQLAlchemyError, OSError):
            log.exception("the restore journal cannot be compared; nothing begins before it is")
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        else:
            if done.count or done.unreadable:
                log.warning("the database was restored; done again what people had asked for", **asdict(done))
            return


def database_check(database: Database) -> Check:
    """Whether the database answers and can be written to."""

    async def check() -> None:
        await check_writable(database)

    return check


def temporal_check(client: Client) -> Check:
    """Whether Temporal answers."""

    async def check() -> None:
        if not await client.service_client.check_health():
            raise ConnectionError("Temporal is not healthy")

    return check


def begun_check(begun: asyncio.Event) -> Check:
    """Whether the process has begun with its work."""

    async def check() -> None:
        if not begun.is_set():
            raise InterruptedError("not begun yet")

    return check


async def _until(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Work until asked to stop; the work is cancelled then, and given the time that it needs to end."""
    task, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait((stopping, task), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
