"""A provider that hangs, refuses and comes back, with the count and the clock at the provider as the oracle (G16).

Two worker processes are played by two sets of activities; their calls are real HTTP to a fake that speaks SendGrid's
wire format. `--full` makes the outages as long as they are in life.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from time import time

import pytest

from connectors.sendgrid import SendGridProvider
from database.provider_rates import ill_providers
from database.session import Database
from tests.fake_sendgrid import FakeSendGrid, Reply, fake_sendgrid
from tests.proofs.workers import Workers, two_workers
from tests.task_queue import TaskQueue, busiest_second, crowding

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

RATE = 20.0
PLACES = 40


@dataclass
class Outage(Workers):
    """Two workers before a provider whose ways the test decides."""

    fake: FakeSendGrid

    def arrivals(self, since: float = 0) -> list[datetime]:
        """When requests reached the provider."""
        return sorted(datetime.fromtimestamp(each["at"], UTC) for each in self.fake.requests if each["at"] >= since)

    def mails(self, name: str, since: float = 0) -> list[float]:
        """When mails of a kind reached the provider."""
        found = [each for each in self.fake.requests if each["at"] >= since]
        to = [(each["at"], each["body"]["personalizations"][0]["to"][0]["email"]) for each in found]
        return sorted(at for at, address in to if address.startswith(f"{name}-"))

    def copies(self) -> list[int]:
        """How often the provider took each message."""
        ids = [mail["personalizations"][0]["custom_args"]["message_id"] for mail in self.fake.mails]
        return [ids.count(each) for each in set(ids)]


@pytest.fixture
def fake() -> Iterator[FakeSendGrid]:
    """The provider."""
    with fake_sendgrid() as fake:
        yield fake


@pytest.fixture
async def outage(database: Database, fake: FakeSendGrid, request: pytest.FixtureRequest) -> AsyncIterator[Outage]:
    """Two workers whose provider waits as long as it does in life only if the test is to be at full size."""
    timeout = 10.0 if request.config.getoption("full") else 2.0
    providers = [SendGridProvider("SG.test", host=fake.url, timeout=timeout) for _ in range(2)]
    async with two_workers(database, providers, RATE) as (shop, workers):
        yield Outage(shop, workers, TaskQueue(), fake)
        fake.awake.set()
    for provider in providers:
        provider.close()


@pytest.mark.parametrize("is_frozen", [False, True])
async def test_a_provider_that_hangs_and_comes_back_never_gets_more_than_the_cap_in_a_second(
    outage: Outage, request: pytest.FixtureRequest, is_frozen: bool
) -> None:
    hangs = 16 if request.config.getoption("full") else 3
    outage.fake.is_frozen = is_frozen
    runs = await outage.reach(40) + await outage.reach(15, receipts=True)
    async with outage.queue.served(outage.workers, places=PLACES):
        await asyncio.sleep(1.5)
        outage.fake.awake.clear()
        runs += await outage.reach(20) + await outage.reach(10, receipts=True)
        await asyncio.sleep(hangs)
        outage.fake.awake.set()
        await outage.over(len(runs), within=60 * crowding())

    assert busiest_second(outage.arrivals()) <= RATE
    assert max(outage.copies()) == 1


@pytest.mark.parametrize("refusal", [503, 401, 429])
async def test_after_an_outage_receipts_leave_first_and_within_seconds(
    outage: Outage, request: pytest.FixtureRequest, refusal: int
) -> None:
    lasts = 60 if request.config.getoption("full") else 6
    outage.fake.mood = Reply(refusal)
    begun = time()
    async with outage.queue.served(outage.workers, places=PLACES):
        runs = await outage.reach(33)
        await asyncio.sleep(1)
        runs += await outage.reach(10, receipts=True)
        await asyncio.sleep(lasts)
        refused, outage.fake.mood = len(outage.fake.requests), None
        recovered = time()
        runs += await outage.reach(10, receipts=True)
        await outage.queue.finished(runs, within=60 * crowding())

    receipts, news = outage.mails("receipt", recovered), outage.mails("news", recovered)
    waits = [at - recovered for at in receipts]
    assert (len(receipts), len(news)) == (20, 33)
    assert waits[18] < 5 * crowding()
    assert sum(at < receipts[9] for at in news) <= 1 + 10  # the probe, and what passed while the newest came in
    assert news[-1] - recovered < 15 * crowding()
    assert refused <= RATE + recovered - begun  # one probe at a time, not one for each message
    assert busiest_second(outage.arrivals()) <= RATE
    async with outage.shop.database.read() as session:
        assert await ill_providers(session) == []


async def test_a_hiccup_costs_marketing_a_moment(outage: Outage) -> None:
    outage.fake.script = [Reply(503)] * 3
    runs = await outage.reach(20)
    begun = time()
    async with outage.queue.served(outage.workers, places=PLACES):
        await outage.queue.finished(runs, within=60 * crowding())

    assert len(outage.mails("news")) == 23
    assert outage.mails("news")[-1] - begun < 12 * crowding()
