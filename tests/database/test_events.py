"""Appending events: once per (source, messageId), for ever, whatever is retried, in whatever order, by however many."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from database.events import AppendResult, append
from database.session import Database
from domain.events import EventKind, NewEvent

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def an_event(message_id: str = "m-1", source: str = "shop", **fields: object) -> NewEvent:
    given: dict[str, object] = {"kind": EventKind.TRACK, "name": "Product Viewed", "user_id": "ann"} | fields
    return NewEvent(source=source, message_id=message_id, timestamp=NOW, received_at=NOW, **given)  # type: ignore[arg-type]


async def store(database: Database, *events: NewEvent) -> AppendResult:
    async with database.transaction() as session:
        return await append(session, events)


async def stored(database: Database) -> list[tuple[str, str, object]]:
    async with database.read() as session:
        rows = await session.execute(text("SELECT source, message_id, properties->'n' FROM events ORDER BY 1, 2"))
        keys = await session.execute(text("SELECT source, message_id FROM event_keys ORDER BY 1, 2"))
        events = [tuple(row) for row in rows]
        assert [(source, message_id) for source, message_id, _ in events] == [tuple(row) for row in keys]
        return events


async def test_an_event_is_stored_with_everything_it_carries(database: Database) -> None:
    event = an_event(
        user_id=None,
        anonymous_id="anon-1",
        properties={"price": 12.5, "name": "Tee ✓"},
        traits={"plan": "gold"},
        context={"ip": "1.2.3.4"},
        sent_timestamp="2026-11-21T09:00:00Z",
        trusted=False,
        depth=2,
    )

    assert await store(database, event) == AppendResult(accepted=(0,), duplicates=(), conflicts=())

    async with database.read() as session:
        row = (await session.execute(text("SELECT * FROM events"))).mappings().one()
    assert (row["id"], row["subject"], row["user_id"], row["anonymous_id"]) == (event.id, "a:anon-1", None, "anon-1")
    assert (row["properties"], row["traits"], row["context"]) == (event.properties, event.traits, event.context)
    assert (row["timestamp"], row["received_at"], row["sent_timestamp"]) == (NOW, NOW, "2026-11-21T09:00:00Z")
    assert (row["status"], row["trusted"], row["depth"], row["kind"]) == ("pending", False, 2, "track")


async def test_a_retry_is_a_duplicate_and_another_body_under_the_same_id_a_conflict(database: Database) -> None:
    await store(database, an_event(properties={"n": 1}))

    again = await store(database, an_event(properties={"n": 1}), an_event(properties={"n": 2}), an_event("m-2"))

    assert again == AppendResult(accepted=(2,), duplicates=(0,), conflicts=(1,))
    assert await stored(database) == [("shop", "m-1", 1), ("shop", "m-2", None)]


async def test_twins_in_one_batch_are_stored_once_and_the_first_is_kept(database: Database) -> None:
    result = await store(database, *(an_event(properties={"n": n}) for n in (1, 1, 2)))

    assert result == AppendResult(accepted=(0,), duplicates=(1,), conflicts=(2,))
    assert await stored(database) == [("shop", "m-1", 1)]


async def test_two_sources_may_use_the_same_message_id(database: Database) -> None:
    result = await store(database, an_event(source="shop"), an_event(source="till"))

    assert result.accepted == (0, 1)


async def test_an_empty_batch_stores_nothing(database: Database) -> None:
    assert await store(database) == AppendResult((), (), ())


async def test_a_retry_that_waits_for_its_first_try_learns_whether_it_is_a_duplicate_or_a_conflict(
    database: Database,
) -> None:
    async with database.transaction() as first:
        await append(first, [an_event("m-1", properties={"n": 1}), an_event("m-2", properties={"n": 1})])
        waiting = asyncio.create_task(
            store(database, an_event("m-1", properties={"n": 1}), an_event("m-2", properties={"n": 2}))
        )
        await _until_somebody_waits(database)

    assert await waiting == AppendResult(accepted=(), duplicates=(0,), conflicts=(1,))


async def test_overlapping_batches_in_any_order_never_deadlock(database: Database) -> None:
    ids = [f"m-{n}" for n in range(200)]

    async def one_client(seed: int) -> AppendResult:
        shuffled = random.Random(seed).sample(ids, k=150)
        return await store(database, *(an_event(message_id) for message_id in shuffled))

    results = await asyncio.gather(*(one_client(seed) for seed in range(8)))

    assert sum(len(result.accepted) for result in results) == len(await stored(database))


TRIES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1)), max_size=12)


@pytest.mark.parametrize("announce", [True, False])
async def test_nothing_is_announced_before_the_commit(database: Database, announce: bool) -> None:
    heard = asyncio.Event()
    async with database.engine.connect() as listener:
        connection = (await listener.get_raw_connection()).driver_connection
        assert connection is not None
        await connection.add_listener("events", lambda *_: heard.set())
        async with database.transaction() as session:
            await append(session, [an_event()], announce=announce)
            await asyncio.sleep(0.02)
            assert not heard.is_set()
        if announce:
            await asyncio.wait_for(heard.wait(), timeout=60)
        await asyncio.sleep(0.02)
        assert heard.is_set() is announce


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(TRIES, max_size=4))
def test_any_multiset_of_retries_leaves_the_same_database_as_the_set(
    database_url: str, batches: list[list[tuple[int, int]]]
) -> None:
    """G2: whatever is sent again, alone or in batches, the first body of each (source, messageId) is there once."""
    expected: dict[str, int] = {}
    for message, body in (attempt for batch in batches for attempt in batch):
        expected.setdefault(f"m-{message}", body)

    async def send_and_look() -> list[tuple[str, str, object]]:
        database = Database(database_url)
        try:
            async with database.transaction() as session:
                await session.execute(text("DELETE FROM events"))
                await session.execute(text("DELETE FROM event_keys"))
            for batch in batches:
                result = await store(database, *(an_event(f"m-{m}", properties={"n": body}) for m, body in batch))
                assert len(result.accepted) + len(result.duplicates) + len(result.conflicts) == len(batch)
            return await stored(database)
        finally:
            await database.close()

    assert asyncio.run(send_and_look()) == [("shop", message, body) for message, body in sorted(expected.items())]


async def _until_somebody_waits(database: Database) -> None:
    waits = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    async with asyncio.timeout(60), database.read() as session:
        while True:
            await session.execute(text("SET LOCAL ROLE NONE"))  # the application itself may not look
            if await session.scalar(waits):
                break
            await session.rollback()
            await asyncio.sleep(0.01)
