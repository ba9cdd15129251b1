"""The loyalty programme over HTTP: its life as a document, and that one is live at most."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from database.programmes import live_programme, programme_at
from database.session import Database
from tests.factories import NOON


def document(**members: Any) -> dict[str, Any]:
    """A programme that pays for reviews."""
    rule = {"rule": "review", "on": {"event": "Product Reviewed"}, "amount": {"points": 50}}
    return {"zone": "Europe/Berlin", "earn": [rule], **members}


async def publish(client: httpx.AsyncClient, key: str, **members: Any) -> httpx.Response:
    saved = await client.put(f"/v1/programmes/{key}", json=document(**members))
    assert saved.status_code == 200, saved.text
    return await client.post(f"/v1/programmes/{key}/publish", json={})


async def test_a_programme_is_saved_and_published(client: httpx.AsyncClient, database: Database) -> None:
    published = await publish(client, "main")

    assert published.status_code == 200, published.text
    async with database.read() as session:
        live = await live_programme(session)
    assert live is not None
    assert (live.key, live.version, live.zone.key) == ("main", 1, "Europe/Berlin")
    assert live.definition.earn[0].rule == "review"


async def test_a_second_programme_is_refused_while_one_is_live(client: httpx.AsyncClient) -> None:
    await publish(client, "main")
    refused = await publish(client, "other")
    again = await publish(client, "main")
    await client.post("/v1/programmes/main/archive", json={})
    instead = await publish(client, "other")

    assert refused.status_code == 409
    assert refused.json()["code"] == "programme_live"
    assert again.json()["version"] == 2
    assert instead.status_code == 200


async def test_of_two_first_programmes_published_at_once_one_goes_live(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(publish(client, key) for key in ("one", "two", "three")))

    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]


async def test_a_programme_with_faults_is_kept_but_not_published(client: httpx.AsyncClient) -> None:
    saved = await client.put("/v1/programmes/main", json=document(zone="Europe/Atlantis"))
    refused = await client.post("/v1/programmes/main/publish", json={})

    assert [finding["code"] for finding in saved.json()["findings"] if finding["severity"] == "error"] == [
        "unknown_zone"
    ]
    assert refused.status_code == 409


async def test_a_moment_has_the_version_that_was_live_then(client: httpx.AsyncClient, database: Database) -> None:
    await publish(client, "main")
    await publish(client, "main", name="Second")

    async with database.read() as session:
        second = await live_programme(session)
        assert second is not None
        before_all = await programme_at(session, NOON.replace(year=2020))
        just_before = await programme_at(session, second.published_at.replace(microsecond=0).replace(year=2020))
        at = await programme_at(session, second.published_at)

    assert [version and version.version for version in (before_all, just_before, at)] == [1, 1, 2]


async def test_without_a_programme_nothing_is_live(database: Database) -> None:
    async with database.read() as session:
        assert await live_programme(session) is None
