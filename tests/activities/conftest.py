"""A renderer for the whole session (its processes take a moment to start) and a shop for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from connectors.rendering import Renderer
from database.session import Database
from tests.sending import Shop, open_shop


@pytest.fixture(scope="session")
async def renderer() -> AsyncIterator[Renderer]:
    """One rendering process."""
    renderer = Renderer(processes=1)
    yield renderer
    await renderer.close()


@pytest.fixture
async def shop(database: Database, renderer: Renderer) -> AsyncIterator[Shop]:
    """A shop whose journey sends one e-mail."""
    async with open_shop(database, renderer) as shop:
        yield shop
