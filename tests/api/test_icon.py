"""The icon that browsers ask for beside every page."""

from __future__ import annotations

import httpx
import pytest
from playwright.async_api import async_playwright

from api.dependencies import ApiDependencies
from database.session import Database
from tests.api.conftest import ApiServer


@pytest.fixture
def api_dependencies(database: Database) -> ApiDependencies:
    """An API whose inbox stands open."""
    return ApiDependencies(database=database, is_inbox_open=True)


async def test_a_browser_finds_the_icon_that_it_asks_for_beside_every_page(client: httpx.AsyncClient) -> None:
    answer = await client.get("/favicon.ico", headers={"Authorization": ""})

    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
    assert answer.content.startswith(b"<svg")


async def test_no_page_makes_the_browser_complain(api_server: ApiServer, chromium: str) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = await browser.new_page()
        complaints: list[str] = []
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        for path in ("/inbox", "/docs"):
            await page.goto(api_server.url + path, wait_until="networkidle")
        await page.goto(f"{api_server.url}/favicon.ico")
        shown = await page.evaluate("document.documentElement.tagName")
        await browser.close()

    assert (complaints, shown) == ([], "svg")
