"""Sending under races: exit beats send (G12), caps and consent hold (G17). Real transactions on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import DBAPIError
from temporalio.exceptions import ApplicationError

from connectors.rendering import Renderer
from database.customers import Customer, lock
from database.events import Event
from database.messages import Message, cancel_claimed
from database.runs import LockedRun, Run
from database.session import Database, ReadSession, WriteSession
from domain.messages import MessageState, Reason
from domain.runs import OutcomeKind, RunState
from tests.sending import Shop, add_customer, add_event, add_run, consent_record, open_shop

AT_ONCE = 8


@pytest.fixture
async def shop(database: Database) -> AsyncIterator[Shop]:
    """A shop whose journey sends one e-mail."""
    renderer = Renderer(processes=1)
    async with open_shop(database, renderer) as shop:
        yield shop
    await renderer.close()


@dataclass
class Race:
    """What one race came to: how many messages the exit saw, how many there were in the end, and whether both met.

    `claim_took` is in seconds.
    """

    seen_by_exit: int
    in_the_end: int
    overlapped: bool
    claim_took: float


async def exit_race(shop: Shop, number: int, within: float) -> Race:
    """An exit event is acknowledged and routed, begun within so many seconds, while the run's message is claimed."""
    user = f"user-{number}"
    async with shop.database.transaction() as session:
        customer_id = await add_customer(session, user)
        run_id = await add_run(session, customer_id)
    times: dict[str, float] = {}
    clock = asyncio.get_running_loop().time

    async def route_the_exit() -> int:
        await asyncio.sleep(random.random() * within)
        times["exit begins"] = clock()
        async with shop.database.transaction() as session:
            await add_event(session, user, "Order Completed")
        async with shop.database.transaction() as session:
            await lock(session, [customer_id], skip_locked=False)
            await session.execute(update(Event).where(Event.user_id == user).values(status="routed"))
            await session.execute(update(Run).where(Run.id == run_id).values(state=RunState.EXITED, reason="exit"))
            seen = await _claimed(session, run_id)
        times["exit ends"] = clock()
        return seen

    async def claim() -> None:
        times["claim begins"] = clock()
        with suppress(ApplicationError):  # the exit is not routed yet: the claim gives way
            await shop.send(run_id)
        times["claim ends"] = clock()

    seen, _ = await asyncio.gather(route_the_exit(), claim())
    async with shop.database.read() as reading:
        final = await _claimed(reading, run_id)
    overlapped = times["claim begins"] < times["exit ends"] and times["exit begins"] < times["claim ends"]
    return Race(seen, final, overlapped, times["claim ends"] - times["claim begins"])


async def _claimed(session: ReadSession, run_id: UUID) -> int:
    """Messages of the run that were ever claimed."""
    return (await session.execute(select(func.count()).where(Message.run_id == run_id))).scalar_one()


async def run_races(shop: Shop, overlapping: int, *, may_deadlock: bool = False) -> list[Race]:
    """Races until so many of them truly overlapped. Those that PostgreSQL broke off count only where they may."""
    races: list[Race] = []
    numbers = itertools.count()
    while sum(race.overlapped for race in races) < overlapping:
        within = random.choice(
            [0.004, races[-1].claim_took if races else 0.0]
        )  # whatever this machine makes of a claim
        batch = [exit_race(shop, number, within) for number in itertools.islice(numbers, AT_ONCE)]
        for ended in await asyncio.gather(*batch, return_exceptions=True):
            match ended:
                case Race():
                    races.append(ended)
                case DBAPIError() | ApplicationError(type="database_away") if may_deadlock:
                    pass
                case _:
                    raise ended
    return races


@pytest.mark.slow
@pytest.mark.timeout(1_200)
async def test_no_message_is_claimed_after_its_exit_was_routed(shop: Shop) -> None:
    races = await run_races(shop, 1_000)

    assert not [race for race in races if race.in_the_end > race.seen_by_exit]
    assert {race.in_the_end for race in races} == {0, 1}  # both orders happened


@pytest.mark.slow
@pytest.mark.timeout(1_200)
async def test_without_the_customers_lock_a_message_slips_through(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof that the test above can fail: the same races, with the lock taken out of the claim."""

    async def without_lock(session: WriteSession, run_id: UUID) -> LockedRun | None:
        statement = select(Run, Customer).join(Customer, Customer.id == Run.customer_id).where(Run.id == run_id)
        found = (await session.execute(statement)).one_or_none()
        await asyncio.sleep(0.015)  # the time that a claim takes on a busy machine
        return None if found is None else LockedRun(*found)

    monkeypatch.setattr("activities.steps.lock_run", without_lock)

    races = await run_races(shop, 300, may_deadlock=True)

    assert [race for race in races if race.in_the_end > race.seen_by_exit]


async def test_a_hundred_workers_never_send_one_message_more_than_the_cap(shop: Shop) -> None:
    await shop.set(frequency_caps=[{"channel": "email", "at_most": 3, "per": "7d"}])
    async with shop.database.transaction() as session:
        customer_id = await add_customer(session, "ann")
        runs = [await add_run(session, customer_id) for _ in range(100)]

    outcomes = await asyncio.gather(*(shop.send(run_id) for run_id in runs))

    assert [outcome.kind for outcome in outcomes].count(OutcomeKind.DONE) == 3
    assert {outcome.reason for outcome in outcomes} == {None, "frequency_cap"}
    assert len(shop.provider.taken) == 3


async def test_nothing_leaves_after_an_unsubscription_is_committed(shop: Shop) -> None:
    """Fifty messages to one customer race one unsubscription; the provider notes what was true when it was called."""
    async with shop.database.transaction() as session:
        customer_id = await add_customer(session, "ann")
        runs = [await add_run(session, customer_id) for _ in range(50)]

    async def unsubscribe() -> list[UUID]:
        while not shop.provider.taken:
            await asyncio.sleep(0.001)
        async with api.transaction() as session:  # another process: the workers' connections are all busy
            await lock(session, [customer_id], skip_locked=False)
            session.add(consent_record(customer_id, "unsubscribed", source="one-click"))
            await cancel_claimed(session, customer_id, reason=Reason.UNSUBSCRIBED)
            attempted = select(Message.id).where(Message.attempting_at.is_not(None))
            return list((await session.execute(attempted)).scalars())

    api = Database(shop.database.url, pool_size=1)
    begun, *_ = await asyncio.gather(unsubscribe(), *(shop.send(run_id) for run_id in runs))

    await api.close()
    assert {email.message_id for email in shop.provider.calls} <= set(begun)
    assert 0 < len(shop.provider.calls) < 50
    assert not [message for message in await shop.messages() if message.state == MessageState.CLAIMED]


async def test_two_attempts_at_one_step_make_one_message(shop: Shop) -> None:
    """A worker that was thought dead and its successor, side by side."""
    async with shop.database.transaction() as session:
        run_id = await add_run(session, await add_customer(session, "ann"))

    outcomes = await asyncio.gather(*(shop.send(run_id) for _ in range(10)), return_exceptions=True)

    assert len(shop.provider.taken) == 1
    assert len(await shop.messages()) == 1
    assert any(not isinstance(outcome, BaseException) for outcome in outcomes)
