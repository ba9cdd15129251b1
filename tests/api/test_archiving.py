"""Archiving what others need: refused with the users named."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from database.session import Database
from tests.factories_journeys import make_run

TEMPLATE = {"template": "hello", "subject": "Hello", "mjml": "<mjml><mj-body></mj-body></mjml>"}
FRAMED = TEMPLATE | {"mjml": "<mj-section></mj-section>"}
LAYOUT = {"template": "layout", "subject": "-", "mjml": "<mjml><mj-body><!-- content --></mj-body></mjml>"}
REWARD = {"reward": "gift", "gives": {"gift": "tea"}}
WAIT = {"wait": {"for": "1d"}, "id": "pause"}
USES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "templates": ({"send": {"template": "hello"}, "id": "it"}, TEMPLATE, "hello"),
    "rewards": ({"reward": {"give": "gift"}, "id": "it"}, REWARD, "gift"),
    "journeys": (
        {"start": {"journey": "other"}, "id": "it"},
        {"journey": "other", "enter": {"on": "api"}, "steps": [WAIT]},
        "other",
    ),
}


async def publish(client: httpx.AsyncClient, kind: str, key: str, document: dict[str, Any], **wish: Any) -> None:
    saved = await client.put(f"/v1/{kind}/{key}", json=document)
    assert saved.status_code == 200, saved.text
    published = await client.post(f"/v1/{kind}/{key}/publish", json=wish)
    assert published.status_code == 200, published.text


def journey(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"journey": "welcome", "purpose": "marketing", "enter": {"on": "api"}, "steps": list(steps)}


@pytest.mark.parametrize("kind", USES)
async def test_what_a_live_journey_uses_is_not_archived_and_the_answer_names_the_journey(
    client: httpx.AsyncClient, kind: str
) -> None:
    step, document, key = USES[kind]
    await publish(client, kind, key, document)
    await publish(client, "journeys", "welcome", journey(WAIT, step))

    refused = await client.post(f"/v1/{kind}/{key}/archive")

    assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
    assert refused.json()["users"] == [{"journey": "welcome", "version": 1, "step": "it"}]
    assert "welcome" in refused.json()["detail"]
    assert (await client.get(f"/v1/{kind}/{key}")).json()["state"] == "live"


async def test_a_paused_journey_still_uses_its_template_an_archived_one_does_not(client: httpx.AsyncClient) -> None:
    await publish(client, "templates", "hello", TEMPLATE)
    await publish(client, "journeys", "welcome", journey({"send": {"template": "hello"}}))
    await client.post("/v1/journeys/welcome/pause")

    assert (await client.post("/v1/templates/hello/archive")).status_code == 409

    await client.post("/v1/journeys/welcome/archive")
    assert (await client.post("/v1/templates/hello/archive")).json()["state"] == "archived"


async def test_runs_of_an_older_version_still_use_what_the_live_one_no_longer_does(
    client: httpx.AsyncClient, database: Database
) -> None:
    await publish(client, "templates", "hello", TEMPLATE)
    await publish(client, "journeys", "welcome", journey(WAIT, {"send": {"template": "hello"}, "id": "it"}))
    run = await make_run(database, "welcome", step="pause", outcome="waiting")
    await client.put("/v1/journeys/welcome", json=journey(WAIT))
    plan = (await client.post("/v1/journeys/welcome/publish", json={"dry_run": True})).json()
    await publish(client, "journeys", "welcome", journey(WAIT), plan=plan["plan"])

    refused = await client.post("/v1/templates/hello/archive")

    assert refused.json()["users"] == [{"journey": "welcome", "version": 1, "step": "it"}]
    await client.post(f"/v1/runs/{run}/exit")
    assert (await client.post("/v1/templates/hello/archive")).json()["state"] == "archived"


async def test_the_layout_is_used_by_journeys_that_send_a_template_in_it(client: httpx.AsyncClient) -> None:
    await publish(client, "templates", "layout", LAYOUT)
    await publish(client, "templates", "hello", TEMPLATE)
    await publish(client, "journeys", "welcome", journey({"send": {"template": "hello"}, "id": "it"}))
    assert (await client.post("/v1/templates/layout/archive")).json()["state"] == "archived"
    await publish(client, "templates", "layout", LAYOUT)
    await publish(client, "templates", "hello", FRAMED)

    refused = await client.post("/v1/templates/layout/archive")

    assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
    assert refused.json()["users"] == [{"journey": "welcome", "version": 1, "step": "it"}]


LEVEL = {"level": "done", "at": 3, "reward": "gift"}
CHALLENGE = {"challenge": "visits", "metric": {"count": "Store Visited"}, "levels": [LEVEL]}
CONTEST = {
    "contest": "spring",
    "entries": [{"rule": "order", "on": {"event": "Order Completed"}}],
    "prizes": [{"to_place": 1, "reward": "gift"}],
}
PROGRAMME = {
    "programme": "club",
    "earn": [],
    "referral": {"referrer": {"reward": "gift"}, "qualifies_on": {"event": "Order Completed"}},
}


@pytest.mark.parametrize(
    ("kind", "document", "user"),
    [
        ("challenges", CHALLENGE, {"challenge": "visits", "version": 1, "pointer": "/levels/0/reward"}),
        ("contests", CONTEST, {"contest": "spring", "version": 1, "pointer": "/prizes/0/reward"}),
        ("programmes", PROGRAMME, {"programme": "club", "version": 1, "pointer": "/referral/referrer/reward"}),
    ],
    ids=["challenge", "contest", "programme"],
)
async def test_a_reward_that_something_live_gives_is_not_archived(
    client: httpx.AsyncClient, kind: str, document: dict[str, Any], user: dict[str, Any]
) -> None:
    await publish(client, "rewards", "gift", REWARD)
    key = next(iter(document.values()))
    await publish(client, kind, key, document)

    refused = await client.post("/v1/rewards/gift/archive")

    assert (refused.status_code, refused.json()["code"], refused.json()["users"]) == (409, "in_use", [user])
    assert key in refused.json()["detail"]
    await client.post(f"/v1/{kind}/{key}/archive")
    assert (await client.post("/v1/rewards/gift/archive")).json()["state"] == "archived"


async def test_a_challenge_that_another_requires_is_not_archived(client: httpx.AsyncClient) -> None:
    first = {**CHALLENGE, "levels": [{"level": "done", "at": 3}]}
    await publish(client, "challenges", "visits", first)
    await publish(client, "challenges", "regulars", first | {"challenge": "regulars", "requires": ["visits"]})

    refused = await client.post("/v1/challenges/visits/archive")

    assert refused.json()["users"] == [{"challenge": "regulars", "version": 1, "pointer": "/requires/0"}]


async def test_archiving_and_publishing_at_once_leave_nothing_live_without_what_it_needs(
    client: httpx.AsyncClient,
) -> None:
    for round_ in range(8):
        gift, key = f"gift-{round_}", f"visits-{round_}"
        await publish(client, "rewards", gift, {"reward": gift, "gives": {"gift": "tea"}})
        challenge = CHALLENGE | {"challenge": key, "levels": [LEVEL | {"reward": gift}]}
        assert (await client.put(f"/v1/challenges/{key}", json=challenge)).status_code == 200

        published, archived = await asyncio.gather(
            client.post(f"/v1/challenges/{key}/publish", json={}), client.post(f"/v1/rewards/{gift}/archive")
        )

        assert sorted([published.status_code, archived.status_code]) == [200, 409], (published.text, archived.text)
        code = (published if published.status_code == 409 else archived).json()["code"]
        assert code == ("checks_failed" if published.status_code == 409 else "in_use")
