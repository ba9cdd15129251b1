"""Archiving what journeys need: refused with the journeys named."""

from __future__ import annotations

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
