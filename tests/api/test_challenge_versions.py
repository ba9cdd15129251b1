"""Publishing a challenge again: what the check says of earlier versions, and what the dry run leaves out."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from api.dependencies import ApiDependencies
from database.session import Database
from tests.triggers.shop import Shop

VISITS: dict[str, Any] = {
    "challenge": "visits",
    "metric": {"count": "Store Visited"},
    "levels": [{"level": "regular", "at": 2, "badge": {"badge": "regular"}}],
    "from": "2026-01-01",
}


@pytest.fixture
def shop(database: Database) -> Shop:
    return Shop(database)


@pytest.fixture
def api_dependencies(database: Database, shop: Shop) -> ApiDependencies:
    """An API whose clock is the shop's."""
    return ApiDependencies(database=database, now=lambda: shop.now)


async def publish(client: httpx.AsyncClient, document: dict[str, Any]) -> dict[str, Any]:
    key = document["challenge"]
    saved = await client.put(f"/v1/challenges/{key}", json=document)
    assert saved.status_code == 200, saved.text
    published = await client.post(f"/v1/challenges/{key}/publish", json={})
    assert published.status_code == 200, published.text
    answer: dict[str, Any] = published.json()
    return answer


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"levels": [{"level": "friend", "at": 2, "badge": {"badge": "friend"}}]}, "level_gone"),
        ({"window": {"every": "month"}}, "window_changed"),
    ],
)
async def test_publishing_warns_of_what_members_are_not_given_again(
    client: httpx.AsyncClient, change: dict[str, Any], code: str
) -> None:
    first = await publish(client, VISITS)
    assert code not in [finding["code"] for finding in first["findings"]]

    second = await publish(client, VISITS | change)

    assert code in [finding["code"] for finding in second["findings"]]


@pytest.mark.parametrize(
    "change",
    [{}, {"levels": [{"level": "friend", "at": 2, "points": 20}]}, {"window": {"every": "month"}}],
    ids=["same", "renamed", "window"],
)
async def test_a_dry_run_leaves_out_what_members_have_from_earlier_versions(
    client: httpx.AsyncClient, shop: Shop, change: dict[str, Any]
) -> None:
    await publish(client, VISITS)
    await shop.track("Store Visited", user_id="ann")
    await shop.track("Store Visited", user_id="ann")

    answer = (await client.post("/v1/challenges/visits/dry-run", json={"definition": VISITS | change})).json()

    assert [level["completions"] for level in answer["levels"]] == [0]
    assert (answer["points"], answer["already_given"], answer["sample"]) == (0, 1, [])
