"""The provider's hard rate by a real clock (G16): hundreds of overdue messages, and receipts that overtake them.

Two worker processes are played by two sets of activities, each with connections, a line and places of its own, and
Temporal by a queue that knows what its queues know: who goes first, and when to try again.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from temporalio.exceptions import ApplicationError

from activities.messages import MessageActivities
from activities.pacing import Pacer
from activities.providers import Providers
from connectors.rendering import Renderer
from database.session import Database
from domain.journeys.library import DefinitionLibrary
from domain.runs import StepInput
from tests.sending import PUBLIC_URL, Shop, add_customer, add_run, open_shop

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

RATE = 20.0
OVERDUE = 120
RECEIPTS = 25
A_RECEIPT_EVERY = 0.4  # seconds
PLACES = 100
"""What one worker process works at, most of it standing in line."""
SECOND = timedelta(seconds=1)


@dataclass
class Queue:
    """The task queue `messages`: the urgent first, and again later what asked for it."""

    waiting: asyncio.PriorityQueue[tuple[int, int, UUID]] = field(default_factory=asyncio.PriorityQueue)
    sent: set[UUID] = field(default_factory=set)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def add(self, run_id: UUID, *, is_receipt: bool) -> None:
        """A run has come to its message."""
        self.waiting.put_nowait((1 if is_receipt else 3, next(self._numbers), run_id))

    async def work(self, activities: MessageActivities) -> None:
        """One place of a worker."""
        while True:
            priority, _, run_id = await self.waiting.get()
            try:
                await activities.send(StepInput(run_id=run_id, step="reminder", visit=1, as_of=datetime.now(UTC)))
            except ApplicationError as error:
                assert error.type == "line_too_long"  # noqa: PT017  anything else is a fault
                delay = (error.next_retry_delay or SECOND).total_seconds()
                again = (priority, next(self._numbers), run_id)
                asyncio.get_running_loop().call_later(delay, self.waiting.put_nowait, again)
            else:
                self.sent.add(run_id)


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


def busiest_second(moments: Sequence[datetime]) -> int:
    """The most moments in any window of one second."""
    return max(sum(start <= moment < start + SECOND for moment in moments) for start in moments)


def crowding() -> float:
    """How much longer everything takes than on a machine with a processor for each process that wants one."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


async def test_overdue_messages_leave_at_the_cap_and_receipts_overtake_them(
    shop: Shop, workers: list[MessageActivities]
) -> None:
    queue, bought = Queue(), dict[UUID, datetime]()
    async with shop.database.transaction() as session:
        customers = [await add_customer(session, f"user-{n}") for n in range(OVERDUE)]
        overdue = {await add_run(session, customer) for customer in customers}
    for run_id in overdue:
        queue.add(run_id, is_receipt=False)

    places = [asyncio.create_task(queue.work(worker)) for worker in workers for _ in range(PLACES)]
    for customer in customers[:RECEIPTS]:
        async with shop.database.transaction() as session:
            receipt = await add_run(session, customer, journey="receipts")
        bought[receipt] = datetime.now(UTC)
        queue.add(receipt, is_receipt=True)
        await asyncio.sleep(A_RECEIPT_EVERY)
    while not queue.sent >= overdue | bought.keys():
        await asyncio.sleep(0.1)
    for place in places:
        place.cancel()
    await asyncio.gather(*places, return_exceptions=True)

    attempted = {m.run_id: m.attempting_at for m in await shop.messages() if m.run_id and m.attempting_at}
    waits = sorted(attempted[receipt] - at for receipt, at in bought.items())
    assert len(shop.provider.taken) == len(attempted) == OVERDUE + len(bought)
    assert busiest_second(list(attempted.values())) <= RATE
    assert waits[int(len(waits) * 0.95)] < 5 * SECOND * crowding()
    first, last = (pick(attempted[run] for run in overdue) for pick in (min, max))
    assert last - first > 0.9 * OVERDUE / RATE * SECOND  # and there was a line to overtake
