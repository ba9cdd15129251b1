"""What browsers ask of the ingest host, and what they may not."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.api.conftest import ApiServer

ORIGIN = {"Origin": "https://shop.example"}
PREFLIGHT = {
    **ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "anonymousid,authorization,content-type,sentat",
}


@pytest.fixture
async def browser(api_server: ApiServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=api_server.url, headers=ORIGIN) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "method"),
    [*((f"/v1/{name}", "POST") for name in ("track", "t", "batch", "b", "import", "m")), ("/sourceConfig/", "GET")],
)
async def test_a_preflight_is_told_yes(browser: httpx.AsyncClient, path: str, method: str) -> None:
    answer = await browser.options(path, headers=PREFLIGHT)

    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    assert answer.headers["access-control-allow-headers"] == PREFLIGHT["Access-Control-Request-Headers"]
    assert method in answer.headers["access-control-allow-methods"]
    assert int(answer.headers["access-control-max-age"]) >= 600
    assert "access-control-allow-credentials" not in answer.headers


async def test_a_page_may_read_refusals_too(browser: httpx.AsyncClient) -> None:
    answer = await browser.post("/v1/track", json={})

    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (401, "https://shop.example")


@pytest.mark.parametrize("path", ["/v1/settings", "/v1/customers/ann", "/v1/journeys", "/livez"])
async def test_the_rest_of_the_api_is_closed_to_pages(browser: httpx.AsyncClient, path: str) -> None:
    for answer in (await browser.options(path, headers=PREFLIGHT), await browser.get(path)):
        assert "access-control-allow-origin" not in answer.headers


async def test_segments_sdk_is_sent_to_the_host_it_asked(api_server: ApiServer, browser: httpx.AsyncClient) -> None:
    answer = await browser.get(f"/v1/projects/{api_server.browser_key}/settings")

    segment = answer.json()["integrations"]["Segment.io"]
    assert (segment["apiKey"], segment["protocol"]) == (api_server.browser_key, "http")
    assert segment["apiHost"] == api_server.url.removeprefix("http://") + "/v1"
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"


@pytest.mark.parametrize("path", ["/sourceConfig", "/sourceConfig/"])
async def test_rudderstacks_sdk_gets_its_source(api_server: ApiServer, browser: httpx.AsyncClient, path: str) -> None:
    for ask in ({"params": {"writeKey": api_server.browser_key}}, {"auth": (api_server.browser_key, "")}):
        answer = await browser.get(path, **ask)

        source = answer.json()["source"]
        assert (source["writeKey"], source["enabled"], source["destinations"]) == (api_server.browser_key, True, [])


@pytest.mark.parametrize(
    "path", ["/v1/projects/pk_x/settings", "/sourceConfig", "/analytics.js/v1/pk_x/analytics.min.js"]
)
async def test_settings_are_for_known_keys(browser: httpx.AsyncClient, path: str) -> None:
    assert (await browser.get(path)).status_code == 401


async def test_a_host_without_the_sdk_says_how_to_get_it(api_server: ApiServer, browser: httpx.AsyncClient) -> None:
    answer = await browser.get(f"/analytics.js/v1/{api_server.browser_key}/analytics.min.js")

    assert (answer.status_code, answer.json()["code"]) == (404, "sdk_not_installed")
