"""Backups and restores by PostgreSQL's own tools, and the shop on a restored database."""

from __future__ import annotations

import asyncio
import subprocess
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx

from api.app import create_app
from api.dependencies import ApiDependencies
from database.session import Database
from domain.keys import KeyKind, Scope
from perennial.embedded.binaries import binaries_for
from tests.api.serving import serving
from tests.api.toy import make_key

BIN = binaries_for(None)
NEWSLETTER = {"purpose": "marketing", "channel": "email"}


@asynccontextmanager
async def restored(database_url: str, dump: Path) -> AsyncIterator[Database]:
    """A database of its own, restored from a dump by PostgreSQL's own tools."""
    server, _, _ = database_url.rpartition("/")
    name = f"restored_{uuid.uuid4().hex}"
    owner = await asyncpg.connect(database_url)
    await owner.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    await postgres("pg_restore", "--dbname", f"{server}/{name}", str(dump))
    database = Database(f"{server}/{name}")
    try:
        yield database
    finally:
        await database.close()
        await owner.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await owner.close()


async def postgres(program: str, *arguments: str) -> None:
    command = [str(BIN / program), *arguments]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


async def dumped(database_url: str, folder: Path) -> Path:
    path = folder / f"{uuid.uuid4().hex}.dump"
    await postgres("pg_dump", "--format", "custom", "--file", str(path), database_url)
    return path


async def consent(client: httpx.AsyncClient, customer: str, state: str, **more: str) -> None:
    answer = await client.put(f"/v1/customers/{customer}/consent", json=NEWSLETTER | {"state": state} | more)
    assert answer.status_code == 200, answer.text


async def state_of(client: httpx.AsyncClient, customer: str) -> str:
    answer = await client.get(f"/v1/customers/{customer}/consent")
    (found,) = answer.json()["data"]
    return str(found["state"])


@asynccontextmanager
async def shop_of(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    """The API on another database."""
    key = await make_key(database, f"ops-{uuid.uuid4().hex}", KeyKind.SECRET, Scope.ADMIN)
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        serving(create_app(ApiDependencies(database=database))) as url,
        httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client,
    ):
        yield client
