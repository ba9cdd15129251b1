"""One shop with a loyalty club for each module: every test has customers and orders of its own, and time moves on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest

from api.app import create_app
from api.dependencies import ApiDependencies
from database.pools import ROUTER
from database.session import Database
from domain.keys import KeyKind, Scope
from perennial.embedded.postgres import EmbeddedPostgres
from tests.api.serving import serving
from tests.api.toy import make_key
from tests.databases import Databases
from tests.regressions.club import Club
from tests.triggers.shop import Shop


@pytest.fixture(scope="module")
async def club(postgres: EmbeddedPostgres, databases: Databases) -> AsyncIterator[Club]:
    """The club of a module, on a database of its own."""
    name = await databases.take()
    database = Database(postgres.url(name), pool=ROUTER.changed("wait=60"))
    shop = Shop(database, now=datetime(2026, 5, 4, 12, tzinfo=UTC))
    key = await make_key(database, "admin", KeyKind.SECRET, Scope.ADMIN)
    async with (
        serving(create_app(ApiDependencies(database=database, now=lambda: shop.now))) as url,
        httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30) as http,
    ):
        yield Club(shop, http)
    await database.close()
    await databases.give_back(name)
