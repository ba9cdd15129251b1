"""The fixtures of the router's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from connectors.rendering import Renderer
from database.session import Database
from perennial.embedded.postgres import EmbeddedPostgres
from tests import sending
from tests.challenging import PROGRAMME, TWO_ORDERS, put_live
from tests.databases import Databases
from tests.programmes import publish_programme
from tests.rewarding import TEA, publish_reward
from tests.triggers.shop import Shop
from tests.triggers.walking import Walker


@pytest.fixture
def shop(database: Database) -> Shop:
    """A shop with an empty database."""
    return Shop(database)


@pytest.fixture
async def loyal_shop(shop: Shop) -> Shop:
    """A shop with a programme, and a challenge to order twice."""
    await put_live(shop, "programme", PROGRAMME)
    await put_live(shop, "challenge", TWO_ORDERS)
    return shop


@pytest.fixture
async def other_database(postgres: EmbeddedPostgres, databases: Databases) -> AsyncIterator[Database]:
    """A second database, to compare with."""
    name = await databases.take()
    database = Database(postgres.url(name))
    yield database
    await database.close()
    await databases.give_back(name)


@pytest.fixture(scope="module")
async def renderer() -> AsyncIterator[Renderer]:
    """One rendering process."""
    renderer = Renderer(processes=1)
    yield renderer
    await renderer.close()


@pytest.fixture
async def walker(shop: Shop, renderer: Renderer) -> Walker:
    """Walks runs in a shop with a programme and a reward."""
    await publish_programme(shop.database, shop.now)
    await publish_reward(shop.database, TEA)
    return Walker(shop, renderer)


@pytest.fixture
async def sender(shop: Shop, renderer: Renderer) -> AsyncIterator[sending.Shop]:
    """Sends what the steps of runs send, to Ann."""
    async with sending.open_shop(shop.database, renderer) as sender:
        await shop.identify({"email": "ann@example.com"})
        yield sender
