"""A disk that is really full: nothing that was acknowledged is lost, and what waits goes on once there is room."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from api.app import create_app
from api.dependencies import ApiDependencies
from database.events import Event
from database.migrations.upgrade import upgrade
from database.session import Database
from domain.keys import KeyKind, Scope
from perennial.embedded.postgres import EmbeddedPostgres
from tests.api.serving import serving
from tests.api.toy import make_key

_SIZE = "256m"
_PIECE = bytes(1_000_000)


class Disk:
    """A small disk of its own, and something on it that takes all the room that is left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        """Leave no room."""
        with self._filler.open("ab", buffering=0) as file:
            for piece in (_PIECE, _PIECE[:4096]):
                try:
                    while file.write(piece) == len(piece):
                        pass
                except OSError:
                    continue

    def free(self) -> None:
        """Make room again."""
        self._filler.unlink()


@pytest.fixture
def disk() -> Iterator[Disk]:
    folder = Path(tempfile.mkdtemp(prefix="perennial-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE},mode=711", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        folder.rmdir()
        pytest.skip("only root may mount a small disk")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


@pytest.fixture
async def cramped(disk: Disk) -> AsyncIterator[Database]:
    """The database of a deployment whose whole PostgreSQL lies on the small disk."""
    server = EmbeddedPostgres(disk.folder / "postgres")
    await server.start()
    try:
        await asyncio.to_thread(upgrade, server.url())
        database = Database(server.url())
        yield database
        await database.close()
    finally:
        await server.stop()


def a_batch(number: int) -> dict[str, Any]:
    """Fifty events of some size, so that tables must grow."""
    names = (f"m-{number}-{place}" for place in range(50))
    properties = {"note": os.urandom(1_500).hex()}
    batch = [
        {"type": "track", "event": "Noted", "userId": "ann", "messageId": name, "properties": properties}
        for name in names
    ]
    return {"batch": batch}


@pytest.mark.slow
async def test_a_full_disk_costs_time_and_nothing_that_was_acknowledged(cramped: Database, disk: Disk) -> None:
    key = await make_key(cramped, "shop", KeyKind.SECRET, Scope.EVENTS_WRITE, Scope.CUSTOMERS_READ)
    dependencies = ApiDependencies(cramped, ingest_database=Database(cramped.url, pool_size=4))
    async with (
        serving(create_app(dependencies)) as url,
        httpx.AsyncClient(base_url=url, auth=(key, ""), timeout=30) as shop,
    ):
        assert (await shop.post("/v1/batch", json=a_batch(0))).status_code == 200
        disk.fill()
        acknowledged, refused = 1, await shop.post("/v1/batch", json=a_batch(1))
        while refused.status_code == 200 and acknowledged < 1_000:
            acknowledged += 1
            refused = await shop.post("/v1/batch", json=a_batch(acknowledged))
        full = await shop.get("/readyz")
        still_read = (await shop.get("/v1/customers/ann")).status_code
        disk.free()
        ready = await shop.get("/readyz")
        again = await shop.post("/v1/batch", json=a_batch(acknowledged))
        async with cramped.read() as session:
            stored = await session.scalar(select(func.count()).select_from(Event))
    await dependencies.intake.close()

    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert "did not answer in time" in refused.json()["detail"]
    assert (full.status_code, full.json()["ready"]) == (503, False)
    assert still_read in (200, 404)  # what only reads is answered
    assert (ready.status_code, again.status_code) == (200, 200)
    assert stored == 50 * (acknowledged + 1)
