"""The provider's hard rate (G16): no second over the cap, transactional first, with many waiting."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest

from database.provider_rates import Granted, NotYet, free, register, take
from database.session import Database, WriteSession
from domain.provider_pace import Pace
from tests.sending import NOON
from tests.task_queue import SECOND, busiest_second


@asynccontextmanager
async def paced(database: Database, pace: Pace) -> AsyncIterator[WriteSession]:
    """A transaction in which the provider `p` is known."""
    async with database.transaction() as session:
        await register(session, "p", pace)
        yield session


@pytest.mark.slow
async def test_thousands_of_overdue_messages_leave_at_the_rate_and_receipts_overtake_them(database: Database) -> None:
    """Three processes (each lets one message ask at a time) wait by a clock of ours; nobody sleeps.

    The provider reads a request at any time between its call and its answer.
    """
    chance, rate = random.Random(1), 100.0
    marketing, now, pace = 3_000, NOON, Pace.of(rate)
    arrivals: list[datetime] = []
    waits: list[timedelta] = []
    receipts: list[datetime] = []  # when each waiting receipt was asked for
    ready = dict.fromkeys(range(3), now)  # when the next marketing message of each process asks
    receipt_ready = now
    while marketing > 0 or receipts:
        async with paced(database, pace) as session:
            for _ in range(100):
                if chance.random() < 0.02 and len(waits) + len(receipts) < 100:
                    receipts.append(now)
                is_receipt = bool(receipts) and receipt_ready <= min(ready.values())
                worker = min(ready, key=lambda each: ready[each])
                now = max(now, receipt_ready if is_receipt else ready[worker])
                match await take(session, "p", pace=pace, is_transactional=is_receipt, now=now):
                    case Granted(at, place):
                        answered = at + timedelta(seconds=chance.random() / 10)
                        arrivals.append(at + (answered - at) * chance.random())
                        await free(session, "p", place, now=answered)
                        if is_receipt:
                            waits.append(at - receipts.pop(0))
                            receipt_ready = now
                        else:
                            marketing -= 1
                            ready[worker] = now + timedelta(milliseconds=chance.randrange(10))
                    case NotYet(wait) if is_receipt:
                        receipt_ready = now + wait
                    case NotYet(wait):
                        ready[worker] = now + wait + timedelta(milliseconds=chance.randrange(5))

    assert busiest_second(arrivals) <= 100
    assert sorted(waits)[int(len(waits) * 0.95)] < 5 * SECOND
    assert max(arrivals) - min(arrivals) < len(arrivals) / rate * 1.4 * SECOND  # and the rate is used


async def test_a_refused_receipt_holds_marketing_back_until_it_is_served(database: Database) -> None:
    pace, step = Pace.of(9.0), timedelta(milliseconds=112)

    async def ask(now: datetime, *, receipt: bool) -> bool:
        async with paced(database, pace) as session:
            answer = await take(session, "p", pace=pace, is_transactional=receipt, now=now)
        return isinstance(answer, Granted)

    assert await ask(NOON, receipt=False)
    assert not await ask(NOON + step / 2, receipt=True)
    assert not await ask(NOON + step, receipt=False)  # its turn, but a receipt stands in line
    assert await ask(NOON + step, receipt=True)
    assert await ask(NOON + timedelta(seconds=2), receipt=False)


async def test_no_message_waits_at_a_provider_that_answers_late(database: Database) -> None:
    """Calls that are under way count, however long ago they began: their bytes may arrive all at once."""
    pace = Pace.of(4.0)
    async with paced(database, pace) as session:
        granted = [
            await take(session, "p", pace=pace, is_transactional=True, now=NOON + n * timedelta(seconds=2))
            for n in range(5)
        ]
    assert [isinstance(each, Granted) for each in granted] == [True, True, True, True, False]
