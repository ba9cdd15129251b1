"""A request that is sent again while the first runs: it waits without a connection, and not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from api import idempotency
from database.session import Database
from domain.keys import KeyKind, Scope
from tests.api.toy import MAY_END, UNDER_WAY, make_key, toy_client

SLOW = {"name": "bear", "mood": "slow"}


@pytest.fixture(autouse=True)
def nothing_is_under_way() -> Iterator[None]:
    yield
    UNDER_WAY.clear()
    MAY_END.clear()


async def test_whoever_repeats_a_running_request_holds_no_connection_and_gets_the_first_answer(
    database_url: str, database: Database
) -> None:
    key = await make_key(database, "admin", KeyKind.SECRET, Scope.ADMIN)
    pair = Database(database_url, pool_size=2)  # the one that runs holds one; six that repeat it share the other
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "one"}
    async with toy_client(pair) as client:
        asked = [asyncio.create_task(client.post("/toys", json=SLOW, headers=headers)) for _ in range(7)]
        await UNDER_WAY.wait()
        await asyncio.sleep(0.5)  # the others ask meanwhile
        MAY_END.set()
        answers = await asyncio.gather(*asked)
    await pair.close()

    assert [(answer.status_code, answer.json()["count"]) for answer in answers] == [(201, 1)] * 7


async def test_a_request_that_runs_too_long_is_said_to_be_in_progress(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "PATIENCE_SECONDS", 0.3)
    key = await make_key(database, "admin", KeyKind.SECRET, Scope.ADMIN)
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "one"}
    async with toy_client(database) as client:
        first = asyncio.create_task(client.post("/toys", json=SLOW, headers=headers))
        await UNDER_WAY.wait()
        again = await client.post("/toys", json=SLOW, headers=headers)
        MAY_END.set()

        assert (again.status_code, again.json()["code"]) == (409, "idempotency_in_progress")
        assert (await first).status_code == 201
