"""G30: events of one instant count in the order in which the client made them, whatever the network and routers do."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text

from database.customers import Customer
from database.session import Database
from tests.api.conftest import ApiServer
from tests.triggers.shop import Shop

PEOPLE = 12
CALLS = 4  # of each person, all of one instant

Item = dict[str, Any]  # one call, as JSON


def calls(chance: random.Random, *, whole_seconds: bool) -> list[Item]:
    """What the clients' queue holds: everybody's calls, interleaved, each with the time at which it was made."""
    now = datetime.now(UTC) - timedelta(minutes=5)
    at = now.replace(microsecond=0 if whole_seconds else now.microsecond // 1_000 * 1_000)
    order = chance.sample([person for person in range(PEOPLE) for _ in range(CALLS)], PEOPLE * CALLS)
    made: dict[int, int] = {}
    items = []
    for person in order:
        made[person] = made.get(person, 0) + 1
        message_id = f"{chance.getrandbits(64):016x}"  # says nothing of the order
        traits = {"plan": f"plan-{made[person]}"}
        items.append(
            {"type": "identify", "userId": f"u-{person}", "messageId": message_id, "traits": traits}
            | {"timestamp": at.isoformat()}
        )
    return items


def cut(chance: random.Random, items: Sequence[Item], most: int) -> Iterator[list[Item]]:
    """Batches of at most so many."""
    start = 0
    while start < len(items):
        size = chance.randint(1, most)
        yield list(items[start : start + size])
        start += size


class Network:
    """Posts batches, each with its own `sentAt`, and loses some of them or their answers."""

    def __init__(self, chance: random.Random, server: ApiServer) -> None:
        self._chance = chance
        self._server = server
        self._clock = datetime.now(UTC) - timedelta(seconds=5)  # no latency: it would be a wrong clock after a minute

    def stamped(self, batch: list[Item]) -> dict[str, Any]:
        """The body of a call that leaves now."""
        self._clock += timedelta(milliseconds=self._chance.randint(1, 9))
        return {"batch": batch, "sentAt": self._clock.isoformat(timespec="milliseconds")}

    async def post(self, *bodies: dict[str, Any]) -> None:
        """Deliver them, in this order."""
        auth = (self._server.write_key, "")
        async with httpx.AsyncClient(base_url=self._server.url, auth=auth, timeout=30) as client:
            for body in bodies:
                (await client.post("/v1/batch", json=body)).raise_for_status()


async def route_shuffled(chance: random.Random, database: Database) -> None:
    """Route half of what is stored before the other half."""
    shop = Shop(database, now=datetime.now(UTC))
    async with database.transaction() as session:
        ids = list((await session.execute(text("SELECT id FROM events"))).scalars())
        held = chance.sample(ids, len(ids) // 2)
        await session.execute(
            text("UPDATE events SET not_before = now() + interval '1 day' WHERE id = ANY(:ids)"), {"ids": held}
        )
    await shop.route(limit=7)
    async with database.transaction() as session:
        await session.execute(text("UPDATE events SET not_before = NULL WHERE status = 'pending'"))
    await shop.route(limit=7)


async def plans(database: Database) -> set[str]:
    async with database.read() as session:
        return {traits["plan"] for traits in (await session.execute(select(Customer.traits))).scalars()}


@pytest.mark.parametrize("whole_seconds", [False, True])
@pytest.mark.parametrize("seed", range(3))
async def test_the_last_call_of_an_instant_wins_in_whatever_way_batches_are_cut_retried_delivered_and_routed(
    api_server: ApiServer, database: Database, seed: int, whole_seconds: bool
) -> None:
    chance = random.Random(f"{seed}/{whole_seconds}")
    items = calls(chance, whole_seconds=whole_seconds)
    network = Network(chance, api_server)
    first = [network.stamped(batch) for batch in cut(chance, items, 9)]
    await network.post(*chance.sample(first, len(first)))  # parallel requests overtake each other
    again = [network.stamped(batch) for batch in cut(chance, items, 5)]  # the client heard of none: all leave again
    await network.post(*chance.sample(again, len(again)))

    await route_shuffled(chance, database)

    assert await plans(database) == {f"plan-{CALLS}"}


async def test_what_a_retry_brings_for_the_first_time_counts_by_when_it_left(
    api_server: ApiServer, database: Database
) -> None:
    chance = random.Random(1)
    items = calls(chance, whole_seconds=True)
    middle = len(items) // 2
    network = Network(chance, api_server)
    await network.post(network.stamped(items[:middle]))
    network.stamped(items[middle:])  # lost on its way
    await network.post(*(network.stamped(batch) for batch in cut(chance, items, 7)))

    await route_shuffled(chance, database)

    assert await plans(database) == {f"plan-{CALLS}"}


async def test_a_retry_changes_neither_the_time_nor_the_place_of_what_was_stored(
    api_server: ApiServer, database: Database
) -> None:
    chance = random.Random(2)
    items = calls(chance, whole_seconds=True)
    network = Network(chance, api_server)
    await network.post(network.stamped(items))
    before = await _rows(database)

    await network.post(*(network.stamped(batch) for batch in cut(chance, items[::-1], 3)))

    assert await _rows(database) == before
    assert [row[0] for row in before] == [item["messageId"] for item in items]


async def _rows(database: Database) -> list[tuple[Any, ...]]:
    async with database.read() as session:
        rows = await session.execute(text("SELECT message_id, id, timestamp, sent FROM events ORDER BY id"))
        return [tuple(row) for row in rows]
