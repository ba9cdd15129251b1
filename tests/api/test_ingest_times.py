"""The times of events that come in: clocks that are off, times that are absurd or cannot be read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from database.session import Database
from tests.api.ingesting import a_track, stored, stored_one


async def test_the_clock_of_the_sender_is_corrected(shop: httpx.AsyncClient, database: Database) -> None:
    """timestamp = receivedAt - (sentAt - originalTimestamp)."""
    wrong = datetime.now(UTC) - timedelta(days=400)
    sent = {"timestamp": (wrong - timedelta(minutes=10)).isoformat(), "sentAt": wrong.isoformat()}

    await shop.post("/v1/track", json=a_track() | sent)

    event = await stored_one(database)
    assert event["received_at"] - event["timestamp"] == timedelta(minutes=10)
    assert event["sent_timestamp"] == sent["timestamp"]


async def test_a_batch_has_one_sent_at_for_all(shop: httpx.AsyncClient, database: Database) -> None:
    claimed = datetime(2026, 1, 1, 12, tzinfo=UTC)
    item = a_track(timestamp="2026-01-01T12:00:00.000Z")

    await shop.post("/v1/batch", json={"batch": [item], "sentAt": (claimed + timedelta(hours=2)).isoformat()})

    event = await stored_one(database)
    assert event["received_at"] - event["timestamp"] == timedelta(hours=2)


async def test_imported_history_keeps_its_times(shop: httpx.AsyncClient, database: Database) -> None:
    item = a_track(timestamp="2024-01-01T12:00:00Z", sentAt="2024-01-01T12:00:01Z")

    await shop.post("/v1/import", json={"batch": [item], "sentAt": "2026-11-21T00:00:00Z"})

    event = await stored_one(database)
    assert (event["timestamp"], event["sent_timestamp"]) == (datetime(2024, 1, 1, 12, tzinfo=UTC), None)


@pytest.mark.parametrize(
    ("claimed", "stands"),
    [
        ("2026-01-02T03:04:05", True),
        ("2026-01-02T03:04:05.123456789Z", True),
        ("2026-01-02", True),
        (1_767_323_045, True),
        (1_767_323_045_000, True),
        ("9999-12-31T23:59:59-23:59", False),
        ("0001-01-01T00:00:00+14:00", False),
        ("1970-01-01T00:00:00Z", False),
    ],
)
async def test_absurd_times_become_the_time_of_receipt_and_the_original_is_kept(
    shop: httpx.AsyncClient, database: Database, claimed: object, stands: bool
) -> None:
    answer = await shop.post("/v1/track", json=a_track(timestamp=claimed))

    assert answer.status_code == 200, answer.text
    event = await stored_one(database)
    assert (event["timestamp"] == event["received_at"]) is not stands
    assert event["sent_timestamp"] == (None if stands else claimed)


async def test_nothing_happens_after_it_was_received(shop: httpx.AsyncClient, database: Database) -> None:
    now = datetime.now(UTC)
    claimed = [(now + timedelta(minutes=minutes)).isoformat() for minutes in (2, 20 * 60, 9 * 365 * 24 * 60)]

    for path in ("/v1/batch", "/v1/import"):
        await shop.post(path, json={"batch": [a_track(timestamp=each) for each in claimed]})

    events = await stored(database)
    assert [event["sent_timestamp"] for event in events] == claimed * 2
    assert all(event["timestamp"] == event["received_at"] for event in events)


@pytest.mark.parametrize(
    "claimed",
    ["yesterday", {}, [1], True, "+275760-09-13T00:00:00Z", "10013-01-01T00:00:00Z", 1e300, -1e300, "x" * 999],
)
@pytest.mark.parametrize("member", ["timestamp", "originalTimestamp", "sentAt"])
async def test_a_time_that_cannot_be_read_costs_the_event_its_time_and_never_the_event(
    shop: httpx.AsyncClient, database: Database, member: str, claimed: object
) -> None:
    answers = [
        await shop.post("/v1/track", json=a_track() | {member: claimed}),
        await shop.post("/v1/batch", json={"batch": [a_track() | {member: claimed}], member: claimed}),
    ]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[1].json()["accepted"] == 1
    for event in await stored(database):
        assert event["timestamp"] == event["sent"] == event["received_at"]
        assert event["sent_timestamp"] == (None if member == "sentAt" else str(claimed)[:100])


async def test_a_readable_time_beside_an_unreadable_one_counts(shop: httpx.AsyncClient, database: Database) -> None:
    await shop.post("/v1/track", json=a_track(originalTimestamp="soon", timestamp="2026-01-02T03:04:05Z"))

    assert (await stored_one(database))["timestamp"] == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


async def test_a_clock_that_is_off_by_no_more_than_a_latency_is_believed(
    shop: httpx.AsyncClient, database: Database
) -> None:
    now = datetime.now(UTC)
    claimed, sent = now - timedelta(minutes=10), now - timedelta(seconds=45)

    await shop.post("/v1/batch", json={"batch": [a_track(timestamp=claimed.isoformat())], "sentAt": sent.isoformat()})

    event = await stored_one(database)
    assert (event["timestamp"], event["sent"], event["sent_timestamp"]) == (claimed, sent, None)
