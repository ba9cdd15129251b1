"""What browsers ask of the ingest host, and what they may not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.dependencies import ApiDependencies
from api.limits import Rate
from database.session import Database
from domain.keys import KeyKind, Scope
from tests.api.conftest import ApiServer
from tests.api.serving import serving
from tests.api.toy import make_key

ORIGIN = {"Origin": "https://shop.example"}
PREFLIGHT = {
    **ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "anonymousid,authorization,content-type,sentat",
}


@pytest.fixture
async def browser(api_server: ApiServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=api_server.url, headers=ORIGIN, timeout=30) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "method"),
    [
        *((f"/v1/{name}", "POST") for name in ("track", "t", "batch", "b", "import", "m")),
        ("/beacon/v1/batch", "POST"),
        ("/sourceConfig/", "GET"),
    ],
)
async def test_a_preflight_is_told_yes(browser: httpx.AsyncClient, path: str, method: str) -> None:
    answer = await browser.options(path, headers=PREFLIGHT)

    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    assert answer.headers["access-control-allow-headers"] == PREFLIGHT["Access-Control-Request-Headers"]
    assert method in answer.headers["access-control-allow-methods"]
    assert int(answer.headers["access-control-max-age"]) >= 600
    assert "access-control-allow-credentials" not in answer.headers


async def test_a_page_that_asks_too_fast_may_read_when_to_try_again(database: Database) -> None:
    slow = ApiDependencies(database=database, rate=Rate(per_second=0.1, burst=1))
    key = await make_key(database, "browser", KeyKind.BROWSER, Scope.EVENTS_WRITE)
    async with serving(create_app(slow)) as url, httpx.AsyncClient(base_url=url, headers=ORIGIN, timeout=30) as client:
        answers = [await client.post("/v1/track", json={}, auth=(key, "")) for _ in range(2)]

    assert answers[1].status_code == 429
    readable = {each.strip().lower() for each in answers[1].headers["access-control-expose-headers"].split(",")}
    limits = {name for name in answers[1].headers if "ratelimit" in name or name == "retry-after"}
    assert {"retry-after", "ratelimit", "x-ratelimit-limit"} <= limits <= readable


async def test_a_beacons_key_is_its_parameter(browser: httpx.AsyncClient, api_server: ApiServer) -> None:
    batch = {"batch": [{"type": "track", "event": "Seen", "anonymousId": "a-1"}]}
    body = json.dumps(batch)
    beacon: dict[str, Any] = {"content": body, "headers": {"Content-Type": "text/plain"}}
    key = {"writeKey": api_server.browser_key}

    taken = await browser.post("/beacon/v1/batch", params=key, **beacon)
    assert (taken.status_code, taken.json()["accepted"]) == (200, 1)
    assert (await browser.post("/beacon/v1/batch", **beacon)).json()["code"] == "key_missing"
    wrong = await browser.post("/beacon/v1/batch", params={"writeKey": "nonsense"}, **beacon)
    assert wrong.json()["code"] == "key_malformed"
    # Keys of other calls stay out of addresses, which logs keep.
    assert (await browser.post("/v1/batch", params=key, **beacon)).json()["code"] == "key_missing"


async def test_a_page_may_read_refusals_too(browser: httpx.AsyncClient) -> None:
    answer = await browser.post("/v1/track", json={})

    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (401, "https://shop.example")


@pytest.mark.parametrize("path", ["/v1/settings", "/v1/customers/ann", "/v1/journeys", "/livez"])
async def test_the_rest_of_the_api_is_closed_to_pages(browser: httpx.AsyncClient, path: str) -> None:
    for answer in (await browser.options(path, headers=PREFLIGHT), await browser.get(path)):
        assert "access-control-allow-origin" not in answer.headers


async def test_segments_sdk_is_sent_to_our_public_address(api_server: ApiServer, browser: httpx.AsyncClient) -> None:
    answer = await browser.get(f"/v1/projects/{api_server.browser_key}/settings")

    segment = answer.json()["integrations"]["Segment.io"]
    assert (segment["apiHost"], segment["protocol"]) == (api_server.url.removeprefix("http://") + "/v1", "http")
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"


@pytest.mark.parametrize("path", ["/sourceConfig", "/sourceConfig/"])
async def test_rudderstacks_sdk_gets_its_source(api_server: ApiServer, browser: httpx.AsyncClient, path: str) -> None:
    for ask in ({"params": {"writeKey": api_server.browser_key}}, {"auth": (api_server.browser_key, "")}):
        source = (await browser.get(path, **ask)).json()["source"]

        assert (source["id"], source["enabled"], source["destinations"]) == (source["writeKey"], True, [])


def settings_requests(key: str) -> list[dict[str, Any]]:
    """Every way of asking for the SDKs' settings."""
    return [
        {"url": f"/v1/projects/{key}/settings"},
        {"url": f"/v1/projects/{key}/settings", "auth": (key, "")},
        {"url": "/sourceConfig", "params": {"writeKey": key}},
        {"url": "/sourceConfig/", "auth": (key, "")},
        {"url": "/sourceConfig", "headers": {"Authorization": f"Bearer {key}"}},
    ]


@pytest.mark.parametrize("kind", ["browser_key", "write_key", "admin_key"])
async def test_no_answer_to_a_browser_repeats_a_key(
    api_server: ApiServer, browser: httpx.AsyncClient, kind: str
) -> None:
    key = getattr(api_server, kind)
    for asked in settings_requests(key):
        answer = await browser.get(**asked)
        secret = key.split("_")[2]
        assert answer.status_code == 200
        assert secret not in answer.text + str(answer.headers), asked


async def test_no_shared_cache_keeps_what_was_answered_to_a_key_in_a_header(
    api_server: ApiServer, browser: httpx.AsyncClient
) -> None:
    for asked in settings_requests(api_server.browser_key):
        answer = await browser.get(**asked)
        is_authorized = "authorization" in answer.request.headers
        assert ("public" in answer.headers["cache-control"]) is not is_authorized
        assert {"origin", "authorization"} <= {each.strip().lower() for each in answer.headers["vary"].split(",")}


async def test_a_forged_host_leads_no_page_elsewhere(api_server: ApiServer, browser: httpx.AsyncClient) -> None:
    forged = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "gopher"}
    for asked in settings_requests(api_server.browser_key):
        answer = await browser.get(**{**asked, "headers": {**asked.get("headers", {}), **forged}})
        assert "evil.example" not in answer.text
        assert "gopher" not in answer.text


async def test_the_name_that_the_settings_give_a_browser_key_brings_events_and_nothing_else(
    api_server: ApiServer, browser: httpx.AsyncClient
) -> None:
    settings = (await browser.get(f"/v1/projects/{api_server.browser_key}/settings")).json()
    name = settings["integrations"]["Segment.io"]["apiKey"]
    event = {"anonymousId": "a-1", "event": "Seen"}

    assert (await browser.post("/v1/t", json=event, auth=(name, ""))).status_code == 200
    assert (await browser.post("/v1/t", json={**event, "writeKey": name})).status_code == 200
    assert (await browser.get("/v1/journeys", auth=(name, ""))).json()["code"] == "key_malformed"


async def test_the_name_of_a_secret_key_opens_nothing(api_server: ApiServer, browser: httpx.AsyncClient) -> None:
    name = api_server.write_key.split("_")[1]

    answer = await browser.post("/v1/t", json={"anonymousId": "a-1", "event": "Seen"}, auth=(name, ""))

    assert (answer.status_code, answer.json()["code"]) == (401, "key_unknown")


@pytest.mark.parametrize(
    "path", ["/v1/projects/pk_x/settings", "/sourceConfig", "/analytics.js/v1/pk_x/analytics.min.js"]
)
async def test_settings_are_for_known_keys(browser: httpx.AsyncClient, path: str) -> None:
    assert (await browser.get(path)).status_code == 401


async def test_a_host_without_the_sdk_says_how_to_get_it(api_server: ApiServer, browser: httpx.AsyncClient) -> None:
    answer = await browser.get(f"/analytics.js/v1/{api_server.browser_key}/analytics.min.js")

    assert (answer.status_code, answer.json()["code"]) == (404, "sdk_not_installed")
