"""Deploys and roll-backs are no outages (G33): a schema may be newer than the processes that stand on it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import asyncpg
import httpx
import pytest
from typer.testing import CliRunner

from api.app import create_app
from api.dependencies import ApiDependencies
from database.migrations.upgrade import is_newest, newest_revision
from database.session import Database
from domain.keys import KeyKind, Scope
from perennial.cli import app
from perennial.doctor import examine
from perennial.loopback import any_free_port
from perennial.settings import PROJECT
from tests.api.serving import serving
from tests.api.toy import make_key

cli = CliRunner()

PREVIOUS = "fb9ac90"
"""The release before: what ran on the schema of revision 0012."""


@asynccontextmanager
async def schema_at(database_url: str, revision: str) -> AsyncIterator[None]:
    """The database as a release of that revision leaves it."""
    owner = await asyncpg.connect(database_url)
    try:
        await owner.execute("UPDATE alembic_version SET version_num = $1", revision)
        yield
    finally:
        await owner.execute("UPDATE alembic_version SET version_num = $1", newest_revision())
        await owner.close()


async def readiness(database: Database) -> tuple[int, str]:
    async with serving(create_app(ApiDependencies(database=database))) as url, httpx.AsyncClient(timeout=60) as client:
        answer = await client.get(f"{url}/readyz")
    return answer.status_code, answer.json()["schema_revision"]


async def test_an_old_api_stays_ready_on_a_newer_schema_and_not_on_an_older_one(
    database: Database, database_url: str
) -> None:
    async with schema_at(database_url, "9999"):
        on_newer = await readiness(database)
    async with schema_at(database_url, "0001"):
        on_older = await readiness(database)

    assert on_newer == (200, "9999")
    assert on_older == (503, "0001")
    assert await readiness(database) == (200, "ok")


async def test_migrating_after_a_roll_back_says_that_the_schema_is_newer_and_ends_well(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERENNIAL_DATABASE_URL", database_url)
    async with schema_at(database_url, "9999"):
        migrated = await asyncio.to_thread(cli.invoke, app, ["migrate", "--no-temporal"])
        is_usable = await is_newest(database_url)
        verdicts = await examine(database, datetime.now(UTC), email_per_second=50, provider="smtp")

    assert migrated.exit_code == 0, migrated.output
    assert "at revision 9999. That is a newer release's" in " ".join(migrated.output.split())
    assert is_usable
    assert all(verdict.is_kept for verdict in verdicts)
    assert ["revision 9999, of a newer release: finish the deploy"] in [each.offenders for each in verdicts]


@pytest.fixture(scope="module")
def previous_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of the release before, from the repository's own history."""
    command = ["git", "archive", "--format=tar", PREVIOUS]
    archive = subprocess.run(command, cwd=PROJECT, capture_output=True, check=False)
    if archive.returncode:
        pytest.skip("the history of this checkout does not reach back to the release before")
    folder = tmp_path_factory.mktemp("previous")
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


@pytest.fixture
def running() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that are ended with the test."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(60)


async def until_answered(url: str) -> None:
    async with asyncio.timeout(120), httpx.AsyncClient(timeout=30) as client:
        while True:
            try:
                await client.get(url)
            except httpx.TransportError:
                await asyncio.sleep(0.2)
            else:
                return


async def until_routed(url: str, key: str, customer: str) -> Mapping[str, str]:
    async with (
        asyncio.timeout(120),
        httpx.AsyncClient(timeout=30, headers={"Authorization": f"Bearer {key}"}) as client,
    ):
        while (answer := await client.get(f"{url}/v1/customers/{customer}")).status_code != 200:
            await asyncio.sleep(0.2)
    traits: Mapping[str, str] = answer.json()["traits"]
    return traits


@pytest.mark.slow
async def test_the_release_before_takes_and_routes_events_on_this_schema_and_this_one_goes_on(
    database: Database,
    database_url: str,
    previous_release: Path,
    running: list[subprocess.Popen[bytes]],
) -> None:
    key = await make_key(database, "shop", KeyKind.SECRET, Scope.ADMIN)
    port = any_free_port()
    environment = os.environ | {
        "PERENNIAL_DATABASE_URL": database_url,
        "PERENNIAL_API_PORT": str(port),
        "PERENNIAL_ROUTER_PORT": str(any_free_port()),
        "PERENNIAL_TEMPORAL_ADDRESS": "127.0.0.1:1",
        "PYTHONPATH": str(previous_release),
    }
    for process in ("api", "router"):
        command = [sys.executable, "-m", "perennial", process]
        running.append(subprocess.Popen(command, cwd=previous_release, env=environment))
    old = f"http://127.0.0.1:{port}"
    await until_answered(f"{old}/livez")

    async with httpx.AsyncClient(timeout=60, headers={"Authorization": f"Bearer {key}"}) as client:
        named = {"type": "identify", "userId": "ann", "traits": {"name": "Ann"}}
        order = {"order_id": "1", "total": 50, "products": [{"product_id": "rose", "price": 50, "quantity": 1}]}
        bought = {"type": "track", "userId": "ann", "event": "Order Completed", "properties": order}
        taken = await client.post(f"{old}/v1/batch", json={"batch": [named, bought]})
        by_old = await until_routed(old, key, "ann")
        async with serving(create_app(ApiDependencies(database=database))) as new:
            by_new = await until_routed(new, key, "ann")

    assert taken.json()["accepted"] == 2
    assert by_old == by_new == {"name": "Ann"}
