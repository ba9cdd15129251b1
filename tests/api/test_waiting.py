"""Nobody waits for ever (G28): a database that hangs, is read-only or is full answers 503 within seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import fields

import asyncpg
import httpx
import pytest

from api.dependencies import ApiDependencies
from database.pools import API, INGEST, Pool
from database.session import Database
from tests.api.conftest import ApiServer
from tests.api.repeating import until_answered

HASTE = 0.5
"""Time-outs half as long: what is shown is their order, and a busy machine needs a second for a connection."""
NOT_IN_TIME = "The database did not answer in time. Repeat with the same Idempotency-Key or messageId"


def hasty(pool: Pool) -> Pool:
    names = [field.name for field in fields(pool) if field.name != "size"]
    return pool.changed(" ".join(f"{name}={getattr(pool, name) * HASTE}" for name in names))


@pytest.fixture
async def api_dependencies(database_url: str) -> AsyncIterator[ApiDependencies]:
    """Two pools, as in production."""
    api, ingest = Database(database_url, pool=hasty(API)), Database(database_url, pool=hasty(INGEST))
    yield ApiDependencies(database=api, ingest_database=ingest)
    await api.close()
    await ingest.close()


@asynccontextmanager
async def as_owner(url: str, *statements: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
        yield connection
    finally:
        await connection.close()


def event(number: int) -> dict[str, object]:
    return {"userId": f"ann-{number}", "event": "Product Viewed", "messageId": f"m-{number}"}


async def post(api: ApiServer, client: httpx.AsyncClient, number: int) -> tuple[int, float, httpx.Response]:
    began = time.monotonic()
    answer = await client.post("/v1/track", json=event(number), auth=(api.write_key, ""))
    return answer.status_code, time.monotonic() - began, answer


async def taken(api: ApiServer, client: httpx.AsyncClient, number: int) -> None:
    """Post an event, and again as clients do, while this machine is too busy for it."""
    async with asyncio.timeout(60):
        while (await post(api, client, number))[0] == 503:
            await asyncio.sleep(0.05)


async def test_every_call_is_answered_within_seconds_while_the_events_are_locked(
    api_server: ApiServer, client: httpx.AsyncClient, database_url: str
) -> None:
    async with as_owner(database_url, "BEGIN", "LOCK TABLE events"):
        answers = await asyncio.gather(*(post(api_server, client, number) for number in range(40)))
        alive = await until_answered(lambda: client.get("/v1/journeys"))

    assert {status for status, _, _ in answers} == {503}
    assert max(seconds for _, seconds, _ in answers) < 20  # the lock is held all the while; a busy machine adds its own
    assert all(answer.headers["Retry-After"] == "1" for _, _, answer in answers)
    assert all(answer.json()["detail"].startswith(NOT_IN_TIME) for _, _, answer in answers)
    assert alive.status_code == 200  # the rest of the API has connections of its own
    await taken(api_server, client, 1)


async def test_no_call_fails_once_the_database_is_back(
    client: httpx.AsyncClient, database_url: str, api_dependencies: ApiDependencies
) -> None:
    together = [client.get("/v1/journeys") for _ in range(10)]
    assert {answer.status_code for answer in await asyncio.gather(*together)} == {200}
    others = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database()"
    async with as_owner(database_url, f"{others} AND pid <> pg_backend_pid()"):
        await asyncio.sleep(0.2)  # that they ended is heard by then
        answers = [(await client.get("/v1/journeys")).status_code for _ in range(15)]

    assert set(answers) == {200}


async def test_an_api_on_a_database_of_somebody_else_says_so(client: httpx.AsyncClient, database_url: str) -> None:
    async with as_owner(database_url, "ALTER TABLE documents RENAME TO elsewhere") as owner:
        answer = await client.get("/v1/journeys")
        await owner.execute("ALTER TABLE elsewhere RENAME TO documents")

    assert (answer.status_code, answer.json()["code"]) == (503, "database_not_migrated")
    assert answer.json()["detail"].startswith("This is not a database of this release")


async def test_readiness_calls_events_that_wait_busy_and_stays_in_the_load_balancer(
    client: httpx.AsyncClient, api_dependencies: ApiDependencies
) -> None:
    async with AsyncExitStack() as held:  # as calls do while the events are locked
        for _ in range(api_dependencies.intake.pool.size):
            await held.enter_async_context(api_dependencies.intake.engine.connect())
        busy = await client.get("/readyz")
    well = await client.get("/readyz")

    assert [(answer.status_code, answer.json()["database"]) for answer in (busy, well)] == [(200, "busy"), (200, "ok")]


async def test_events_are_taken_while_all_else_waits(
    api_server: ApiServer, client: httpx.AsyncClient, database_url: str
) -> None:
    async with as_owner(database_url, "BEGIN", "LOCK TABLE documents"):
        reading = [asyncio.create_task(client.get("/v1/journeys")) for _ in range(30)]
        await asyncio.sleep(0.05)
        await asyncio.gather(*(taken(api_server, client, number) for number in range(20)))
        answers = await asyncio.gather(*reading)

    assert {answer.status_code for answer in answers} == {503}


async def test_a_read_only_database_is_not_ready_and_answers_503_but_reads(
    api_server: ApiServer, client: httpx.AsyncClient, database_url: str, api_dependencies: ApiDependencies
) -> None:
    name = database_url.rpartition("/")[2]
    assert (await client.get("/readyz")).status_code == 200
    async with as_owner(database_url, f"ALTER DATABASE {name} SET default_transaction_read_only = on") as owner:
        await api_dependencies.database.close()
        await api_dependencies.intake.close()
        try:
            ready, read = await client.get("/readyz"), await client.get("/v1/journeys")
            written = await client.patch("/v1/customers/ann", json={"traits": {"name": "Ann"}})
            status, _, answer = await post(api_server, client, 1)
        finally:
            await owner.execute("SET default_transaction_read_only = off")
            await owner.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")

    assert (ready.status_code, ready.json()["database"]) == (503, "read_only")
    assert read.status_code == 200
    assert (written.status_code, status) == (503, 503)
    assert answer.json()["detail"].startswith(NOT_IN_TIME)


async def test_a_database_that_found_no_room_is_not_ready_until_it_has_some(
    client: httpx.AsyncClient, api_dependencies: ApiDependencies
) -> None:
    api_dependencies.intake.is_full = True  # as a write without room leaves it

    assert (await client.get("/readyz")).json()["ready"] is True  # there is room by now
    assert api_dependencies.intake.is_full is False
