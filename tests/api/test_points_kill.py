"""Invariant 4 with a real kill -9: the move was committed, its answer never went out, and the client asks again."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from database.session import Database
from perennial.loopback import any_free_port
from tests.api.conftest import ApiServer
from tests.api.test_programmes import publish
from tests.factories import make_customer

ONCE = {"Idempotency-Key": "spend-1"}
WISH = {"points": 30, "reason": "a mug"}
DEDUCT = "/v1/customers/ann/points/deduct"


async def test_who_got_no_answer_because_the_process_was_killed_asks_again_and_spends_once(
    client: httpx.AsyncClient, api_server: ApiServer, database: Database, database_url: str
) -> None:
    assert (await publish(client, "main")).status_code == 200
    await make_customer(database, "ann")
    given = await client.post("/v1/customers/ann/points/award", json={"points": 100, "reason": "gift"})
    headers = {"Authorization": f"Bearer {api_server.admin_key}"}

    async with dying_api(database_url) as (url, process):
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as unlucky:
            with pytest.raises(httpx.TransportError):
                await unlucky.post(DEDUCT, json=WISH, headers=ONCE)
        assert await process.wait() == -signal.SIGKILL
    moved = (await client.get("/v1/customers/ann/points")).json()
    again = await client.post(DEDUCT, json=WISH, headers=ONCE)
    history = (await client.get("/v1/customers/ann/points/history")).json()["data"]

    assert given.status_code == again.status_code == 200
    assert (moved["available"], again.json()["balance"]["available"]) == (70, 70)
    assert [row["kind"] for row in history] == ["deduct", "award"]
    assert again.json()["transaction_id"] == history[0]["id"]


@asynccontextmanager
async def dying_api(database_url: str) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """The address and the process of an API that dies before it answers its first POST."""
    port = any_free_port()
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.api.dying", database_url, str(port))
    try:
        await _until_open(port)
        yield f"http://127.0.0.1:{port}", process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _until_open(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            await writer.wait_closed()
            return
