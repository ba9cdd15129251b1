"""G1: what was acknowledged is there, whatever is killed. Real processes, kill -9, PostgreSQL with fsync on."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest
from sqlalchemy import text

from database.migrations.upgrade import upgrade
from database.session import Database
from domain.keys import KeyKind, Scope
from perennial.embedded.postgres import EmbeddedPostgres
from perennial.loopback import any_free_port
from tests.api.toy import make_key

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

BATCH = 20
CLIENTS = 4


@pytest.fixture
async def durable_postgres(server_folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    """A PostgreSQL of this test's own, as in production."""
    server = EmbeddedPostgres(server_folder / "durable", durable=True)
    await server.start()
    await asyncio.to_thread(upgrade, server.url())
    yield server
    await server.stop()


class ApiProcess:
    """`perennial api` as its own process."""

    def __init__(self, database_url: str) -> None:
        self._port = any_free_port()
        self._environment = os.environ | {
            "PERENNIAL_DATABASE_URL": database_url,
            "PERENNIAL_API_PORT": str(self._port),
            "PERENNIAL_LOG_LEVEL": "ERROR",
            "PERENNIAL_TEMPORAL_ADDRESS": "127.0.0.1:1",
        }
        self.url = f"http://127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-m", "perennial", "api"], env=self._environment)

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


@dataclass
class Shop:
    """A client that posts batches without a pause, and tries each again until it is acknowledged."""

    url: str
    key: str
    sent: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    is_closing: bool = False

    async def run(self) -> None:
        headers = {"Authorization": f"Bearer {self.key}"}
        async with httpx.AsyncClient(base_url=self.url, headers=headers, timeout=10) as client:
            while not self.is_closing:
                ids = [uuid.uuid4().hex for _ in range(BATCH)]
                self.sent.update(ids)
                items = [{"type": "track", "event": "Visited", "userId": "ann", "messageId": id_} for id_ in ids]
                while not await self._post(client, {"batch": items}):
                    await asyncio.sleep(0.05)
                self.acknowledged.update(ids)

    async def _post(self, client: httpx.AsyncClient, batch: dict[str, object]) -> bool:
        try:
            answer = await client.post("/v1/batch", json=batch)
        except httpx.HTTPError:
            return False
        if answer.status_code != 200:
            assert answer.json()["code"] == "unavailable", answer.text
            return False
        told = answer.json()
        assert told["accepted"] + told["duplicates"] == BATCH
        return True


async def until_more_is_acknowledged(shops: list[Shop]) -> None:
    """Wait until every client has had some batches acknowledged from now on."""
    marks = [len(shop.acknowledged) + 5 * BATCH for shop in shops]
    async with asyncio.timeout(90):
        while any(len(shop.acknowledged) < mark for shop, mark in zip(shops, marks, strict=True)):
            await asyncio.sleep(0.02)


def kill_all_of(postgres: EmbeddedPostgres) -> None:
    """kill -9 of the server and every process it has, at once."""
    assert postgres.child.pid is not None
    server = psutil.Process(postgres.child.pid)
    for process in [server, *server.children(recursive=True)]:
        process.kill()


async def test_every_acknowledged_event_survives_kills_of_api_and_postgres(durable_postgres: EmbeddedPostgres) -> None:
    database = Database(durable_postgres.url())
    async with database.read() as session:
        for guard in ("fsync", "synchronous_commit", "full_page_writes"):
            assert await session.scalar(text(f"SHOW {guard}")) == "on"
    key = await make_key(database, "server", KeyKind.SECRET, Scope.EVENTS_WRITE)
    await database.close()
    api = ApiProcess(durable_postgres.url())
    shops = [Shop(api.url, key) for _ in range(CLIENTS)]
    try:
        async with asyncio.TaskGroup() as posting:
            for shop in shops:
                posting.create_task(shop.run())
            for _ in range(2):
                await until_more_is_acknowledged(shops)
                api.kill()
                api.start()
                await until_more_is_acknowledged(shops)
                kill_all_of(durable_postgres)
                await durable_postgres.stop()
                await durable_postgres.start()
            await until_more_is_acknowledged(shops)
            for shop in shops:
                shop.is_closing = True
    finally:
        api.kill()

    database = Database(durable_postgres.url())
    async with database.read() as session:
        stored = list(await session.scalars(text("SELECT message_id FROM events")))
        keyed = set(await session.scalars(text("SELECT message_id FROM event_keys")))
    await database.close()
    assert len(stored) == len(set(stored))
    assert set(stored) == keyed
    assert set().union(*(shop.acknowledged for shop in shops)) <= set(stored)
    assert set(stored) <= set().union(*(shop.sent for shop in shops))
