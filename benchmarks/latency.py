"""From the moment a shop posts an event to the moment the first step of the journey is in the run log.

Everything is on the way: HTTP, the commit, the router, the relay, Temporal, the worker, the step's transaction. Each
event is somebody else's; one in ten starts a run, as carts do among page views, and is timed. (What Temporal's
development server can start at most is in starts.py and journeys.py.) The step's time is PostgreSQL's own clock when
the row is written.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

import httpx
from sqlalchemy import text

from benchmarks.figure import Better, Figure, percentile
from benchmarks.world import Deployment, World

PER_SECOND = 50
SECONDS = 30
ENTERING = 10  # one event in so many enters the journey
AIM_P95_MS = 500
PATIENCE_SECONDS = 120
JOURNEY = {
    "journey": "benchmark-latency",
    "purpose": "marketing",
    "enter": {"on": {"event": "Benchmark Visit"}},
    "steps": [{"update": {"traits": {"visited": True}}, "id": "first"}],
}


async def measure(world: World) -> Sequence[Figure]:
    """Median and 95th percentile."""
    async with world.deployment("api", "router", "worker") as deployment:
        await deployment.publish(JOURNEY)
        # run_steps has the workflow's times; when the row came to be is what we want to know.
        async with deployment.database.transaction() as session:
            await session.execute(text("SET LOCAL ROLE NONE"))  # the application owns no tables
            await session.execute(text("ALTER TABLE run_steps ADD written timestamptz DEFAULT clock_timestamp()"))
        warming = await _post(deployment, 4 * PER_SECOND)
        await _written(deployment, len(warming))
        posted = await _post(deployment, PER_SECOND * SECONDS)
        written = await _written(deployment, len(warming) + len(posted))
    latencies = [(written[customer] - at).total_seconds() * 1_000 for customer, at in posted.items()]
    name = f"event to first step at {PER_SECOND} events/s, {PER_SECOND // ENTERING} of them starting runs"
    return [
        Figure(f"{name}, p50", percentile(latencies, 0.5), "ms", better=Better.LOWER),
        Figure(f"{name}, p95", percentile(latencies, 0.95), "ms", aim=AIM_P95_MS, better=Better.LOWER),
    ]


async def _post(deployment: Deployment, count: int) -> dict[str, datetime]:
    """Post events at the rate, each on its own; when each that enters was about to be posted, by customer."""
    posted: dict[str, datetime] = {}
    auth = (deployment.keys.write_key, "")
    async with (
        httpx.AsyncClient(base_url=deployment.api, auth=auth, timeout=30) as client,
        asyncio.TaskGroup() as posts,
    ):
        started = time.perf_counter()
        for number in range(count):
            await asyncio.sleep(started + number / PER_SECOND - time.perf_counter())
            customer = f"latency-{uuid.uuid4()}"
            event = "Page Viewed"
            if number % ENTERING == 0:
                event, posted[customer] = "Benchmark Visit", datetime.now(UTC)
            posts.create_task(_post_one(client, customer, event))
    return posted


async def _post_one(client: httpx.AsyncClient, customer: str, event: str) -> None:
    message = {"userId": customer, "messageId": customer, "event": event, "properties": {"page": "roses"}}
    (await client.post("/v1/track", json=message)).raise_for_status()


async def _written(deployment: Deployment, count: int) -> dict[str, datetime]:
    """When the first step of each customer's run was written, once there are so many."""
    statement = text("""
        SELECT customers.external_id, min(run_steps.written)
        FROM run_steps JOIN runs ON runs.id = run_steps.run_id JOIN customers ON customers.id = runs.customer_id
        GROUP BY 1
    """)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            async with deployment.database.read() as session:
                written = {row[0]: row[1] for row in await session.execute(statement)}
            if len(written) >= count:
                return written
            await asyncio.sleep(0.5)
