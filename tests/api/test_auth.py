"""Keys over HTTP: who may come in, with what, until when."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from database import keys
from database.session import Database
from domain.errors import Invalid
from domain.keys import KeyKind, Scope, read_id
from tests.api.toy import make_key, toy_client


async def status_with(database: Database, path: str, authorization: str | None) -> int:
    async with toy_client(database) as client:
        headers = {"Authorization": authorization} if authorization else {}
        return (await client.get(path, headers=headers)).status_code


async def test_a_key_opens_what_its_scope_covers_and_nothing_else(database: Database) -> None:
    reader = await make_key(database, "reader", KeyKind.SECRET, Scope.CUSTOMERS_READ)
    writer = await make_key(database, "writer", KeyKind.SECRET, Scope.CUSTOMERS_WRITE)
    stranger = await make_key(database, "stranger", KeyKind.SECRET, Scope.JOURNEYS_WRITE)
    admin = await make_key(database, "admin", KeyKind.SECRET, Scope.ADMIN)

    answers = [await status_with(database, "/toys", f"Bearer {key}") for key in (reader, writer, stranger, admin)]

    assert answers == [200, 200, 403, 200]


async def test_without_a_good_key_the_answer_is_401_and_says_what_to_send(database: Database) -> None:
    good = await make_key(database, "good", KeyKind.SECRET, Scope.ADMIN)
    async with toy_client(database) as client:
        for bad in (
            "",
            "Bearer",
            "Bearer nonsense",
            f"Bearer {good[:-1]}",
            f"Digest {good}",
            "Basic %%%",
            "Basic /w==",
        ):
            answer = await client.get("/toys", headers={"Authorization": bad})
            assert answer.status_code == 401, bad
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.json()["code"].startswith("key_")
            assert answer.json()["message"] == answer.json()["detail"]


async def test_a_key_may_also_come_as_basic_user(database: Database) -> None:
    key = await make_key(database, "admin", KeyKind.SECRET, Scope.ADMIN)

    assert await status_with(database, "/toys", "Basic " + base64.b64encode(f"{key}:".encode()).decode()) == 200


async def test_a_rotated_key_keeps_its_old_secret_for_the_overlap_only(database: Database) -> None:
    old = await make_key(database, "admin", KeyKind.SECRET, Scope.ADMIN)
    key_id = read_id(old)
    assert key_id is not None
    now = datetime.now(UTC)
    async with database.transaction() as session:
        new = await keys.rotate(session, key_id, now, timedelta(hours=1))
    assert [await status_with(database, "/toys", f"Bearer {key}") for key in (old, new)] == [200, 200]

    async with database.transaction() as session:
        newest = await keys.rotate(session, key_id, now, timedelta(0))

    assert [await status_with(database, "/toys", f"Bearer {key}") for key in (old, new, newest)] == [401, 401, 200]


async def test_a_revoked_key_is_refused_at_once(database: Database) -> None:
    key = await make_key(database, "admin", KeyKind.SECRET, Scope.ADMIN)
    async with toy_client(database) as client:
        client.headers["Authorization"] = f"Bearer {key}"
        assert (await client.get("/toys")).status_code == 200
        async with database.transaction() as session:
            await keys.revoke(session, read_id(key) or "", datetime.now(UTC))

        assert (await client.get("/toys")).status_code == 401


async def test_the_last_use_of_a_key_is_recorded_and_its_secret_is_not(database: Database) -> None:
    key = await make_key(database, "admin", KeyKind.SECRET, Scope.ADMIN)
    await status_with(database, "/toys", f"Bearer {key}")

    async with database.read() as session:
        (stored,) = await keys.everything(session)

    assert stored.last_used_at is not None
    assert key.encode() not in stored.secret_hash


async def test_a_browser_key_may_only_bring_events(database: Database) -> None:
    with pytest.raises(Invalid) as refused:
        await make_key(database, "web", KeyKind.BROWSER, Scope.EVENTS_WRITE, Scope.CUSTOMERS_READ)

    assert refused.value.code == "scope_not_allowed"


async def test_asking_too_fast_is_answered_429_with_when_to_come_back(database: Database) -> None:
    key = await make_key(database, "admin", KeyKind.SECRET, Scope.ADMIN)
    async with toy_client(database, burst=3) as client:
        client.headers["Authorization"] = f"Bearer {key}"
        answers = [await client.get("/toys") for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    refusal: httpx.Response = answers[-1]
    assert int(refusal.headers["retry-after"]) >= 1
    assert refusal.headers["ratelimit"] == '"default";r=0;t=10'
    assert refusal.headers["x-ratelimit-remaining"] == "0"
    assert refusal.json()["code"] == "rate_limited"
