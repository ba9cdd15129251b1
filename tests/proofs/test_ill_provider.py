"""A provider that hangs, refuses and comes back, with the count and the clock at the provider as the oracle (G16).

Two worker processes are played by two sets of activities; their calls are real HTTP to a fake that speaks SendGrid's
wire format. `--full` makes the outages as long as they are in life.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import time
from uuid import UUID

import pytest

from activities.messages import MessageActivities
from activities.pacing import Pacer
from activities.providers import Providers
from connectors.rendering import Renderer
from connectors.sendgrid import SendGridProvider
from database.provider_rates import ill_providers
from database.session import Database
from domain.journeys.library import DefinitionLibrary
from tests.fake_sendgrid import FakeSendGrid, Reply, fake_sendgrid
from tests.sending import PUBLIC_URL, Shop, add_customer, add_run, open_shop
from tests.task_queue import TaskQueue, busiest_second, crowding

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

RATE = 20.0
PLACES = 40


@dataclass
class Outage:
    """Two workers before a provider whose ways the test decides."""

    shop: Shop
    workers: Sequence[MessageActivities]
    fake: FakeSendGrid
    queue: TaskQueue

    async def reach(self, count: int, *, receipts: bool = False) -> list[UUID]:
        """So many runs come to their message now."""
        async with self.shop.database.transaction() as session:
            name = "receipt" if receipts else "news"
            customers = [await add_customer(session, f"{name}-{n}-{time()}") for n in range(count)]
            journey = "receipts" if receipts else "welcome"
            runs = [await add_run(session, each, journey=journey, entered_at=datetime.now(UTC)) for each in customers]
        for run_id in runs:
            self.queue.add(run_id, is_receipt=receipts)
        return runs

    async def over(self, count: int, *, within: float) -> None:
        """Wait until so many messages have left, or perhaps left."""
        async with asyncio.timeout(within):
            while sum(each.state in ("accepted", "unknown") for each in await self.shop.messages()) < count:
                await asyncio.sleep(0.2)

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
    """Workers with connections, lines, threads and places of their own."""
    renderer, timeout = Renderer(processes=2), 10.0 if request.config.getoption("full") else 2.0
    databases = [Database(database.url) for _ in range(2)]
    providers = [SendGridProvider("SG.test", host=fake.url, timeout=timeout) for _ in range(2)]
    async with open_shop(database, renderer) as shop:
        workers = [
            MessageActivities(
                each,
                DefinitionLibrary(lambda _journey, _version: None),
                renderer,
                Providers(provider, shop.webhooks),
                Pacer(each, {"sendgrid": RATE}),
                public_url=PUBLIC_URL,
            )
            for each, provider in zip(databases, providers, strict=True)
        ]
        yield Outage(shop, workers, fake, TaskQueue())
    await renderer.close()
    fake.awake.set()
    for provider in providers:
        provider.close()
    for each in databases:
        await each.close()


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
    assert sum(at < receipts[-2] for at in news) <= 1 + 10  # the probe, and what passed while the newest came in
    assert news[-1] - recovered < 15 * crowding()
    assert refused <= RATE + lasts  # one probe at a time, not one for each message
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
