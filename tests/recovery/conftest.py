"""A deployment whose Temporal can be lost: real PostgreSQL, the embedded Temporal, a router and a worker running."""

from __future__ import annotations

import asyncio
import shutil
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import delete, func, select, update
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from database.erasures import find_erasure
from database.events import Event
from database.marks import Mark, last_mark
from database.outbox import Command
from database.runs import Run
from database.session import Database
from domain.ids import new_id
from perennial.doctor_temporal import examine_temporal
from perennial.embedded.temporal import EmbeddedTemporal
from perennial.queues import Queue
from perennial.settings import Settings
from perennial.temporal import connect, register_search_attributes
from perennial.workers import work
from tests.referring import ReferringShop
from tests.scenarios.warehouse import Warehouse, open_warehouse
from triggers.erasures import request_erasure
from triggers.live import LiveCache
from triggers.reconciler import Reconciler
from triggers.relay import Relay
from triggers.router import Router
from triggers.routing import Routing

EVERY = timedelta(seconds=1)
"""How often the router looks in these tests."""
PATIENCE = 300.0
"""Seconds that anything may take where every processor has many to serve; a test that passes does not wait for it."""
WAITING: dict[str, Any] = {
    "journey": "waiting",
    "enter": {"on": {"event": "Started"}},
    "steps": [
        {"emit": {"id": "before", "event": "Before"}},
        {"wait_for": {"id": "go", "any": [{"event": "Go"}], "timeout": "30d"}},
        {"emit": {"id": "after", "event": "After"}},
    ],
}


async def until(
    read: Callable[[], Awaitable[Any]], expected: Callable[[Any], bool] = bool, within: float = PATIENCE
) -> Any:
    """Read again and again until it is as expected; answers what was read."""
    value = None
    try:
        async with asyncio.timeout(within):
            while not expected(value := await read()):
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"still {repr(value)[:300]} after {within} s") from None
    return value


@dataclass
class World:
    """The deployment, its shop, and the shop's own system that delivers rewards."""

    database: Database
    server: EmbeddedTemporal
    folder: Path
    client: Client
    shop: ReferringShop
    warehouse: Warehouse
    reconciler: Reconciler
    settings: Settings
    running: list[asyncio.Task[None]] = field(default_factory=list)

    async def lose(self, *, older: Path | None = None) -> None:
        """Temporal's database is deleted, or an older one is put in its place; then it runs again."""
        await self.server.stop()
        for file in self.folder.glob("temporal.db*"):
            file.unlink()
        for file in older.iterdir() if older else ():
            shutil.copy(file, self.folder / file.name)
        await self.server.start()

    async def back_up(self) -> Path:
        """A copy of Temporal's database as it is now."""
        copy = self.folder.with_name(f"{self.folder.name}-{uuid.uuid4().hex[:6]}")
        copy.mkdir()
        await self.server.stop()
        for file in self.folder.glob("temporal.db*"):
            shutil.copy(file, copy / file.name)
        await self.server.start()
        return copy

    async def enter(self, count: int, prefix: str = "u") -> None:
        """So many customers start the journey and wait in it."""
        self.shop.now = datetime.now(UTC)
        names = [f"{prefix}-{number}" for number in range(count)]
        for start in range(0, count, 200):
            await self.shop.post(*[self.shop.event("Started", user_id=name) for name in names[start : start + 200]])
        await until(self.waiting, lambda found: found >= count, within=PATIENCE + count / 5)

    async def go(self, count: int, prefix: str = "u") -> None:
        """What those customers wait for."""
        self.shop.now = datetime.now(UTC)
        events = [self.shop.event("Go", user_id=f"{prefix}-{number}") for number in range(count)]
        for start in range(0, count, 200):
            await self.shop.post(*events[start : start + 200])

    async def erase(self, name: str) -> UUID:
        """Ask for an erasure whose start Temporal has taken, and nothing more."""
        customer = await self.shop.customer(name)
        async with self.database.transaction() as session:
            job = await request_erasure(session, customer.id, by="test", as_of=datetime.now(UTC))
            await session.execute(delete(Command).where(Command.workflow_id == f"erasure/{job.id}"))
        return job.id

    async def erasure(self, job: UUID) -> str:
        """How far it is."""
        async with self.database.read() as session:
            row = await find_erasure(session, job)
        assert row is not None
        return row.state

    async def waiting(self) -> int:
        """How many runs wait."""
        async with self.database.read() as session:
            found = select(func.count()).select_from(Run).where(Run.state == "active", Run.waiting_for.is_not(None))
            return await session.scalar(found) or 0

    async def bound(self) -> int:
        """How many waiting runs have been heard of by the execution that Temporal has now."""
        async with self.database.read() as session:
            found = select(func.count()).select_from(Run).where(Run.state == "active", Run.execution_id.is_not(None))
            return await session.scalar(found) or 0

    async def states(self, journey: str = "waiting") -> Counter[str]:
        """Where the runs of a journey stand."""
        return Counter(run.state for run in await self.shop.runs(journey))

    async def told(self, name: str) -> Counter[str]:
        """How often each customer was told of by an event of the product's own."""
        async with self.database.read() as session:
            users = (await session.execute(select(Event.user_id).where(Event.name == name))).scalars()
            return Counter(user or "" for user in users)

    async def open_executions(self) -> set[str]:
        """Ids of workflows under way, as Temporal lists them."""
        listed = self.client.list_workflows("ExecutionStatus = 'Running'")
        return {each.id async for each in listed if each.id.startswith(("journey/", "erasure/", "referral/", "redemp"))}

    async def schedules(self) -> set[str]:
        """Ids of schedules that Temporal has."""
        return {each.id async for each in await self.client.list_schedules()}

    async def status(self, workflow_id: str) -> WorkflowExecutionStatus | None:
        """How a workflow stands; None if Temporal has none."""
        try:
            return (await self.client.get_workflow_handle(workflow_id).describe()).status
        except RPCError:
            return None

    @asynccontextmanager
    async def unattended(self) -> AsyncIterator[None]:
        """No router looks after Temporal while the block runs; one that is at it ends its turn first."""
        values = {"leased_by": new_id(), "leased_until": datetime.now(UTC) + timedelta(hours=1)}
        free = update(Mark).where(Mark.leased_until.is_(None)).values(values).returning(Mark.id)

        async def is_taken() -> bool:
            async with self.database.transaction() as session:
                return (await session.execute(free)).first() is not None

        await until(is_taken)
        yield
        async with self.database.transaction() as session:
            await session.execute(update(Mark).values(leased_until=None))

    async def crosses(self) -> set[str]:
        """Which promises the doctor finds broken."""
        verdicts = await examine_temporal(self.database, self.client, datetime.now(UTC))
        return {verdict.promise for verdict in verdicts if not verdict.is_kept}

    async def doctor_finds(self, *promises: str) -> None:
        """Wait until these are the promises that the doctor finds broken: what ends takes a while to show."""
        await until(self.crosses, lambda found: found == set(promises))

    async def mark_anew(self) -> None:
        """A minute passes, as far as the mark goes."""
        async with self.database.transaction() as session:
            await session.execute(update(Mark).values(marked_at=Mark.marked_at - timedelta(minutes=1)))
        since = datetime.now(UTC)

        async def is_new() -> bool:
            async with self.database.read() as session:
                mark = await last_mark(session)
            return mark is not None and mark.marked_at is not None and mark.marked_at > since

        await until(is_new)

    async def recovered_since(self, moment: datetime) -> dict[str, Any]:
        """What the recovery did that ended after this moment."""

        async def done() -> dict[str, Any] | None:
            async with self.database.read() as session:
                mark = await last_mark(session)
            at = mark and mark.recovered.get("at")
            return mark.recovered if mark and at and datetime.fromisoformat(at) > moment else None

        found: dict[str, Any] = await until(done)
        return found


@asynccontextmanager
async def working(settings: Settings, database: Database, client: Client) -> AsyncIterator[None]:
    """A worker serves all queues while the block runs."""

    async def connected() -> Client:
        return client

    begun = asyncio.Event()
    worker = asyncio.create_task(work(settings, database, connected, list(Queue), begun))
    await begun.wait()
    yield
    worker.cancel()
    with suppress(asyncio.CancelledError):
        await worker


@pytest.fixture
async def world(request: pytest.FixtureRequest, database_url: str, server_folder: Path) -> AsyncIterator[World]:
    """Everything runs, and the router has set its mark. Its parameter, if any: how often the router looks."""
    every = getattr(request, "param", EVERY)
    folder = server_folder / f"lost-{uuid.uuid4().hex[:8]}"
    server = EmbeddedTemporal(folder)
    await server.start()
    settings = Settings(database_url=SecretStr(database_url), temporal_address=server.address, allow_private_calls=True)
    database, stop = Database(database_url, pool_size=20), asyncio.Event()
    client = await connect(server.address, "default")
    reconciler = Reconciler(database, client, prepare=register_search_attributes, every=every)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        stack.push_async_callback(server.stop)
        warehouse = stack.enter_context(open_warehouse())
        loops = (Router(database, Routing(LiveCache())).run, Relay(database, client).run, reconciler.run)
        running = [asyncio.create_task(loop(stop)) for loop in loops]
        await stack.enter_async_context(working(settings, database, client))
        shop = ReferringShop(database, datetime.now(UTC))
        world = World(database, server, folder, client, shop, warehouse, reconciler, settings, running)
        await world.recovered_since(datetime.min.replace(tzinfo=UTC))
        yield world
        stop.set()
        await asyncio.gather(*running)
