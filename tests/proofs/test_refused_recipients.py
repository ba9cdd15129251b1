"""Recipients whom a healthy server always refuses with words about everybody, with the server's count as the oracle."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import select

from connectors.smtp import SmtpProvider, SmtpServer
from database.messages import Message, Suppression
from database.provider_rates import ill_providers
from database.session import Database
from tests.fake_smtp import fake_smtp
from tests.proofs.workers import Workers, two_workers
from tests.task_queue import TaskQueue

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

_PATIENCE = 120.0
"""Bounds a wait that has no other end: a machine that is busy takes a minute for what takes seconds else."""


async def test_recipients_that_are_always_refused_hold_up_nobody_else(database: Database) -> None:
    async with fake_smtp() as smtp:
        smtp.denied = "receipt-[0-5]-"
        providers = [SmtpProvider(SmtpServer("127.0.0.1", smtp.port, "none")) for _ in range(2)]
        async with two_workers(database, providers, 20.0) as (shop, workers):
            outage = Workers(shop, workers, TaskQueue())
            await outage.reach(10, receipts=True)
            await outage.reach(12)
            async with outage.queue.served(workers):
                await outage.over(16, within=_PATIENCE)
                await until_refused(outage, {f"receipt-{n}": 1 for n in range(6)})
                first = len(smtp.mails)
                await outage.reach(12)
                await outage.over(28, within=_PATIENCE)
                known = smtp.mails[first][0]  # from here on others have got through after each of the six was refused
                alone = {name: len(refusals) + 1 for name, refusals in (await refused(outage)).items()}
                await until_refused(outage, alone)
            by_name = await refused(outage)
            async with database.read() as session:
                assert (await session.execute(select(Suppression))).first() is None
                assert await ill_providers(session) == []

    assert not any(re.search(smtp.denied, to) for _, to in smtp.mails)
    assert sorted(by_name) == [f"receipt-{n}" for n in range(6)]
    for refusals in by_name.values():
        assert {each["error"] for each in refusals} == {"smtp_554"}
        own = [each for each in refusals if datetime.fromisoformat(each["called_at"]).timestamp() >= known]
        assert {each["fault"] for each in own} == {"message"}  # which pauses nobody
        assert len(own) <= 10  # each by a back-off of its own, which doubles


async def refused(outage: Workers) -> dict[str, Sequence[dict[str, Any]]]:
    """The refusals of each message that was refused."""
    found = {_name(message): [each for each in message.attempts if "fault" in each] for message in await _all(outage)}
    return {name: refusals for name, refusals in found.items() if refusals}


async def until_refused(outage: Workers, times: dict[str, int]) -> None:
    """Wait until each message has been refused so often."""
    async with asyncio.timeout(_PATIENCE):
        while True:
            by_name = await refused(outage)
            if all(len(by_name.get(name, [])) >= count for name, count in times.items()):
                return
            await asyncio.sleep(0.2)


async def _all(outage: Workers) -> Sequence[Message]:
    return [message for message in await outage.shop.messages() if message.to]


def _name(message: Message) -> str:
    """As in `receipt-3`; what follows it makes it unique."""
    return "-".join((message.to or "").split("-")[:2])
