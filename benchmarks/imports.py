"""How long a live event waits for the router while an import of 100,000 rows is taken in and routed.

One api, one router. Live events come over HTTP at a steady rate, first alone and then beside the import, whose rows are
written as the command line writes them. An event counts as routed when another transaction can see it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import httpx
from sqlalchemy import text

from benchmarks.figure import Better, Figure, percentile
from benchmarks.world import Deployment, World
from domain.imports import ImportFormat, ImportKind
from triggers.importing import import_rows

ROWS = 100_000
PER_SECOND = 20
SECONDS = 20
LONGEST_SECONDS = 600
AIM_RATIO = 3.0

# By ix_events_name_timestamp.
_ROUTED = text("""
    SELECT message_id FROM events
    WHERE name = 'Page Viewed' AND timestamp > now() - interval '1 minute' AND status = 'routed'
""")


async def measure(world: World) -> Sequence[Figure]:
    """The 95th percentile alone, and while the import waits and is routed."""
    async with world.deployment("api", "router") as deployment:
        await _live(deployment, "warm", 2)
        alone = await _live(deployment, "alone", SECONDS)
        started = time.perf_counter()
        importing = asyncio.create_task(_import(deployment))
        beside: list[float] = []
        while not importing.done() or await _waiting(deployment):
            beside += await _live(deployment, f"beside-{len(beside)}", SECONDS)
            if time.perf_counter() - started > LONGEST_SECONDS:
                break
        seconds = time.perf_counter() - started
        await importing
    floor = percentile(alone, 0.95)
    return [
        Figure(
            f"live event to routed at {PER_SECOND} events/s beside an import of {ROWS:,} rows, p95",
            *(percentile(beside, 0.95), "ms"),
            floor=floor,
            floor_is="without the import",
            aim=AIM_RATIO,
            better=Better.LOWER,
        ),
        Figure("  the slowest of them", max(beside), "ms"),
        Figure("  rows taken in and routed meanwhile", ROWS / seconds, "rows/s"),
    ]


async def _live(deployment: Deployment, label: str, seconds: int) -> list[float]:
    """Post events at the rate; how many milliseconds each waited from its post until it was seen to be routed."""
    auth = (deployment.keys.write_key, "")
    posted: dict[str, float] = {}
    waited: dict[str, float] = {}
    async with httpx.AsyncClient(base_url=deployment.api, auth=auth, timeout=30) as client:
        watching = asyncio.create_task(_watch(deployment, posted, waited, seconds * PER_SECOND))
        started = time.perf_counter()
        async with asyncio.TaskGroup() as posts:
            for number in range(seconds * PER_SECOND):
                await asyncio.sleep(started + number / PER_SECOND - time.perf_counter())
                message_id = f"{label}/{number}"
                posted[message_id] = time.perf_counter()
                posts.create_task(_post(client, message_id))
        await watching
    return list(waited.values())


async def _post(client: httpx.AsyncClient, message_id: str) -> None:
    message = {"userId": f"u-{message_id}", "messageId": message_id, "event": "Page Viewed"}
    (await client.post("/v1/track", json=message)).raise_for_status()


async def _watch(deployment: Deployment, posted: dict[str, float], waited: dict[str, float], count: int) -> None:
    while len(waited) < count:
        await asyncio.sleep(0.01)
        async with deployment.database.read() as session:
            seen = (await session.execute(_ROUTED)).scalars().all()
        now = time.perf_counter()
        for message_id in seen:
            if message_id in posted and message_id not in waited:
                waited[message_id] = (now - posted[message_id]) * 1_000


async def _import(deployment: Deployment) -> None:
    lines = _rows()
    await import_rows(
        deployment.database, ImportKind.CUSTOMERS, lines, ImportFormat.JSON_LINES, as_of=datetime.now(UTC)
    )


async def _waiting(deployment: Deployment) -> bool:
    async with deployment.database.read() as session:
        return bool(await session.scalar(text("SELECT EXISTS (SELECT FROM events WHERE status = 'pending')")))


def _rows() -> Iterator[str]:
    for number in range(ROWS):
        yield f'{{"user_id": "old-{number}", "email": "{number}@shop.example", "plan": "basic"}}\n'
