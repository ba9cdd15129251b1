"""What an erasure does to points: all that could still be used is forfeited, so that nothing is owed to nobody."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select, update
from temporalio.testing import ActivityEnvironment

from activities.settling import SettlingActivities, SettlingStep
from api.dependencies import ApiDependencies
from database.customers import Customer
from database.guarantees import QUESTIONS, offenders
from database.ledger import PointBalance, PointTransaction
from database.session import Database
from tests.api.clock import Clock
from tests.api.test_programmes import publish
from tests.factories import NOON, make_customer

TERMS = {"value": {"amount": 2, "currency": "EUR"}, "cost_share": 1}


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def api_dependencies(database: Database, clock: Clock) -> ApiDependencies:
    return ApiDependencies(database=database, now=clock)


@pytest.fixture
async def members(client: httpx.AsyncClient, database: Database) -> dict[str, UUID]:
    assert (await publish(client, "main", points=TERMS)).status_code == 200
    return {name: await make_customer(database, name) for name in ("ann", "bob")}


async def move(client: httpx.AsyncClient, path: str, **body: Any) -> dict[str, Any]:
    answer = await client.post(f"/v1/customers/{path}", json=body)
    assert answer.status_code == 200, answer.text
    moved: dict[str, Any] = answer.json()
    return moved


async def liability(client: httpx.AsyncClient) -> dict[str, Any]:
    until = (NOON + timedelta(days=2)).isoformat()
    found: dict[str, Any] = (await client.get("/v1/programmes/main/liability", params={"to": until})).json()
    return found


async def broken(database: Database) -> list[str]:
    async with database.read() as session:
        asked = [each for each in QUESTIONS if each.guarantee == "points"]
        return [each.promise for each in asked if await offenders(session, each, NOON + timedelta(days=9))]


@pytest.mark.usefixtures("members")
async def test_points_of_an_erased_customer_are_no_liability_any_more(
    client: httpx.AsyncClient, database: Database
) -> None:
    await move(client, "ann/points/award", points=100, reason="welcome")
    await move(client, "ann/points/award", points=50, expires_at=(NOON + timedelta(days=30)).isoformat(), reason="x")
    await move(client, "ann/points/hold", points=70, reason="at the till")
    await move(client, "ann/points/deduct", points=10, reason="tea")
    await move(client, "bob/points/award", points=40, reason="welcome")

    assert (await client.delete("/v1/customers/ann")).status_code == 202

    assert (await liability(client))["outstanding"] == 40
    async with database.read() as session:
        made = (
            (await session.execute(select(PointTransaction).where(PointTransaction.kind == "erased"))).scalars().all()
        )
        balance = (await session.scalars(select(PointBalance).where(PointBalance.expired > 0))).one()
    assert [each.points for each in made] == [140]
    assert (balance.available, balance.pending, balance.held, balance.next_due) == (0, 0, 0, None)
    assert await broken(database) == []


async def test_people_erased_by_an_earlier_release_lose_their_points_with_the_next_pass(
    client: httpx.AsyncClient, database: Database, members: dict[str, UUID]
) -> None:
    await move(client, "ann/points/award", points=100, reason="welcome")
    async with database.transaction() as session:
        await session.execute(update(Customer).where(Customer.id == members["ann"]).values(erased_at=NOON))
    assert await broken(database) == ["nobody who was erased has points"]

    step = SettlingStep(since=NOON, as_of=NOON + timedelta(days=1))
    await ActivityEnvironment().run(SettlingActivities(database).settle_accounts, step)

    assert (await liability(client))["outstanding"] == 0
    assert await broken(database) == []
