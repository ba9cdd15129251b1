"""A worker that is stopped (SIGSTOP) while it holds a customer's lock: the database lets the others go on."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from connectors.rendering import Renderer
from database.outages import is_outage
from database.session import Database
from domain.runs import OutcomeKind, StepOutcome
from tests.sending import Shop, enter, open_shop

# Stops itself in the transaction in which it notes that it calls the provider; wakes up, and goes on as if nothing was.
FREEZING = """
import asyncio, os, signal, sys
from uuid import UUID

import activities.message_attempts
from connectors.rendering import Renderer
from database.pools import WORKER
from database.session import Database
from tests.sending import open_shop

attempt = activities.message_attempts.start_attempt

async def freeze(*args):
    print("holding", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
    await attempt(*args)

async def work():
    activities.message_attempts.start_attempt = freeze
    database, renderer = Database(sys.argv[1], pool=WORKER.changed("idle=3")), Renderer(processes=1)
    async with open_shop(database, renderer) as shop:
        try:
            await shop.send(UUID(sys.argv[2]))
        except Exception as error:
            print(type(error).__name__, flush=True)
        print("sent", len(shop.provider.calls), flush=True)
    await renderer.close()

asyncio.run(work())
"""


@pytest.fixture(scope="module")
async def renderer() -> AsyncIterator[Renderer]:
    renderer = Renderer(processes=1)
    yield renderer
    await renderer.close()


@pytest.fixture
async def shop(database: Database, renderer: Renderer) -> AsyncIterator[Shop]:
    async with open_shop(database, renderer) as shop:
        yield shop


@pytest.mark.slow
@pytest.mark.parametrize("journey", ["welcome", "receipts"])
async def test_a_worker_that_stands_still_with_a_customers_lock_keeps_nobody_and_sends_nothing_when_it_wakes(
    shop: Shop, journey: str
) -> None:
    run_id = await enter(shop, journey=journey)
    frozen = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", FREEZING, shop.database.url, str(run_id)), stdout=asyncio.subprocess.PIPE
    )
    assert frozen.stdout is not None
    try:
        async with asyncio.timeout(120):
            assert await frozen.stdout.readline() == b"holding\n"
        outcome = await _as_temporal_repeats(shop, run_id)  # before the other goes on
        os.kill(frozen.pid, signal.SIGCONT)
        async with asyncio.timeout(120):
            answer = (await frozen.stdout.read()).split()
    finally:
        if frozen.returncode is None:
            frozen.kill()
        await frozen.wait()

    assert (outcome.kind, len(shop.provider.taken)) == (OutcomeKind.DONE, 1)
    assert answer[-2:] == [b"sent", b"0"]
    assert (await shop.message()).state == "accepted"


async def _as_temporal_repeats(shop: Shop, run_id: UUID) -> StepOutcome:
    """The activity, again and again while the customer is locked."""
    async with asyncio.timeout(120):
        while True:
            try:
                outcome: StepOutcome = await shop.send(run_id)
            except Exception as error:
                if not is_outage(error):
                    raise
            else:
                return outcome
