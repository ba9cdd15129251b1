"""Workflows that the relay starts per second out of the outbox, against bare calls of Temporal's client.

Nobody works on them: this is the price of starting alone. Both have as many calls under way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any  # payloads are any JSON
from uuid import uuid4

from temporalio.client import Client
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from benchmarks.figure import Figure
from benchmarks.world import World
from database.outbox import CommandKind, NewCommand, add_commands
from database.session import Database
from triggers.relay import Relay

STARTS = 400
AT_ONCE = 64
_QUEUE = "nobody"
_WORKFLOW = "abandoned-cart"


async def measure(world: World) -> Sequence[Figure]:
    """One row."""
    client = await world.client()
    database = Database(await world.new_database(), pool_size=4)
    try:
        await _relayed(client, database, 50)  # warms the server
        floor = await _bare(client)
        ours = await _relayed(client, database, STARTS)
    finally:
        await database.close()
    return [Figure("workflow starts through the relay", ours, "starts/s", floor, "bare client")]


async def _relayed(client: Client, database: Database, count: int) -> float:
    commands = [NewCommand(CommandKind.START, f"benchmark/relay/{uuid4()}", _payload()) for _ in range(count)]
    async with database.transaction() as session:
        await add_commands(session, commands)
    relay = Relay(database, client, calls_at_once=AT_ONCE)
    started = time.perf_counter()
    while (await relay.relay_once()).done:
        pass
    return count / (time.perf_counter() - started)


async def _bare(client: Client) -> float:
    slots = asyncio.Semaphore(AT_ONCE)

    async def start() -> None:
        payload = _payload()
        async with slots:
            await client.start_workflow(
                _WORKFLOW,
                payload["input"],
                id=f"benchmark/bare/{uuid4()}",
                task_queue=_QUEUE,
                search_attributes=_attributes(payload["attributes"]),
                static_summary=payload["summary"],
                static_details=payload["details"],
            )

    started = time.perf_counter()
    await asyncio.gather(*(start() for _ in range(STARTS)))
    return STARTS / (time.perf_counter() - started)


def _payload() -> dict[str, Any]:
    customer = str(uuid4())
    return {
        "workflow": _WORKFLOW,
        "input": {"run_id": str(uuid4()), "customer_id": customer, "journey": _WORKFLOW, "version": 1},
        "queue": _QUEUE,
        "attributes": {"CustomerId": customer, "Journey": _WORKFLOW, "JourneyVersion": 1, "RunState": "active"},
        "summary": "Abandoned cart, version 1",
        "details": f"customer {customer}",
    }


def _attributes(told: Mapping[str, Any]) -> TypedSearchAttributes:
    keywords = {name: value for name, value in told.items() if isinstance(value, str)}
    version = SearchAttributePair(SearchAttributeKey.for_int("JourneyVersion"), told["JourneyVersion"])
    words = [SearchAttributePair(SearchAttributeKey.for_keyword(name), value) for name, value in keywords.items()]
    return TypedSearchAttributes([version, *words])
