"""A real API over HTTP: uvicorn on a free port of this process, on this test's own database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import httpx
import pytest

from api.app import create_app
from api.dependencies import ApiDependencies
from database.session import Database
from domain.keys import KeyKind, Scope
from tests.api.serving import serving
from tests.api.toy import make_key


@dataclass(frozen=True)
class ApiServer:
    """A running API and keys for it."""

    url: str
    admin_key: str
    write_key: str
    browser_key: str


@pytest.fixture
def api_dependencies(database: Database) -> ApiDependencies:
    """What the API under test works with; tests override it where they need something else."""
    return ApiDependencies(database=database)


@pytest.fixture
async def api_server(database: Database, api_dependencies: ApiDependencies) -> AsyncIterator[ApiServer]:
    """The API, listening on a free port of the loopback address."""
    keys_made = [
        await make_key(database, "admin", KeyKind.SECRET, Scope.ADMIN),
        await make_key(database, "server", KeyKind.SECRET, Scope.EVENTS_WRITE),
        await make_key(database, "browser", KeyKind.BROWSER, Scope.EVENTS_WRITE),
    ]
    app = create_app(api_dependencies)
    async with serving(app) as url:
        if api_dependencies.public_url == ApiDependencies(database).public_url:  # browsers reach it where it listens
            app.state.dependencies = replace(app.state.dependencies, public_url=url)
        yield ApiServer(url, *keys_made)


@pytest.fixture
async def client(api_server: ApiServer) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client with the admin key."""
    headers = {"Authorization": f"Bearer {api_server.admin_key}"}
    async with httpx.AsyncClient(base_url=api_server.url, headers=headers, timeout=30) as client:
        yield client


@pytest.fixture
async def shop(api_server: ApiServer) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the write key of the shop's server."""
    headers = {"Authorization": f"Bearer {api_server.write_key}"}
    async with httpx.AsyncClient(base_url=api_server.url, headers=headers, timeout=30) as client:
        yield client
