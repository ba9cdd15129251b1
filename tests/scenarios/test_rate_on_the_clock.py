"""The provider's hard rate by a real clock (G16): hundreds of overdue messages, and receipts that overtake them.

Two worker processes are played by two sets of activities, each with connections, a line and places of its own, and
Temporal by a queue that knows what its queues know: who goes first, and when to try again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

import pytest

from activities.messages import MessageActivities
from activities.pacing import Pacer
from activities.providers import Providers
from connectors.rendering import Renderer
from database.session import Database
from domain.journeys.library import DefinitionLibrary
from tests.sending import PUBLIC_URL, Shop, add_customer, add_run, open_shop
from tests.task_queue import SECOND, TaskQueue, busiest_second, crowding

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

RATE = 20.0
OVERDUE = 120
RECEIPTS = 25
A_RECEIPT_EVERY = 0.4  # seconds


@pytest.fixture
async def shop(database: Database) -> AsyncIterator[Shop]:
    """A shop whose journeys send one e-mail, at no rate of its own."""
    renderer = Renderer(processes=2)
    async with open_shop(database, renderer) as shop:
        yield shop
    await renderer.close()


@pytest.fixture
async def workers(shop: Shop) -> AsyncIterator[list[MessageActivities]]:
    """Two processes' activities, which share nothing but the database."""
    databases = [Database(shop.database.url) for _ in range(2)]
    yield [
        MessageActivities(
            database,
            DefinitionLibrary(lambda _journey, _version: None),
            shop.activities._renderer,
            Providers(shop.provider, shop.webhooks),
            Pacer(database, {shop.provider.name: RATE}),
            public_url=PUBLIC_URL,
        )
        for database in databases
    ]
    for database in databases:
        await database.close()


async def test_overdue_messages_leave_at_the_cap_and_receipts_overtake_them(
    shop: Shop, workers: list[MessageActivities]
) -> None:
    queue, bought = TaskQueue(), dict[UUID, datetime]()
    async with shop.database.transaction() as session:
        customers = [await add_customer(session, f"user-{n}") for n in range(OVERDUE)]
        overdue = {await add_run(session, customer) for customer in customers}
    for run_id in overdue:
        queue.add(run_id, is_receipt=False)

    async with queue.served(workers):
        for customer in customers[:RECEIPTS]:
            async with shop.database.transaction() as session:
                receipt = await add_run(session, customer, journey="receipts")
            bought[receipt] = datetime.now(UTC)
            queue.add(receipt, is_receipt=True)
            await asyncio.sleep(A_RECEIPT_EVERY)
        await queue.finished(overdue | bought.keys(), within=200)

    attempted = {m.run_id: m.called_at for m in await shop.messages() if m.run_id and m.called_at}
    waits = sorted(attempted[receipt] - at for receipt, at in bought.items())
    assert len(shop.provider.taken) == len(attempted) == OVERDUE + len(bought)
    assert busiest_second(list(attempted.values())) <= RATE
    assert waits[int(len(waits) * 0.95)] < 5 * SECOND * crowding()
    first, last = (pick(attempted[run] for run in overdue) for pick in (min, max))
    assert last - first > 0.9 * OVERDUE / RATE * SECOND  # and there was a line to overtake
