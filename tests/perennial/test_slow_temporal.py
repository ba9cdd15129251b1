"""Processes that start while Temporal is slow: it costs them time, and nothing else."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from perennial.loopback import any_free_port
from perennial.temporal import connect, until_answered
from tests.temporal_proxy import TemporalProxy, proxied

_SLOW_SECONDS = 35.0  # longer than the SDK has patience with a call


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_one_slow_answer_of_temporal_ends_no_worker_whatever_it_was_asked(
    temporal_client: Client, database_url: str, tmp_path: Path
) -> None:
    """Three workers, whose Temporal falls silent while they connect, look for the namespace, and begin to work."""
    address = _address(temporal_client)
    async with proxied(address) as first, proxied(address) as second, proxied(address) as third:
        outcomes = await asyncio.gather(
            *(
                _outlasts_silence(proxy, after, temporal_client, database_url, tmp_path)
                for proxy, after in ((first, 0), (second, 3), (third, 7))
            )
        )

    assert outcomes == [True, True, True]


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_migrating_waits_for_a_temporal_that_does_not_answer_yet(
    temporal_client: Client, database_url: str, tmp_path: Path
) -> None:
    async with proxied(_address(temporal_client)) as proxy:
        proxy.open.clear()
        proxy.refuses = True
        async with _process(proxy, "migrate", temporal_client.namespace, database_url, tmp_path) as process:
            await asyncio.sleep(6)
            assert process.returncode is None
            proxy.open.set()
            assert await process.wait() == 0


async def test_a_namespace_that_comes_later_is_waited_for(temporal_client: Client) -> None:
    asked = 0

    async def ask() -> str:
        nonlocal asked
        asked += 1
        client = temporal_client if asked > 1 else await connect(_address(temporal_client), "nowhere")
        return (await client.get_workflow_handle("absent").describe()).id if asked == 1 else client.namespace

    assert await until_answered(ask, "namespace") == temporal_client.namespace


async def _outlasts_silence(proxy: TemporalProxy, after: int, client: Client, database_url: str, folder: Path) -> bool:
    """Whether a worker is ready and serves in the end whose Temporal falls silent after so many pieces of requests."""
    proxy.stall_after = after
    port = any_free_port()
    async with _process(proxy, "worker", client.namespace, database_url, folder, port=port) as process:
        async with asyncio.timeout(120):
            await proxy.stalled.wait()
        await asyncio.sleep(_SLOW_SECONDS)
        assert process.returncode is None, f"silence after {after} pieces ended the worker"
        proxy.open.set()
        spoke_again = datetime.now(UTC)
        return await _until(lambda: _is_ready(port)) and await _until(
            lambda: _asks_for_work(client, process.pid, spoke_again)
        )


@asynccontextmanager
async def _process(
    proxy: TemporalProxy, command: str, namespace: str, database_url: str, folder: Path, *, port: int = 0
) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {
        "PERENNIAL_DATABASE_URL": database_url,
        "PERENNIAL_TEMPORAL_ADDRESS": proxy.address,
        "PERENNIAL_TEMPORAL_NAMESPACE": namespace,
        "PERENNIAL_HOST": "127.0.0.1",
        "PERENNIAL_WORKER_PORT": str(port),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "perennial", command),
        cwd=folder,
        env=os.environ | environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _until(holds: Callable[[], Awaitable[bool]]) -> bool:
    give_up_at = time.monotonic() + 150
    while time.monotonic() < give_up_at:
        if await holds():
            return True
        await asyncio.sleep(0.5)
    return False


async def _is_ready(port: int) -> bool:
    try:
        async with httpx.AsyncClient(timeout=30) as http:
            return (await http.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200
    except httpx.HTTPError:
        return False


async def _asks_for_work(client: Client, pid: int, since: datetime) -> bool:
    """Whether the process has asked for work of the queue of journeys since then."""
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name="journeys"),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    pollers = (await client.workflow_service.describe_task_queue(request)).pollers
    asked = [each.last_access_time.ToDatetime(UTC) for each in pollers if each.identity.startswith(f"{pid}@")]
    return any(at >= since for at in asked)


def _address(client: Client) -> str:
    return client.service_client.config.target_host
