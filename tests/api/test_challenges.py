"""Challenges over HTTP: published, followed, shown to members, ranked, tried over history."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from api.dependencies import ApiDependencies
from database.session import Database
from tests.triggers.shop import Shop

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
VISITS: dict[str, Any] = {
    "challenge": "visits",
    "name": "Come by",
    "metric": {"count": "Store Visited"},
    "window": {"every": "month"},
    "levels": [
        {"level": "guest", "at": 1, "badge": {"badge": "guest", "name": "Guest", "expires": "30d"}},
        {"level": "regular", "at": 3},
    ],
    "leaderboard": {"ties": "shared"},
}
STREAK: dict[str, Any] = {
    "challenge": "daily",
    "metric": {"streak": "day", "over": "Store Visited", "freezes": {"start": 1}},
    "levels": [{"level": "week", "at": 7}],
    "requires": ["visits"],
}


@pytest.fixture
def shop(database: Database) -> Shop:
    return Shop(database)


@pytest.fixture
def api_dependencies(database: Database, shop: Shop) -> ApiDependencies:
    """An API whose clock is the shop's."""
    return ApiDependencies(database=database, now=lambda: shop.now)


async def publish(client: httpx.AsyncClient, document: dict[str, Any]) -> None:
    key = document["challenge"]
    saved = await client.put(f"/v1/challenges/{key}", json=document)
    assert saved.status_code == 200, saved.text
    published = await client.post(f"/v1/challenges/{key}/publish", json={})
    assert published.status_code == 200, published.text


async def visit(shop: Shop, *users: str) -> None:
    for user in users:
        shop.later(minutes=1)
        await shop.track("Store Visited", user_id=user)


async def test_a_member_sees_progress_the_next_level_and_badges(client: httpx.AsyncClient, shop: Shop) -> None:
    await publish(client, VISITS)
    await visit(shop, "ann@shop", "ann@shop")

    [challenge] = (await client.get("/v1/customers/ann%40shop/challenges")).json()["data"]
    badges = (await client.get("/v1/customers/ann%40shop/badges")).json()["data"]

    assert (challenge["period"], challenge["figure"], challenge["completed"]) == ("2026-05", 2, False)
    assert challenge["next"] == {"level": "regular", "at": 3, "left": 1}
    assert challenge["ends_at"] == "2026-06-01T00:00:00Z"
    assert [(level["level"], level["reached_at"]) for level in challenge["levels"]] == [
        ("guest", "2026-05-04T12:01:00Z"), ("regular", None),
    ]  # fmt: skip
    assert [(badge["badge"], badge["name"], badge["challenge"]) for badge in badges] == [("guest", "Guest", "visits")]


async def test_a_badge_that_has_lapsed_is_no_longer_worn(client: httpx.AsyncClient, shop: Shop) -> None:
    await publish(client, VISITS)
    await visit(shop, "ann")

    shop.later(days=30)

    assert (await client.get("/v1/customers/ann/badges")).json()["data"] == []


async def test_a_streak_is_shown_as_it_stands_now(client: httpx.AsyncClient, shop: Shop) -> None:
    await publish(client, VISITS)
    await publish(client, STREAK)
    for _ in range(2):
        await visit(shop, "ann")
        shop.later(days=1)

    async def streak() -> dict[str, Any]:
        [daily] = [each for each in (await client.get("/v1/customers/ann/challenges")).json()["data"] if each["streak"]]
        assert daily["locked"] is False
        answer: dict[str, Any] = daily["streak"]
        return answer

    assert await streak() == {"unit": "day", "length": 2, "best": 2, "freezes": 1, "at_risk": True}
    shop.later(days=1)
    assert await streak() == {"unit": "day", "length": 2, "best": 2, "freezes": 0, "at_risk": True}
    shop.later(days=1)
    assert await streak() == {"unit": "day", "length": 0, "best": 2, "freezes": 0, "at_risk": False}


async def test_a_leaderboard_is_paged_with_its_tie_rule(client: httpx.AsyncClient, shop: Shop) -> None:
    await publish(client, VISITS)
    await visit(shop, "ann", "bob", "cem", "ann")

    first = (await client.get("/v1/challenges/visits/leaderboard", params={"limit": 2})).json()
    second = (await client.get("/v1/challenges/visits/leaderboard", params={"cursor": first["next_cursor"]})).json()

    lines = [(line["rank"], line["customer_id"], line["figure"]) for line in [*first["data"], *second["data"]]]
    assert lines == [(1, "ann", 2), (2, "bob", 1), (2, "cem", 1)]
    assert (first["ties"], first["final"], first["period"]) == ("shared", False, "2026-05")


async def test_a_try_says_who_would_have_completed_it_and_writes_nothing(client: httpx.AsyncClient, shop: Shop) -> None:
    """WB does not say whom a new badge would reach; Trophy and Talon decide it blindly when it is made."""
    await visit(shop, "ann", "ann", "ann", "bob")
    wish = {"definition": VISITS | {"levels": [{"level": "regular", "at": 3, "points": 20}]}}

    answer = (await client.post("/v1/challenges/visits/dry-run", json=wish)).json()

    assert answer["levels"] == [{"level": "regular", "members": 1, "completions": 1}]
    assert (answer["members"], answer["points"], answer["sample"], answer["complete"]) == (2, 20, ["ann"], True)
    assert (await client.get("/v1/customers/ann/challenges")).json()["data"] == []


async def test_the_past_counts_only_where_the_definition_says_from_when(client: httpx.AsyncClient, shop: Shop) -> None:
    await visit(shop, "ann", "ann")
    shop.later(minutes=1)
    await publish(client, VISITS)
    await visit(shop, "ann")

    [challenge] = (await client.get("/v1/customers/ann/challenges")).json()["data"]

    assert challenge["figure"] == 1


async def test_drafts_that_cannot_work_are_not_published(client: httpx.AsyncClient) -> None:
    await client.put("/v1/challenges/visits", json=VISITS | {"requires": ["nothing"]})

    refused = await client.post("/v1/challenges/visits/publish", json={})

    assert (refused.status_code, refused.json()["findings"][-1]["code"]) == (409, "unknown_challenge")


@pytest.mark.parametrize("path", ["/v1/challenges/none/leaderboard", "/v1/customers/nobody/challenges"])
async def test_what_is_not_there_is_not_found(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404
