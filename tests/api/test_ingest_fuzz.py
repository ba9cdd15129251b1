"""G3: whatever is in a batch, each item is accepted, a duplicate or rejected, and nothing else happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from api.app import create_app
from api.dependencies import ApiDependencies
from database.session import Database
from domain.keys import KeyKind, Scope
from tests.api.toy import make_key

ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
SOME_IDS = st.sampled_from(["ann", "bob", "", None, 7, "x" * 300, "ü/%@+", "a\0b"]) | ANY_JSON
MESSAGES = st.fixed_dictionaries(
    {"type": st.sampled_from(["track", "identify", "page", "screen", "group", "alias"]) | ANY_JSON},
    optional={
        "event": st.sampled_from(["Product Added", "Completed Order", ""]) | ANY_JSON,
        "messageId": st.sampled_from(["m-1", "m-2", "m-3", None]) | ANY_JSON,
        "timestamp": st.sampled_from(["2026-01-01T00:00:00Z", "9999-12-31T23:59:59+00:00", "soon", 1e300]) | ANY_JSON,
        "sentAt": st.datetimes().map(lambda time: time.isoformat()) | ANY_JSON,
        "properties": st.dictionaries(st.text(max_size=5), ANY_JSON, max_size=3) | ANY_JSON,
        "traits": st.dictionaries(st.text(max_size=5), ANY_JSON, max_size=3) | ANY_JSON,
        "context": st.dictionaries(st.text(max_size=5), ANY_JSON, max_size=3) | ANY_JSON,
        **dict.fromkeys(("userId", "anonymousId", "groupId", "previousId"), SOME_IDS),
    },
)
WRITTEN = (MESSAGES | ANY_JSON).map(orjson.dumps)
BROKEN = st.sampled_from(
    [
        b"NaN",
        b'{"a": "\\ud800"}',
        b'"\xff"',
        b"{]" + b"}",
        b'{"type" "track"}',
        b"1e999",
        b"[" * 2_000 + b"]" * 2_000,
        b"tru",
    ]
)


Post = Callable[[bytes], tuple[httpx.Response, int]]


@pytest.fixture
def post(database_url: str) -> Iterator[Post]:
    """Posts one batch to an API with an empty database; gives the answer and how many events are stored after it."""
    with asyncio.Runner() as runner:
        database = Database(database_url)
        key = runner.run(make_key(database, "server", KeyKind.SECRET, Scope.EVENTS_WRITE))
        transport = httpx.ASGITransport(app=create_app(ApiDependencies(database=database)))
        client = httpx.AsyncClient(
            transport=transport, base_url="http://perennial.test", headers={"Authorization": f"Bearer {key}"}
        )

        async def post_and_count(body: bytes) -> tuple[httpx.Response, int]:
            async with database.transaction() as session:
                await session.execute(text("DELETE FROM events"))
                await session.execute(text("DELETE FROM event_keys"))
            answer = await client.post("/v1/batch", content=body)
            async with database.read() as session:
                return answer, await session.scalar(text("SELECT count(*) FROM events")) or 0

        yield lambda body: runner.run(post_and_count(body))
        runner.run(client.aclose())
        runner.run(database.close())


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(WRITTEN | BROKEN, max_size=8))
def test_each_item_is_accepted_a_duplicate_or_rejected(post: Post, items: list[bytes]) -> None:
    answer, stored = post(b'{"batch": [' + b", ".join(items) + b"]}")

    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    assert told["accepted"] + told["duplicates"] + len(told["rejected"]) == len(items)
    assert told["accepted"] == stored
    assert [refusal["index"] for refusal in told["rejected"]] == sorted({r["index"] for r in told["rejected"]})
    assert all(refusal["code"] and refusal["message"] for refusal in told["rejected"])
