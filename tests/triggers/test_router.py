"""The router's loop: quick when idle, whole after a kill -9, patient while the database is away."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import func, select, text

from database.events import Event
from database.session import Database
from tests.triggers.shop import Shop
from triggers.live import LiveCache
from triggers.router import Router
from triggers.routing import Routing

PROCESS = """
import asyncio, sys
from database.session import Database
from triggers.live import LiveCache
from triggers.router import Router
from triggers.routing import Routing
asyncio.run(Router(Database(sys.argv[1]), Routing(LiveCache())).run(asyncio.Event()))
"""


@asynccontextmanager
async def routing(database: Database) -> AsyncIterator[None]:
    """A router of this process, for as long as the block lasts."""
    stop = asyncio.Event()
    running = asyncio.create_task(Router(database, Routing(LiveCache())).run(stop))
    try:
        yield
    finally:
        stop.set()
        await running


async def routed(database: Database) -> int:
    async with database.read() as session:
        return await session.scalar(select(func.count()).select_from(Event).where(Event.status == "routed")) or 0


async def until_routed(database: Database, count: int, within: float) -> None:
    async with asyncio.timeout(within):
        while await routed(database) < count:
            await asyncio.sleep(0.01)


async def test_an_idle_router_takes_an_event_up_well_within_half_a_second(shop: Shop) -> None:
    async with routing(shop.database):
        await shop.post(shop.event("Page Viewed"))
        await until_routed(shop.database, 1, within=10)
        waits = []
        for number in range(10):
            started = time.perf_counter()
            await shop.post(shop.event("Page Viewed"))
            await until_routed(shop.database, number + 2, within=5)
            waits.append(time.perf_counter() - started)
    assert sorted(waits)[5] < 0.5


async def test_a_router_that_is_killed_in_the_middle_loses_and_doubles_nothing(shop: Shop, database_url: str) -> None:
    people, each = 50, 30
    events = [shop.event("Page Viewed", user_id=f"u-{n % people}") for n in range(people * each)]
    for start in range(0, len(events), 500):
        await shop.post(*events[start : start + 500])
    victim = await asyncio.create_subprocess_exec(sys.executable, "-c", PROCESS, database_url)
    async with asyncio.timeout(60):
        while not await routed(shop.database):
            await asyncio.sleep(0.01)
    os.kill(victim.pid, signal.SIGKILL)
    await victim.wait()
    async with routing(shop.database):
        await until_routed(shop.database, len(events), within=60)
    for person in range(people):
        customer = await shop.customer(f"u-{person}")
        assert [event.number for event in await shop.events_of(customer.id)] == list(range(1, each + 1))


async def test_a_router_outlives_its_connections(shop: Shop) -> None:
    async with routing(shop.database):
        await shop.post(shop.event("Page Viewed"))
        await until_routed(shop.database, 1, within=10)
        other = Database(shop.database.url, pool_size=1)
        async with other.transaction() as session:
            await session.execute(text("SET LOCAL ROLE NONE"))  # the application itself may not
            await session.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        await other.close()
        async with asyncio.timeout(20):
            while True:
                try:
                    await shop.post(shop.event("Page Viewed"))
                    break
                except Exception:  # noqa: BLE001  the pool's own connections were ended too
                    await asyncio.sleep(0.1)
        await until_routed(shop.database, 2, within=20)
