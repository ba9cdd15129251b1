"""The fixture of the router's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from database.session import Database
from perennial.embedded.postgres import EmbeddedPostgres
from tests.challenging import PROGRAMME, TWO_ORDERS, put_live
from tests.databases import Databases
from tests.triggers.shop import Shop


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
