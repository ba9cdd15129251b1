"""The router's loop: at once when idle, whole after a kill -9, patient while the database is away."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import func, select, text

from database.events import Event
from database.pools import ROUTER, Pool
from database.session import Database
from tests.triggers.shop import Shop
from triggers.batch import Wave
from triggers.live import LiveCache
from triggers.reactions import REACTIONS
from triggers.router import Pace, Router
from triggers.routing import Routing

PROCESS = """
import asyncio, sys
from database.session import Database
from triggers.live import LiveCache
from triggers.router import Router
from triggers.routing import Routing
asyncio.run(Router(Database(sys.argv[1]), Routing(LiveCache())).run(asyncio.Event()))
"""

FREEZING = """
import asyncio, sys, time
from database.pools import ROUTER
from database.session import Database
from triggers.live import LiveCache
from triggers.router import Router
from triggers.routing import Routing

async def freeze(wave):
    print("holding", flush=True)
    time.sleep(3600)

database = Database(sys.argv[1], pool=ROUTER.changed("idle=1"))
asyncio.run(Router(database, Routing(LiveCache(), [freeze])).run(asyncio.Event()))
"""


@asynccontextmanager
async def routing(database: Database, idle_seconds: float = 1) -> AsyncIterator[None]:
    """A router of this process, for as long as the block lasts."""
    stop = asyncio.Event()
    running = asyncio.create_task(
        Router(database, Routing(LiveCache()), pace=Pace(idle_seconds=idle_seconds)).run(stop)
    )
    try:
        yield
    finally:
        stop.set()
        await running


async def routed(database: Database) -> int:
    async with database.read() as session:
        return await session.scalar(select(func.count()).select_from(Event).where(Event.status == "routed")) or 0


async def until_routed(database: Database, count: int) -> None:
    async with asyncio.timeout(120):
        while await routed(database) < count:
            await asyncio.sleep(0.01)


async def test_an_idle_router_takes_an_event_up_at_once_and_does_not_wait_for_its_clock(shop: Shop) -> None:
    async with routing(shop.database, idle_seconds=3_600):
        for number in range(10):
            await shop.post(shop.event("Page Viewed"))
            await until_routed(shop.database, number + 1)


async def test_a_router_that_is_killed_in_the_middle_loses_and_doubles_nothing(shop: Shop, database_url: str) -> None:
    people, each = 50, 30
    events = [shop.event("Page Viewed", user_id=f"u-{n % people}") for n in range(people * each)]
    for start in range(0, len(events), 500):
        await shop.post(*events[start : start + 500])
    victim = await asyncio.create_subprocess_exec(sys.executable, "-c", PROCESS, database_url)
    async with asyncio.timeout(120):
        while not await routed(shop.database):
            await asyncio.sleep(0.01)
    os.kill(victim.pid, signal.SIGKILL)
    await victim.wait()
    async with routing(shop.database):
        await until_routed(shop.database, len(events))
    for person in range(people):
        customer = await shop.customer(f"u-{person}")
        assert [event.number for event in await shop.events_of(customer.id)] == list(range(1, each + 1))


async def test_a_router_outlives_its_connections(shop: Shop) -> None:
    async with routing(shop.database):
        await shop.post(shop.event("Page Viewed"))
        await until_routed(shop.database, 1)
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
        async with asyncio.timeout(120):
            while True:
                try:
                    await shop.post(shop.event("Page Viewed"))
                    break
                except Exception:  # noqa: BLE001  the pool's own connections were ended too
                    await asyncio.sleep(0.1)
        await until_routed(shop.database, 2)


async def test_a_frozen_router_does_not_stop_its_customers(shop: Shop, database_url: str) -> None:
    await shop.post(*(shop.event("Page Viewed", user_id=f"u-{n}") for n in range(5)))
    frozen = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", FREEZING, database_url), stdout=asyncio.subprocess.PIPE
    )
    assert frozen.stdout is not None
    async with asyncio.timeout(120):
        assert await frozen.stdout.readline() == b"holding\n"
    os.kill(frozen.pid, signal.SIGSTOP)
    try:
        async with routing(shop.database):
            await until_routed(shop.database, 5)
    finally:
        os.kill(frozen.pid, signal.SIGKILL)
        await frozen.wait()


@pytest.mark.parametrize(
    ("pool", "code"),
    [(ROUTER.changed("statement=1.5"), "57014"), (ROUTER.changed("transaction=3"), "25P04")],
    ids=["a statement", "a transaction"],
)
async def test_an_event_that_takes_too_long_alone_is_quarantined_and_the_others_are_routed(
    shop: Shop, database_url: str, pool: Pool, code: str
) -> None:
    async def dawdle(wave: Wave) -> None:
        if any(event.event.name == "Endless" for event in wave.events):
            await wave.session.execute(text("SELECT pg_sleep(20)"))

    await shop.post(*(shop.event("Page Viewed", user_id=f"u-{n}") for n in range(6)))
    await shop.post(shop.event("Endless", user_id="u-3"))
    await shop.post(*(shop.event("Page Viewed", user_id=f"u-{n}") for n in range(6)))
    hasty = Database(database_url, pool=pool)
    stop = asyncio.Event()
    router = Router(hasty, Routing(LiveCache(), [*REACTIONS, dawdle]), pace=Pace(error_seconds=0.01))
    running = asyncio.create_task(router.run(stop))
    await until_routed(shop.database, 12)
    stop.set()
    await running
    await hasty.close()

    async with shop.database.read() as session:
        (endless,) = (await session.execute(select(Event).where(Event.name == "Endless"))).scalars()
    assert (endless.status, (endless.error or "").partition(":")[0]) == ("quarantined", code)
