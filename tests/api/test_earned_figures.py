"""What was earned, issued, redeemed and lost: each point counts once, whatever is corrected, awarded or given back."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from api.dependencies import ApiDependencies
from database.earnings import Earning
from database.points import merge_accounts
from database.session import Database
from perennial.doctor import examine
from tests.api.clock import Clock
from tests.factories import NOON
from tests.programmes import publish_programme
from tests.triggers.shop import Shop

VISIT = {"rule": "visit", "on": {"event": "Store Visited"}, "amount": {"points": 100}}


@pytest.fixture
def api_dependencies(database: Database) -> ApiDependencies:
    return ApiDependencies(database=database, now=Clock(NOON + timedelta(hours=1)))


@pytest.fixture
async def shop(database: Database) -> Shop:
    terms = {"value": {"amount": 2, "currency": "EUR"}}
    rules = [{**VISIT, "limit": {"per_customer": 100}}]
    await publish_programme(database, NOON - timedelta(days=300), earn=rules, tiers=None, points=terms)
    return Shop(database, now=NOON)


async def post(client: httpx.AsyncClient, path: str, **body: Any) -> None:
    answer = await client.post(f"/v1/customers/{path}", json=body)
    assert answer.status_code == 200, answer.text


async def shown(client: httpx.AsyncClient, *names: str, who: str = "ann") -> list[int]:
    answer = (await client.get(f"/v1/customers/{who}/points")).json()
    return [answer[name] for name in names]


async def liability(client: httpx.AsyncClient) -> dict[str, Any]:
    until = (NOON + timedelta(days=1)).isoformat()
    found: dict[str, Any] = (await client.get("/v1/programmes/main/liability", params={"to": until})).json()
    return found


@pytest.mark.parametrize("arrival", list(permutations(range(3))))
async def test_three_visits_worth_100_each_under_a_limit_of_100_earn_100_in_any_order_of_arrival(
    shop: Shop, client: httpx.AsyncClient, arrival: tuple[int, ...]
) -> None:
    for number in arrival:
        await shop.track("Store Visited", user_id="ann", timestamp=NOON - timedelta(hours=3 - number))

    assert await shown(client, "earned", "issued", "available") == [100, 100, 100]
    found = await liability(client)
    assert (found["issued"], found["reversed"], found["outstanding"]) == (100, 0, 100)


async def test_awards_rewards_and_adjustments_are_issued_and_not_earned(shop: Shop, client: httpx.AsyncClient) -> None:
    await shop.track("Store Visited", user_id="ann")
    await post(client, "ann/points/award", points=50)
    await post(client, "ann/points/adjust", points=30, reason="a slip")
    await post(client, "ann/points/adjust", points=-10, reason="a slip")
    await post(client, "ann/points/deduct", points=40)

    assert await shown(client, "earned", "issued", "available", "spent") == [100, 180, 130, 40]


async def test_what_a_friend_handed_on_is_earned_by_whoever_earned_it(shop: Shop, client: httpx.AsyncClient) -> None:
    for who in ("ann", "bob"):
        await shop.track("Store Visited", user_id=who)

    await post(client, "ann/points/transfer", to="bob", points=60)

    assert await shown(client, "earned", "available") == [100, 40]
    assert await shown(client, "earned", "available", who="bob") == [100, 160]


async def test_two_who_are_one_have_earned_what_both_earned_and_not_what_they_were_given(
    shop: Shop, client: httpx.AsyncClient
) -> None:
    for who in ("ann", "bob"):
        await shop.track("Store Visited", user_id=who)
        await post(client, f"{who}/points/award", points=50)
    ann, bob = (await shop.customer("ann")).id, (await shop.customer("bob")).id

    async with shop.database.transaction() as session:
        await merge_accounts(session, bob, ann, shop.now)

    assert await shown(client, "earned", "issued") == [200, 300]


async def test_the_redemption_rate_goes_by_what_stays_spent_of_what_stays_issued(
    shop: Shop, client: httpx.AsyncClient
) -> None:
    """100 earned in the end and 100 awarded; 80 spent on an order of which a quarter came back."""
    for number in (2, 1):
        await shop.track("Store Visited", user_id="ann", timestamp=NOON - timedelta(hours=3 - number))
    await post(client, "ann/points/award", points=100)
    await shop.track("Order Completed", {"order_id": "o-1", "total": 100, "currency": "EUR"}, user_id="ann")
    await post(client, "ann/points/deduct", points=80, order_id="o-1")
    shop.later(minutes=1)
    await shop.track("Order Refunded", {"order_id": "o-1", "total": 25}, user_id="ann")

    found = await liability(client)

    assert found["redemption_rate"] == {"rate": 0.3, "numerator": 60, "denominator": 200}
    assert found["breakage_realised"] == {"rate": 0, "numerator": 0, "denominator": 200}


async def test_the_doctor_finds_a_decision_that_did_not_pay_what_it_came_to(shop: Shop, database: Database) -> None:
    promise = "every decision about earning has paid its amount"

    async def broken() -> list[str]:
        verdicts = await examine(database, shop.now, email_per_second=2, provider="smtp")
        return [each.promise for each in verdicts if not each.is_kept]

    for number in (2, 1, 0):
        await shop.track("Store Visited", user_id="ann", timestamp=NOON - timedelta(hours=3 - number))
    assert promise not in await broken()
    async with database.transaction() as session:
        await session.execute(update(Earning).where(Earning.points > 0).values(points=200))
    assert promise in await broken()
