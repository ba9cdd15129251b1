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
from domain.keys import KeyKind, Scope
from tests.api.clock import Clock
from tests.api.conftest import ApiServer
from tests.api.serving import serving
from tests.api.toy import make_key
from tests.rewarding import publish_reward

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


CART = {"currency": "EUR", "lines": [{"price": 5_000}]}
ROUTES = ("hold", "redeem", "validate")


async def name(client: httpx.AsyncClient, route: str, code: str, customer: str | None = None) -> httpx.Response:
    """Name a code on one of the routes that take one for an order."""
    body = {"codes": [code], "customer_id": customer, "cart": CART, "order_id": f"o-{code}"}
    return await client.post(f"/v1/coupons/{route}", json=body)


async def make_coupon(client: httpx.AsyncClient, database: Database, code: str) -> None:
    """A code that anybody may use any number of times."""
    await publish_reward(database, {"reward": "ten", "gives": {"percent": 10}})
    assert (await client.post("/v1/coupons", json={"reward": "ten", "code": code})).status_code == 200


async def test_a_wrong_code_is_a_try_wherever_it_is_named(client: httpx.AsyncClient, clock: Clock) -> None:
    guesses = [await name(client, ROUTES[number % 3], f"GUESS-{number}", "eve") for number in range(20)]

    assert Counter(answer.status_code for answer in guesses) == {409: 14, 200: 6}
    for route in ROUTES:
        assert (await name(client, route, "ONE-MORE", "eve")).status_code == 429
        assert (await name(client, route, "GUESS", "ann")).status_code != 429
    clock.now += timedelta(minutes=2)
    assert (await name(client, "redeem", "AGAIN", "eve")).status_code == 409


@pytest.mark.parametrize("route", ["hold", "redeem", "validate", "look", "void", "claim"])
async def test_no_route_lets_a_key_guess_more_codes_than_its_limit(client: httpx.AsyncClient, route: str) -> None:
    async def guess(number: int) -> int:
        code = f"GUESS{number:03}"
        match route:
            case "look":
                answer = await client.get(f"/v1/coupons/{code}")
            case "void":
                answer = await client.post(f"/v1/coupons/{code}/void")
            case "claim":
                answer = await client.post("/v1/referrals/claim", json={"code": code, "referee": f"friend-{number}"})
            case _:
                answer = await name(client, route, code, f"c-{number}")
        return answer.status_code

    answers = Counter(await asyncio.gather(*(guess(number) for number in range(65))))

    assert answers[429] == 5
    assert answers.total() - answers[429] == 60


async def test_good_codes_are_no_tries_however_many_orders_use_them(
    client: httpx.AsyncClient, database: Database
) -> None:
    await make_coupon(client, database, "TEN")

    for number in range(25):
        for route in ROUTES:
            body = {"codes": ["TEN"], "customer_id": "ann", "cart": CART, "order_id": f"o-{number}"}
            assert (await client.post(f"/v1/coupons/{route}", json=body)).status_code == 200
        assert (await client.get("/v1/coupons/TEN")).status_code == 200


async def test_who_guesses_with_one_key_locks_nobody_out_of_good_codes_under_another(
    client: httpx.AsyncClient, api_server: ApiServer, database: Database
) -> None:
    await make_coupon(client, database, "TEN")
    key = await make_key(database, "stranger", KeyKind.SECRET, Scope.ADMIN)
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=api_server.url, headers=headers, timeout=30) as stranger:
        for number in range(70):
            await name(stranger, "redeem", f"GUESS-{number}", "ann")
        assert (await name(stranger, "redeem", "TEN", "ann")).status_code == 429

    assert (await name(client, "validate", "TEN", "ann")).json()["coupons"][0]["valid"]
    assert (await name(client, "redeem", "TEN", "ann")).status_code == 200
