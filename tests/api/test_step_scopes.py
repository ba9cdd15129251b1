"""A key that may write journeys does not get by a journey what it may not do itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from database.session import Database
from domain.keys import KeyKind, Scope
from tests.api.conftest import ApiServer
from tests.api.toy import make_key
from tests.factories_journeys import make_customer

POINTS = {"points": {"award": 500}, "id": "gift"}
NEEDED: dict[str, tuple[dict[str, Any], Scope]] = {
    "points": (POINTS, Scope.LOYALTY_WRITE),
    "update": ({"update": {"traits": {"vip": True}}, "id": "gift"}, Scope.CUSTOMERS_WRITE),
    "emit": ({"emit": {"event": "Gift Promised"}, "id": "gift"}, Scope.EVENTS_WRITE),
    "start": ({"start": {"journey": "other"}, "id": "gift"}, Scope.EVENTS_WRITE),
    "deep down": (
        {"wait_for": {"timeout": "1h", "on_timeout": [{"split": {"variants": {"a": {"steps": [POINTS]}}}}]}},
        Scope.LOYALTY_WRITE,
    ),
}


def journey(*steps: dict[str, Any], key: str = "club") -> dict[str, Any]:
    return {"journey": key, "enter": {"on": {"api": {}}}, "steps": list(steps)}


@asynccontextmanager
async def holding(server: ApiServer, database: Database, *scopes: Scope) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a new key of these scopes."""
    key = await make_key(database, "-".join(sorted(scopes)), KeyKind.SECRET, *scopes)
    async with httpx.AsyncClient(base_url=server.url, headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
        yield client


async def publish(client: httpx.AsyncClient, document: dict[str, Any]) -> httpx.Response:
    assert (await client.put(f"/v1/journeys/{document['journey']}", json=document)).status_code == 200
    return await client.post(f"/v1/journeys/{document['journey']}/publish", json={})


async def enter(client: httpx.AsyncClient, key: str = "club") -> httpx.Response:
    return await client.post(f"/v1/journeys/{key}/enter", json={"customer_id": "ann"})


@pytest.fixture(autouse=True)
async def ann(database: Database, client: httpx.AsyncClient) -> None:
    await make_customer(database, "ann")
    assert (await publish(client, journey({"exit": "done"}, key="other"))).status_code == 200


@pytest.mark.parametrize(("step", "scope"), NEEDED.values(), ids=NEEDED)
async def test_publishing_and_entering_need_the_scopes_of_what_the_steps_do(
    api_server: ApiServer, database: Database, client: httpx.AsyncClient, step: dict[str, Any], scope: Scope
) -> None:
    document = journey(step)
    async with holding(api_server, database, Scope.JOURNEYS_WRITE) as author:
        refused = await publish(author, document)
        assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
        assert (refused.json()["step"], refused.json()["scope"]) == ("gift", scope)
        plan = await author.post("/v1/journeys/club/publish", json={"dry_run": True})
        assert plan.status_code == 200  # a draft and its plan do nothing

        async with holding(api_server, database, Scope.JOURNEYS_WRITE, scope) as owner:
            assert (await publish(owner, document)).status_code == 200
            refused = await enter(author)
            assert (refused.status_code, refused.json()["code"], refused.json()["step"]) == (
                403,
                "scope_missing",
                "gift",
            )
            assert (await enter(owner)).json()["entered"] is True


async def test_a_journey_that_starts_another_one_needs_the_scopes_of_that_too(
    api_server: ApiServer, database: Database, client: httpx.AsyncClient
) -> None:
    assert (await publish(client, journey(POINTS))).status_code == 200
    door = journey({"start": {"journey": "club"}}, key="door")
    async with holding(api_server, database, Scope.JOURNEYS_WRITE, Scope.EVENTS_WRITE) as author:
        refused = await publish(author, door)
        assert (refused.status_code, refused.json()["journey"], refused.json()["scope"]) == (
            403,
            "club",
            "loyalty:write",
        )
        assert (await publish(client, door)).status_code == 200
        assert (await enter(author, "door")).json()["journey"] == "club"


async def test_a_journey_that_only_writes_to_customers_needs_journeys_write_alone(
    api_server: ApiServer, database: Database
) -> None:
    async with holding(api_server, database, Scope.JOURNEYS_WRITE) as author:
        assert (await publish(author, journey({"wait": {"for": "1h"}}))).status_code == 200
        assert (await enter(author)).json()["entered"] is True


async def test_what_is_live_goes_on_and_may_be_paused_and_archived(
    api_server: ApiServer, database: Database, client: httpx.AsyncClient
) -> None:
    assert (await publish(client, journey(POINTS))).status_code == 200
    async with holding(api_server, database, Scope.JOURNEYS_WRITE) as author:
        assert (await author.post("/v1/journeys/club/pause")).json()["state"] == "paused"
        assert (await author.post("/v1/journeys/club/archive")).json()["state"] == "archived"


async def test_resuming_needs_the_scopes_of_what_the_held_steps_do(
    api_server: ApiServer, database: Database, client: httpx.AsyncClient
) -> None:
    assert (await publish(client, journey(POINTS))).status_code == 200
    await client.post("/v1/journeys/club/pause")
    async with holding(api_server, database, Scope.JOURNEYS_WRITE) as author:
        refused = await author.post("/v1/journeys/club/resume")
        assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
        assert (refused.json()["step"], refused.json()["scope"]) == ("gift", "loyalty:write")
        assert (await client.get("/v1/journeys/club")).json()["state"] == "paused"
    async with holding(api_server, database, Scope.JOURNEYS_WRITE, Scope.LOYALTY_WRITE) as owner:
        assert (await owner.post("/v1/journeys/club/resume")).json()["state"] == "live"


async def test_a_version_without_points_does_not_let_the_runs_of_the_one_before_give_them(
    api_server: ApiServer, database: Database, client: httpx.AsyncClient
) -> None:
    assert (await publish(client, journey({"wait": {"for": "1h"}, "id": "pause"}, POINTS))).status_code == 200
    assert (await enter(client)).json()["entered"] is True
    await client.post("/v1/journeys/club/pause")
    async with holding(api_server, database, Scope.JOURNEYS_WRITE) as author:
        plan = (await publish(author, journey({"wait": {"for": "1h"}, "id": "pause"}))).json()
        published = await author.post("/v1/journeys/club/publish", json={"plan": plan["plan"]})
        assert published.status_code == 200, published.text
        refused = await author.post("/v1/journeys/club/resume")
        assert (refused.status_code, refused.json()["step"]) == (403, "gift")


async def test_a_journey_that_gives_nothing_is_resumed_with_journeys_write_alone(
    api_server: ApiServer, database: Database
) -> None:
    async with holding(api_server, database, Scope.JOURNEYS_WRITE) as author:
        assert (await publish(author, journey({"wait": {"for": "1h"}}))).status_code == 200
        await author.post("/v1/journeys/club/pause")
        assert (await author.post("/v1/journeys/club/resume")).json()["state"] == "live"
