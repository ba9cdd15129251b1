"""Segment's and RudderStack's browser SDKs in headless Chromium, on pages of another origin, changed in nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, async_playwright
from starlette.applications import Starlette
from starlette.responses import FileResponse
from starlette.routing import Route

from api.dependencies import ApiDependencies
from database.session import Database
from tests.api.conftest import ApiServer
from tests.api.serving import serving
from tests.clients.arrivals import until_arrived

HERE = Path(__file__).parent
SDK = HERE / "node_modules/@segment/analytics-next/dist/umd"
RUDDER = HERE / "node_modules/rudder-sdk-js/dist/npm/index.js"


@pytest.fixture
def api_dependencies(database: Database) -> ApiDependencies:
    """The API serves the SDK too, as a shop without a bundler would have it."""
    return ApiDependencies(database=database, analytics_js_dir=SDK)


@pytest.fixture
async def browser(chromium: str, node: str) -> AsyncIterator[Browser]:
    """Headless Chromium; `node` says whether the SDK is installed."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"], timeout=120_000)
        yield browser
        await browser.close()


@pytest.mark.parametrize("batching", ["", ",batching"])
async def test_everything_the_browser_sdk_sends_arrives(
    api_server: ApiServer, database: Database, browser: Browser, batching: str
) -> None:
    shop = Starlette(routes=[Route("/", lambda _: FileResponse(HERE / "page.html"))])
    async with serving(shop) as origin:
        page = await browser.new_page()
        page.set_default_timeout(120_000)
        complaints: list[str] = []
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        await page.goto(f"{origin}/#{api_server.url},{api_server.browser_key}{batching}")
        await page.wait_for_function("document.title === 'sent'")
        events = await until_arrived(database, 6)
        await page.close()

    by_kind = {event["kind"]: event for event in events}
    assert [complaint for complaint in complaints if "favicon" not in complaint and "404" not in complaint] == []
    assert sorted(by_kind) == ["alias", "group", "identify", "page", "screen", "track"]
    assert {(event["source"], event["trusted"]) for event in events} == {("browser", False)}
    assert by_kind["track"]["subject"] == f"a:{by_kind['page']['anonymous_id']}"
    assert by_kind["identify"]["anonymous_id"] == by_kind["page"]["anonymous_id"]
    assert by_kind["identify"]["traits"] == {"email": "ann@example.com"}
    # A quirk of the SDK: once a user is known, an alias names that user on both sides. It is taken and changes nothing.
    assert by_kind["alias"]["user_id"] == by_kind["alias"]["previous_id"] == "ann"


async def test_everything_that_rudderstacks_sdk_sends_by_beacons_arrives(
    api_server: ApiServer, database: Database, browser: Browser
) -> None:
    if not RUDDER.exists():
        pytest.skip("RudderStack's browser SDK is not installed: make node-clients")
    routes = [
        Route("/", lambda _: FileResponse(HERE / "page_beacon.html")),
        Route("/rudder.js", lambda _: FileResponse(RUDDER)),
    ]
    async with serving(Starlette(routes=routes)) as origin:
        page = await browser.new_page()
        page.set_default_timeout(120_000)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(urlsplit(request.url).path))
        await page.goto(f"{origin}/#{api_server.url},{api_server.browser_key}")
        await page.wait_for_function("document.title === 'called'")
        events = await until_arrived(database, 3)
        await page.close()

    by_kind = {event["kind"]: event for event in events}
    assert "/beacon/v1/batch" in asked
    assert not [path for path in asked if path.startswith("/v1/")]
    assert sorted(by_kind) == ["identify", "page", "track"]
    assert {(event["source"], event["trusted"]) for event in events} == {("browser", False)}
    assert by_kind["track"]["properties"] == {"product_id": "p-1", "price": 24.5}
    assert by_kind["identify"]["traits"] == {"email": "ann@example.com"}
    assert {event["anonymous_id"] for event in events} == {by_kind["page"]["anonymous_id"]}
