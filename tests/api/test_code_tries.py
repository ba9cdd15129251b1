"""Nobody finds a coupon by trying codes: a key and a customer have so many tries, over all processes of the API."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from api.app import create_app
from api.dependencies import ApiDependencies
from api.limits import CodeLimits
from database.session import Database
from tests.api.clock import Clock
from tests.api.conftest import ApiServer
from tests.api.serving import serving

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def api_dependencies(database: Database, clock: Clock) -> ApiDependencies:
    return ApiDependencies(database=database, now=clock, code_limits=CodeLimits(per_key=60, per_customer=20))


@pytest.fixture
async def second(api_server: ApiServer, api_dependencies: ApiDependencies) -> AsyncIterator[httpx.AsyncClient]:
    """Another process of the API, as far as budgets are concerned."""
    async with serving(create_app(api_dependencies)) as url:
        headers = {"Authorization": f"Bearer {api_server.admin_key}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as other:
            yield other


async def attempt(client: httpx.AsyncClient, *codes: str, customer: str | None = None) -> httpx.Response:
    return await client.post("/v1/coupons/validate", json={"codes": list(codes), "customer_id": customer})


async def test_a_customer_who_guesses_codes_is_stopped_and_may_try_again_later(
    client: httpx.AsyncClient, clock: Clock
) -> None:
    guesses = [await attempt(client, f"GUESS-{number}", customer="eve") for number in range(21)]

    assert Counter(answer.status_code for answer in guesses) == {200: 20, 429: 1}
    refused = guesses[-1]
    assert refused.json()["code"] == "rate_limited"
    assert refused.headers["retry-after"] == "3"
    assert refused.headers["ratelimit-policy"] == '"codes-per-customer";q=20;w=60'
    assert refused.headers["ratelimit"] == '"codes-per-customer";r=0;t=3'
    assert (await attempt(client, "GUESS-22", customer="ann")).status_code == 200  # others are not harmed
    clock.now = NOON + timedelta(seconds=3)
    assert (await attempt(client, "GUESS-23", customer="eve")).status_code == 200
    assert (await attempt(client, "GUESS-24", customer="eve")).status_code == 429


async def test_twenty_codes_in_one_call_are_twenty_tries(client: httpx.AsyncClient) -> None:
    codes = [f"GUESS-{number}" for number in range(20)]

    assert (await attempt(client, *codes, customer="eve")).status_code == 200
    assert (await attempt(client, "ONE-MORE", customer="eve")).status_code == 429


async def test_a_key_has_one_budget_over_all_processes_whoever_it_asks_for(
    client: httpx.AsyncClient, second: httpx.AsyncClient
) -> None:
    answers = await asyncio.gather(
        *(attempt((client, second)[number % 2], f"GUESS-{number}", customer=f"c-{number}") for number in range(70))
    )

    assert Counter(answer.status_code for answer in answers) == {200: 60, 429: 10}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.headers["ratelimit-policy"] == '"codes-per-key";q=60;w=60'
    assert (await client.get("/v1/coupons/GUESS-1")).status_code == 429  # looking one up is a try too


async def test_who_is_refused_uses_nothing_of_the_shops_budget_up(client: httpx.AsyncClient) -> None:
    for number in range(80):
        await attempt(client, f"GUESS-{number}", customer="eve")

    assert [(await attempt(client, "CODE", customer=f"c-{n}")).status_code for n in range(41)] == [200] * 40 + [429]
