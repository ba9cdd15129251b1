"""The fixture of the router's tests."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest

from database.session import Database
from perennial.embedded.postgres import EmbeddedPostgres
from tests.challenging import PROGRAMME, TWO_ORDERS, put_live
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
async def other_database(postgres: EmbeddedPostgres, migrated_template: str) -> AsyncIterator[Database]:
    """A second database, to compare with."""
    name = f"other_{uuid.uuid4().hex}"
    connection = await asyncpg.connect(postgres.url("postgres"))
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {migrated_template} STRATEGY FILE_COPY")
        database = Database(postgres.url(name))
        yield database
        await database.close()
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()
