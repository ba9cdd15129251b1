"""Recipients whom a healthy server always refuses with words about everybody, with the server's count as the oracle."""

from __future__ import annotations

import asyncio
import re
from time import time

import pytest
from sqlalchemy import select

from connectors.smtp import SmtpProvider, SmtpServer
from database.messages import Suppression
from database.provider_rates import ill_providers
from database.session import Database
from tests.fake_smtp import fake_smtp
from tests.proofs.workers import Workers, two_workers
from tests.task_queue import TaskQueue, crowding

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


async def test_recipients_that_are_always_refused_hold_up_nobody_else(database: Database) -> None:
    async with fake_smtp() as smtp:
        smtp.denied = "receipt-[0-5]-"
        providers = [SmtpProvider(SmtpServer("127.0.0.1", smtp.port, "none")) for _ in range(2)]
        async with two_workers(database, providers, 20.0) as (shop, workers):
            outage = Workers(shop, workers, TaskQueue())
            begun = time()
            await outage.reach(10, receipts=True)
            await outage.reach(12)
            async with outage.queue.served(workers):
                await outage.over(16, within=20 * crowding())
                first = max(at for at, _ in smtp.mails) - begun
                later = time()
                await outage.reach(12)
                await outage.over(28, within=20 * crowding())
                second = max(at for at, _ in smtp.mails) - later
                await asyncio.sleep(2)
            refused = [each for each in await shop.messages() if each.state == "claimed"]
            async with database.read() as session:
                assert (await session.execute(select(Suppression))).first() is None
                assert await ill_providers(session) == []

    assert first < 15 * crowding()
    assert second < 5 * crowding()
    assert not any(re.search(smtp.denied, to) for _, to in smtp.mails)
    assert len(refused) == 6
    assert all(each.reason == "smtp_554" and each.attempts[-1]["fault"] == "message" for each in refused)
    assert len(smtp.calls) - 28 <= 6 * 8  # each by a back-off of its own
