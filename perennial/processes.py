"""The long-running processes of a deployment. Each ends on SIGTERM or Ctrl-C after finishing what it has begun."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import AsyncExitStack

from temporalio.client import Client

from database.incarnations import Admission
from database.readiness import check_writable
from database.session import Database
from perennial.composition import build_api, build_router_loops, link_temporal, open_database
from perennial.health import Check, health_pages
from perennial.known_database import until, work_on_known
from perennial.loading import loading
from perennial.queues import Queue
from perennial.serving import serving, stop_on_signals
from perennial.settings import Settings


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
    async with open_database(settings, "router", settings.router_pool, Admission()) as database:
        client = await link.lazy_client()
        pages = health_pages(
            {"database": database_check(database)}, link.metrics, shown={"temporal": temporal_check(client)}
        )

        async def route(over: asyncio.Event) -> None:
            with loading():
                loops = build_router_loops(settings, database, client)
            async with asyncio.TaskGroup() as running:
                for loop in loops:
                    running.create_task(loop(over))

        async with serving(pages, settings.host, settings.router_port):
            await work_on_known(settings, database, route, stop)


async def run_worker(settings: Settings, queues: Collection[Queue]) -> None:
    """Serve task queues of Temporal. Waits for Temporal as long as it is away."""
    with loading():
        from perennial.workers import work  # here, so that api and router do not carry what only workers need

    stop = stop_on_signals()
    link = link_temporal(settings)
    async with open_database(settings, "worker", settings.worker_pool, Admission()) as database:
        begun = asyncio.Event()
        checks = {
            "database": database_check(database),
            "temporal": temporal_check(await link.lazy_client()),
            "queues": begun_check(begun),
        }

        async def serve(over: asyncio.Event) -> None:
            await until(over, work(settings, database, link.client, queues, begun))
            begun.clear()

        async with serving(health_pages(checks, link.metrics), settings.host, settings.worker_port):
            await work_on_known(settings, database, serve, stop)


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
