"""Resident memory of each process, with its children, idle and with thousands of runs that wait for a month.

A worker keeps at most `max_cached_workflows` runs in memory, so it should stay flat as the runs that wait become more.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence

import httpx
import psutil
from sqlalchemy import text

from benchmarks.figure import Better, Figure
from benchmarks.world import Deployment, World

AIM_WORKER_MB = 400
PROCESSES = ("api", "router", "worker")
BATCH = 100
SETTLE_SECONDS = 3.0
PATIENCE_SECONDS_PER_RUN = 0.25
JOURNEY = {
    "journey": "benchmark-waiting",
    "purpose": "marketing",
    "enter": {"on": {"event": "Benchmark Visit"}},
    "exit": [{"event": "Order Completed"}],
    "steps": [{"wait": {"for": "30d"}, "id": "month"}, {"update": {"traits": {"waited": True}}, "id": "after"}],
}


async def measure(world: World) -> Sequence[Figure]:
    """One row a process, idle, and one for the worker (and router) at each number of waiting runs."""
    async with world.deployment(*PROCESSES) as deployment:
        await deployment.publish(JOURNEY)
        await asyncio.sleep(SETTLE_SECONDS)
        figures = [_figure(deployment, name, "idle") for name in PROCESSES]
        entered = 0
        for target in sorted(world.options.waiting_runs):
            await _enter(deployment, target - entered)
            entered = target
            await _stand(deployment, target)
            figures += [_figure(deployment, name, f"{target:,} waiting runs") for name in PROCESSES]
    return figures


def _figure(deployment: Deployment, name: str, when: str) -> Figure:
    aim = AIM_WORKER_MB if name == "worker" else None
    return Figure(f"memory of {name}, {when}", _megabytes(deployment, name), "MB", aim=aim, better=Better.LOWER)


def _megabytes(deployment: Deployment, name: str) -> float:
    """Of the process and its children (the worker's rendering processes); pages they share count for each."""
    pid = deployment.services[name].child.pid
    if pid is None:
        raise RuntimeError(f"{name} has ended: {deployment.services[name].child.log}")
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)]
    return sum(float(member.memory_info().rss) for member in family) / 1e6


async def _enter(deployment: Deployment, count: int) -> None:
    """Let so many new customers in."""
    auth = (deployment.keys.write_key, "")
    async with httpx.AsyncClient(base_url=deployment.api, auth=auth, timeout=60) as client:
        for start in range(0, count, BATCH):
            batch = [_visit() for _ in range(min(BATCH, count - start))]
            (await client.post("/v1/batch", json={"batch": batch})).raise_for_status()


def _visit() -> dict[str, object]:
    name = f"waiting-{uuid.uuid4()}"
    return {"type": "track", "userId": name, "messageId": name, "event": "Benchmark Visit", "properties": {}}


async def _stand(deployment: Deployment, count: int) -> None:
    """Return when so many runs stand at their wait."""
    async with asyncio.timeout(60 + count * PATIENCE_SECONDS_PER_RUN):
        while True:
            async with deployment.database.read() as session:
                waiting = await session.scalar(text("SELECT count(*) FROM waits WHERE status = 'waiting'"))
            if (waiting or 0) >= count:
                break
            await asyncio.sleep(1)
    await asyncio.sleep(SETTLE_SECONDS)
