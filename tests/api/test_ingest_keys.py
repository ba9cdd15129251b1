"""With which keys events are taken in, and until when."""

from __future__ import annotations

import asyncio
import base64
import time
from datetime import UTC, datetime, timedelta

import httpx

from database import keys
from database.session import Database
from domain.keys import KeyKind, Scope, read_id
from tests.api.conftest import ApiServer
from tests.api.ingesting import a_track, stored, stored_one


async def test_the_key_may_come_as_bearer_as_basic_or_in_the_body(api_server: ApiServer, database: Database) -> None:
    key = api_server.write_key
    basic = "Basic " + base64.b64encode(f"{key}:".encode()).decode()
    async with httpx.AsyncClient(base_url=api_server.url, timeout=30) as client:
        ways: list[tuple[dict[str, str], dict[str, str]]] = [
            ({"Authorization": f"Bearer {key}"}, {}),
            ({"Authorization": basic}, {}),
            ({}, {"writeKey": key}),
        ]
        for number, (headers, members) in enumerate(ways):
            single = a_track(f"single-{number}") | members
            batch: dict[str, object] = {"batch": [a_track(f"batch-{number}")], **members}
            assert (await client.post("/v1/track", json=single, headers=headers)).status_code == 200
            assert (await client.post("/v1/batch", json=batch, headers=headers)).status_code == 200

    assert len(await stored(database)) == 6


async def test_without_a_key_for_events_nothing_is_taken(api_server: ApiServer, database: Database) -> None:
    async with database.transaction() as session:
        _, reader = await keys.create(session, "reader", KeyKind.SECRET, frozenset({Scope.CUSTOMERS_READ}))
    async with httpx.AsyncClient(base_url=api_server.url, timeout=30) as client:
        ways: list[tuple[dict[str, str], dict[str, object]]] = [
            ({}, {}),
            ({"Authorization": "Bearer nonsense"}, {}),
            ({}, {"writeKey": "nonsense"}),
            ({}, {"writeKey": 7}),
            ({"Authorization": f"Bearer {reader}"}, {}),
        ]
        answers = [
            await client.post(path, json={"batch": [a_track()], **a_track(), **members}, headers=headers)
            for path in ("/v1/track", "/v1/batch")
            for headers, members in ways
        ]

    assert [answer.status_code for answer in answers] == [401, 401, 401, 401, 403] * 2
    assert all({"code", "message"} <= answer.json().keys() for answer in answers)
    assert await stored(database) == []


async def test_events_of_a_browser_are_not_trusted(api_server: ApiServer, database: Database) -> None:
    async with httpx.AsyncClient(base_url=api_server.url, timeout=30) as client:
        await client.post("/v1/track", json=a_track("m-1", writeKey=api_server.browser_key))

    event = await stored_one(database)
    assert (event["trusted"], event["source"]) == (False, "browser")


async def test_rotating_the_key_does_not_let_old_messages_in_again(
    api_server: ApiServer, shop: httpx.AsyncClient, database: Database
) -> None:
    await shop.post("/v1/track", json=a_track("m-1"))
    async with database.transaction() as session:
        key_id = read_id(api_server.write_key) or ""
        new = await keys.rotate(session, key_id, datetime.now(UTC), timedelta(hours=1))

    answer = await shop.post("/v1/batch", json={"batch": [a_track("m-1")]}, headers={"Authorization": f"Bearer {new}"})
    while answer.status_code == 401:  # the write key is remembered for a second
        await asyncio.sleep(0.05)
        answer = await shop.post(
            "/v1/batch", json={"batch": [a_track("m-1")]}, headers={"Authorization": f"Bearer {new}"}
        )

    assert answer.json()["duplicates"] == 1


async def test_a_revoked_write_key_ends_within_two_seconds(
    api_server: ApiServer, shop: httpx.AsyncClient, database: Database
) -> None:
    await shop.post("/v1/track", json=a_track())
    async with database.transaction() as session:
        await keys.revoke(session, read_id(api_server.write_key) or "", datetime.now(UTC))
    revoked_at = asked_at = time.monotonic()

    while (await shop.post("/v1/track", json=a_track())).status_code != 401:
        assert asked_at - revoked_at < 2
        await asyncio.sleep(0.05)
        asked_at = time.monotonic()
