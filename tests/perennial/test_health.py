"""Health pages of router and worker: ready only while every check passes, and never silent."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from database.session import Database
from perennial.health import Check, health_pages
from perennial.metrics import Metrics
from perennial.processes import begun_check, database_check, temporal_check
from perennial.temporal import connect


async def readiness(**checks: Check) -> httpx.Response:
    transport = httpx.ASGITransport(app=health_pages(checks, Metrics()))
    async with httpx.AsyncClient(transport=transport, base_url="http://health") as client:
        return await client.get("/readyz")


async def test_ready_while_the_database_answers(database: Database) -> None:
    answer = await readiness(database=database_check(database))

    assert answer.status_code == 200
    assert answer.json() == {"ready": True, "database": "ok"}


async def test_not_ready_names_what_is_wrong_and_what_is_well(database: Database) -> None:
    away = Database("postgresql://perennial@127.0.0.1:1/perennial")

    answer = await readiness(database=database_check(away), other=database_check(database))

    assert answer.status_code == 503
    assert answer.json() == {"ready": False, "database": "ConnectionRefusedError", "other": "ok"}


async def test_the_router_stays_ready_and_names_temporal_while_it_is_away(database: Database) -> None:
    away = await connect("127.0.0.1:1", "default", lazy=True)
    pages = health_pages({"database": database_check(database)}, Metrics(), shown={"temporal": temporal_check(away)})
    transport = httpx.ASGITransport(app=pages)

    async with httpx.AsyncClient(transport=transport, base_url="http://health") as client:
        answer = await client.get("/readyz")

    assert answer.status_code == 200
    assert answer.json() == {"ready": True, "database": "ok", "temporal": answer.json()["temporal"]}
    assert answer.json()["temporal"] != "ok"


async def test_not_ready_before_the_work_has_begun() -> None:
    begun = asyncio.Event()

    before = await readiness(queues=begun_check(begun))
    begun.set()
    after = await readiness(queues=begun_check(begun))

    assert (before.status_code, after.status_code) == (503, 200)


@pytest.mark.parametrize("path", ["/livez", "/metrics"])
async def test_alive_and_measured_whatever_is_wrong(path: str) -> None:
    async def broken() -> None:
        raise RuntimeError

    transport = httpx.ASGITransport(app=health_pages({"everything": broken}, Metrics("127.0.0.1:1")))
    async with httpx.AsyncClient(transport=transport, base_url="http://health") as client:
        assert (await client.get(path)).status_code == 200
