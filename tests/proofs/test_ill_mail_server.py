"""An SMTP server that takes nothing from anybody and comes back, with its own count and clock as the oracle (G15, G16).

Two workers hold real conversations over TCP with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from time import time

import pytest
from sqlalchemy import select

from connectors.smtp import SmtpProvider, SmtpServer
from database.messages import Suppression
from database.provider_rates import ill_providers
from database.session import Database
from tests.fake_smtp import DROP, FakeSmtp, fake_smtp
from tests.proofs.workers import Workers, two_workers
from tests.task_queue import TaskQueue, crowding

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

RATE = 20.0
PLACES = 40
_WELL = {"EHLO": "250-fake\r\n250-AUTH PLAIN\r\n250 8BITMIME", "AUTH": "235 2.7.0 welcome"}


@dataclass
class Outage(Workers):
    """Two workers before a mail server whose ways the test decides."""

    fake: FakeSmtp

    def mails(self, name: str, since: float) -> list[float]:
        """When mails of a kind were taken."""
        return sorted(at for at, to in self.fake.mails if at >= since and to.startswith(f"{name}-"))

    async def trouble(self) -> list[str | None]:
        """What ails the provider."""
        async with self.shop.database.read() as session:
            return [each.trouble for each in await ill_providers(session)]

    async def ails(self, trouble: str, *, within: float) -> None:
        """Wait until that ails the provider."""
        async with asyncio.timeout(within):
            while await self.trouble() != [trouble]:
                await asyncio.sleep(0.1)

    async def probed(self, times: int, *, within: float) -> None:
        """Wait until so many more calls have begun."""
        before = len(self.fake.calls)
        async with asyncio.timeout(within):
            while len(self.fake.calls) < before + times:
                await asyncio.sleep(0.1)


@pytest.fixture
async def outage(database: Database) -> AsyncIterator[Outage]:
    """Both workers log in, as relays want it."""
    async with fake_smtp(**_WELL) as fake:
        server = SmtpServer("127.0.0.1", fake.port, security="none", username="shop", password="hush", timeout=2.0)
        providers = [SmtpProvider(server) for _ in range(2)]
        async with two_workers(database, providers, RATE) as (shop, workers):
            yield Outage(shop, workers, TaskQueue(), fake)


@pytest.mark.parametrize(
    ("stage", "reply", "trouble"),
    [
        ("greeting", "554 5.7.1 your address is not welcome here", "smtp_554"),
        ("RCPT", "421 4.3.2 closing", "smtp_421"),
        ("MAIL", DROP, "connection_lost"),
        ("AUTH", "535 5.7.8 wrong credentials", "smtp_535"),
        ("MAIL", "550 5.7.1 sender rejected", "smtp_550"),
    ],
)
async def test_a_mail_server_that_takes_nothing_from_anybody_pauses_once_and_costs_nobody_a_message(
    outage: Outage, request: pytest.FixtureRequest, stage: str, reply: str, trouble: str
) -> None:
    lasts = 60 if request.config.getoption("full") else 2
    outage.fake.says = _WELL | {stage: reply}
    async with outage.queue.served(outage.workers, places=PLACES):
        begun = time()
        runs = await outage.reach(20)
        await outage.ails(trouble, within=20 * crowding())
        runs += await outage.reach(10, receipts=True)
        await outage.probed(3, within=60 * crowding())  # what was under way together when it fell ill is over
        outage.fake.most_at_once = 0
        await asyncio.sleep(lasts)
        await outage.probed(2, within=60 * crowding())
        await outage.ails(trouble, within=20 * crowding())  # a busy machine may have let one probe run out of time
        refused, outage.fake.says = len(outage.fake.calls), _WELL
        recovered = time()
        assert outage.fake.most_at_once == 1
        runs += await outage.reach(5, receipts=True)
        await outage.queue.finished(runs, within=60 * crowding())

    receipts, news = outage.mails("receipt", recovered), outage.mails("news", recovered)
    assert (len(receipts), len(news)) == (15, 20)
    assert receipts[13] - recovered < 5 * crowding()
    assert sum(at < receipts[8] for at in news) <= 5  # the probe, and what stood in line beside it
    assert refused <= RATE + 1 + recovered - begun  # one probe at a time, not one for each message
    assert await outage.trouble() == []
    assert {each.state for each in await outage.shop.messages()} == {"accepted"}
    async with outage.shop.database.read() as session:
        assert (await session.scalars(select(Suppression.reason))).all() == []
