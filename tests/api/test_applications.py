"""What an application leaves behind in its process."""

from __future__ import annotations

import gc
import weakref

import httpx

from api.app import create_app
from api.dependencies import ApiDependencies
from database.session import Database
from tests.api.serving import serving


async def test_an_application_that_is_done_is_forgotten(database: Database) -> None:
    app = create_app(ApiDependencies(database=database))
    seen = weakref.ref(app)
    async with serving(app) as url, httpx.AsyncClient(base_url=url) as client:
        for path in ("/docs", "/openapi.json", "/v1/customers", "/v1/journeys", "/nothing"):
            await client.get(path)
    del app, client
    gc.collect()

    assert seen() is None
