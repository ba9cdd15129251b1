"""The provider's hard rate (G16): no second over the cap, transactional first, with many waiting."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from temporalio.exceptions import ApplicationError

from activities.pacing import JITTER, Pacer, spacing
from connectors.rendering import Renderer
from database.outages import is_outage
from database.provider_rates import Granted, NotYet, take
from database.session import Database
from domain.emails import OutgoingEmail
from domain.provider_answers import Accepted, ProviderAnswer
from tests.sending import NOON, add_customer, add_run, open_shop

SECOND = timedelta(seconds=1)


def busiest_second(moments: Sequence[datetime]) -> int:
    """The most moments in any window of one second."""
    ordered, start, most = sorted(moments), 0, 0
    for end, moment in enumerate(ordered):
        while moment - ordered[start] >= SECOND:
            start += 1
        most = max(most, end - start + 1)
    return most


@pytest.mark.slow
async def test_ten_thousand_overdue_messages_leave_at_the_rate_and_receipts_overtake_them(database: Database) -> None:
    """Three processes (each lets one message ask at a time) wait by a clock of ours; nobody sleeps."""
    chance, rate = random.Random(1), 100.0
    marketing, now = 10_000, NOON
    grants: list[datetime] = []
    waits: list[timedelta] = []
    receipts: list[datetime] = []  # when each waiting receipt was asked for
    ready = dict.fromkeys(range(3), now)  # when the next marketing message of each process asks
    receipt_ready = now
    async with database.transaction() as session:
        while marketing or receipts:
            if chance.random() < 0.02 and len(waits) + len(receipts) < 200:
                receipts.append(now)
            is_receipt = bool(receipts) and receipt_ready <= min(ready.values())
            worker = min(ready, key=lambda each: ready[each])
            now = max(now, receipt_ready if is_receipt else ready[worker])
            answer = await take(session, "p", spacing=spacing(rate), is_transactional=is_receipt, now=now)
            match answer:
                case Granted(at):
                    grants.append(at)
                    if is_receipt:
                        waits.append(at - receipts.pop(0))
                        receipt_ready = now
                    else:
                        marketing -= 1
                        ready[worker] = now + timedelta(milliseconds=chance.randrange(30))
                case NotYet(wait) if is_receipt:
                    receipt_ready = now + wait
                case NotYet(wait):
                    ready[worker] = now + wait + timedelta(milliseconds=chance.randrange(5))

    assert len(grants) >= 10_000
    assert busiest_second(grants) <= 100
    assert sorted(waits)[int(len(waits) * 0.95)] < 5 * SECOND
    assert grants[-1] - grants[0] < timedelta(seconds=10_000 / 100 * 1.4)  # and the rate is used


@pytest.mark.slow
async def test_three_processes_together_keep_under_the_rate_by_the_providers_clock(database: Database) -> None:
    renderer, rate = Renderer(processes=2), 20.0
    calls: list[tuple[datetime, str]] = []

    async def note(email: OutgoingEmail) -> ProviderAnswer:
        calls.append((datetime.now(UTC), email.to))
        return Accepted("p")

    async with open_shop(database, renderer, rates={"scripted": rate}) as shop:
        shop.provider.script = [note] * 200
        async with database.transaction() as session:
            customers = [await add_customer(session, f"user-{n}") for n in range(60)]
            runs = [await add_run(session, customer) for customer in customers]
            receipts = [await add_run(session, customer, journey="receipts") for customer in customers[:5]]
        pacers = [Pacer(database, {"scripted": rate}) for _ in range(3)]

        async def send_until_done(number: int, run_id: UUID) -> None:
            while True:
                shop.activities._pacer = pacers[number % 3]
                try:
                    await shop.send(run_id)
                except Exception as error:
                    if not _is_tried_again(error):
                        raise
                    await asyncio.sleep(0.2)
                else:
                    return

        waiting = [asyncio.create_task(send_until_done(number, run_id)) for number, run_id in enumerate(runs)]
        await asyncio.sleep(0.5)
        await asyncio.gather(*(send_until_done(number, run_id) for number, run_id in enumerate(receipts)))
        overtaken = sum(not task.done() for task in waiting)
        await asyncio.gather(*waiting)
    await renderer.close()

    assert len(calls) == 65
    assert busiest_second([at for at, _ in calls]) <= rate
    assert overtaken > 10


def _is_tried_again(error: Exception) -> bool:
    """Whether Temporal would begin the activity again: the line is long, or the machine too busy for the database."""
    return is_outage(error) or (isinstance(error, ApplicationError) and error.type == "line_too_long")


async def test_a_refused_receipt_holds_marketing_back_until_it_is_served(database: Database) -> None:
    step = timedelta(milliseconds=100)

    async def ask(now: datetime, *, receipt: bool) -> bool:
        async with database.transaction() as session:
            answer = await take(session, "p", spacing=step, is_transactional=receipt, now=now)
        return isinstance(answer, Granted)

    assert await ask(NOON, receipt=False)
    assert not await ask(NOON + step / 2, receipt=True)
    assert not await ask(NOON + step, receipt=False)  # its turn, but a receipt stands in line
    assert await ask(NOON + step, receipt=True)
    assert await ask(NOON + timedelta(seconds=2), receipt=False)


def test_the_spacing_leaves_room_for_the_way_to_the_provider() -> None:
    for rate in (1.0, 10.0, 100.0, 1_000.0):
        assert spacing(rate) * rate >= SECOND + JITTER
