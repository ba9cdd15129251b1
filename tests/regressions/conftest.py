"""One shop with a loyalty club for each module: every test has customers and orders of its own, and time moves on."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import httpx
import pytest

from api.app import create_app
from api.dependencies import ApiDependencies
from database.session import Database
from domain.keys import KeyKind, Scope
from perennial.embedded.postgres import EmbeddedPostgres
from tests.api.serving import serving
from tests.api.toy import make_key
from tests.regressions.club import Club
from tests.triggers.shop import Shop


@pytest.fixture(scope="module")
async def club(postgres: EmbeddedPostgres, migrated_template: str) -> AsyncIterator[Club]:
    """The club of a module, on a database of its own."""
    name = f"club_{uuid.uuid4().hex}"
    connection = await asyncpg.connect(postgres.url("postgres"))
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE {migrated_template} STRATEGY FILE_COPY")
    database = Database(postgres.url(name))
    shop = Shop(database, now=datetime(2026, 5, 4, 12, tzinfo=UTC))
    key = await make_key(database, "admin", KeyKind.SECRET, Scope.ADMIN)
    async with (
        serving(create_app(ApiDependencies(database=database, now=lambda: shop.now))) as url,
        httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30) as http,
    ):
        yield Club(shop, http)
    await database.close()
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()
