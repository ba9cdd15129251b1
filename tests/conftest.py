"""Real servers for tests: PostgreSQL with a fresh database per test, Temporal with a fresh namespace per test."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from hypothesis import settings
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from database.migrations.upgrade import upgrade
from database.pools import ROUTER
from database.session import Database
from perennial.embedded.postgres import EmbeddedPostgres
from perennial.embedded.temporal import EmbeddedTemporal, binary
from perennial.search_attributes import SEARCH_ATTRIBUTES
from perennial.temporal import (
    DATA_CONVERTER,
    add_search_attributes,
    connect,
    register_search_attributes,
)
from tests.databases import Databases

_TEMPLATE = "perennial_template"

for name in ("COLUMNS", "LINES"):  # readline, in the process that starts those of the tests, hands them its terminal's
    os.environ.pop(name, None)

settings.register_profile("perennial", deadline=None)  # how long an example takes says something of the machine only
settings.load_profile("perennial")


@pytest.fixture(scope="module", autouse=True)
def small_heap() -> Iterator[None]:
    """What outlives its file is not looked through again: towards the end a full collection took seconds."""
    yield
    gc.collect()
    gc.freeze()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--replay-always` keeps no workflow in a worker's cache, so that every task replays its history (G8)."""
    parser.addoption("--replay-always", action="store_true", help="run workflows with max_cached_workflows=0")
    parser.addoption("--full", action="store_true", help="run the proofs at full size (make prove)")
    parser.addoption("--record-histories", metavar="VERSION", help="record the histories of a released version anew")


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A folder that an unprivileged server account may enter (pytest's own temporary folders are closed to it)."""
    folder = Path(tempfile.mkdtemp(prefix="perennial-tests-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
async def postgres(server_folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    """One PostgreSQL 18 for the whole session, without fsync."""
    server = EmbeddedPostgres(server_folder / "postgres", durable=False)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture(scope="session")
async def migrated_template(postgres: EmbeddedPostgres) -> str:
    """The name of a database holding the migrated schema, which every test's database is copied from."""
    connection = await asyncpg.connect(postgres.url("postgres"))
    await connection.execute(f"CREATE DATABASE {_TEMPLATE}")
    await connection.close()
    await asyncio.to_thread(upgrade, postgres.url(_TEMPLATE))
    return _TEMPLATE


@pytest.fixture(scope="session")
def databases(postgres: EmbeddedPostgres, migrated_template: str) -> Databases:
    """The databases that tests get."""
    return Databases(postgres, migrated_template)


@pytest.fixture
async def database_url(postgres: EmbeddedPostgres, databases: Databases) -> AsyncIterator[str]:
    """`postgresql://` address of a migrated, empty database that is this test's alone."""
    name = await databases.take()
    yield postgres.url(name)
    await databases.give_back(name)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """This test's database; its connections are worth waiting for on a busy machine."""
    database = Database(database_url, pool=ROUTER.changed("wait=60"))
    yield database
    await database.close()


@pytest.fixture(scope="session")
async def temporal_server(server_folder: Path) -> AsyncIterator[EmbeddedTemporal]:
    """One Temporal development server for the whole session: visibility, schedules, real time."""
    server = EmbeddedTemporal(server_folder / "temporal")
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def temporal_client(temporal_server: EmbeddedTemporal) -> Client:
    """A client of the development server in a namespace of this test's own: workers of other tests never see it."""
    namespace = f"test-{uuid.uuid4().hex[:12]}"
    client = await connect(temporal_server.address, namespace)
    request = RegisterNamespaceRequest(namespace=namespace)
    request.workflow_execution_retention_period.FromSeconds(86_400)
    await client.workflow_service.register_namespace(request)
    async with asyncio.timeout(60):  # a new namespace takes some milliseconds to reach every part of the server
        while not await _has_search_attributes(client):
            await asyncio.sleep(0.02)
    return client


@pytest.fixture
async def time_skipping() -> AsyncIterator[WorkflowEnvironment]:
    """A time-skipping Temporal server of this test's own: no visibility lists, no schedules, days pass in no time."""
    server = str(binary("temporal-test-server"))
    async with await WorkflowEnvironment.start_time_skipping(
        data_converter=DATA_CONVERTER, test_server_existing_path=server
    ) as environment:
        await add_search_attributes(environment.client, SEARCH_ATTRIBUTES)
        yield environment


async def _has_search_attributes(client: Client) -> bool:
    try:
        await register_search_attributes(client)
    except RPCError:
        return False
    return True


@pytest.fixture(scope="session")
def node() -> str:
    """The Node.js binary, with the SDKs of tests/clients installed; skips where it is absent."""
    binary = shutil.which("node")
    if binary is None:
        pytest.skip("Node.js is absent: apt-get install -y nodejs npm && make node-clients")
    if not (Path(__file__).parent / "clients" / "node_modules").exists():
        pytest.skip("the Node.js SDKs are not installed: make node-clients")
    return binary


@pytest.fixture(scope="session")
def chromium() -> str:
    """The Chromium binary; skips where it is absent."""
    binary = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if binary is None:
        pytest.skip("Chromium is absent: apt-get install -y chromium")
    return binary
