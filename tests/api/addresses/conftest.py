"""A shop by the test's clock, whose router and sending the test drives itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest

from api.dependencies import ApiDependencies
from connectors.rendering import Renderer
from database.session import Database
from tests.addressing import Clock, Town, publish_journeys
from tests.api.conftest import ApiServer
from tests.sending import open_shop


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime(2026, 6, 10, 9, tzinfo=UTC))


@pytest.fixture
def api_dependencies(database: Database, clock: Clock) -> ApiDependencies:
    """An API by the test's clock, which does not wait for a router that the test drives itself."""
    return ApiDependencies(database=database, now=clock)


@pytest.fixture(scope="module")
async def renderer() -> AsyncIterator[Renderer]:
    renderer = Renderer(processes=1)
    yield renderer
    await renderer.close()


@pytest.fixture
async def town(database: Database, api_server: ApiServer, clock: Clock, renderer: Renderer) -> AsyncIterator[Town]:
    async with open_shop(database, renderer) as shop, httpx.AsyncClient(base_url=api_server.url, timeout=30) as http:
        await publish_journeys(shop)
        yield Town(api_server, shop, clock, http)
