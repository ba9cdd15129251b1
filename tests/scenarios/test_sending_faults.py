"""Sending under faults: marketing at most once (G13), transactional mail at least once (G14), outages (G15, G18)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.messages import SettleInput
from activities.runs import RunActivities
from connectors.rendering import Renderer
from database.definitions import load_from
from database.messages import Message
from database.runs import Run
from database.session import Database
from domain.emails import OutgoingEmail
from domain.journeys.library import DefinitionLibrary, install
from domain.provider_answers import Accepted, Deferred, ProviderAnswer, Unknown
from domain.refusals import Fault
from domain.runs import JourneyInput, OutcomeKind
from tests.sending import NOON, Shop, add_customer, add_run, enter, never, open_shop, publish, welcome_journey
from workflows.activity_options import MESSAGES_QUEUE
from workflows.journey import JourneyWorkflow
from workflows.sandbox import sandbox


@pytest.fixture
async def shop(database: Database) -> AsyncIterator[Shop]:
    """A shop whose journey sends one e-mail."""
    renderer = Renderer(processes=2)
    async with open_shop(database, renderer) as shop:
        yield shop
    await renderer.close()


@dataclass
class TreacherousProvider:
    """Executes and then times out, refuses, hangs, or behaves; `accepted` is the oracle: what it truly took."""

    random: random.Random
    name: str = "treacherous"
    accepted: list[UUID] = field(default_factory=list)

    async def send(self, email: OutgoingEmail, as_of: datetime) -> ProviderAnswer:
        match self.random.choice(
            ["fine", "fine", "execute and time out", "time out", "429", "503", "hang", "execute and hang"]
        ):
            case "fine":
                self.accepted.append(email.message_id)
                return Accepted("p")
            case "execute and time out":
                self.accepted.append(email.message_id)
                return Unknown("timeout")
            case "time out":
                return Unknown("timeout")
            case "429":
                return Deferred("http_429", 429, not_before=as_of + timedelta(seconds=30), fault=Fault.PROVIDER)
            case "503":
                return Deferred("http_503", 503, fault=Fault.PROVIDER)
            case "execute and hang":
                self.accepted.append(email.message_id)
            case _:
                pass
        await asyncio.Event().wait()
        raise AssertionError("only a kill ends this")


async def attempt_until_settled(shop: Shop, run_id: UUID, chance: random.Random) -> int:
    """What Temporal does: repeat after a time-out, a kill or an error, until the activity answers. Counts the kills."""
    kills, as_of = 0, NOON
    for _ in range(100):
        try:
            async with asyncio.timeout(chance.choice([0.02, 0.1, 0.4, 2.0])):  # kill -9 at any moment
                await shop.send(run_id, as_of=as_of)
                return kills
        except TimeoutError:
            kills += 1
            as_of += timedelta(minutes=2)
        except ApplicationError as error:
            as_of += error.next_retry_delay or timedelta(seconds=10)
    raise AssertionError("it never settles")


@pytest.mark.slow
async def test_whatever_crashes_marketing_is_taken_at_most_once_and_transactional_mail_at_least_once(
    shop: Shop,
) -> None:
    chance = random.Random(20260610)
    provider = TreacherousProvider(chance)
    shop.provider.send = provider.send  # type: ignore[method-assign]
    async with shop.database.transaction() as session:
        customers = [await add_customer(session, f"user-{n}") for n in range(25)]
        marketing = [await add_run(session, customer) for customer in customers]
        receipts = [await add_run(session, customer, journey="receipts") for customer in customers]

    kills = 0
    for run_id in [*marketing, *receipts]:
        kills += await attempt_until_settled(shop, run_id, chance)

    assert kills > 10
    by_run: dict[UUID, Message] = {message.run_id: message for message in await shop.messages() if message.run_id}
    for run_id in marketing:
        assert provider.accepted.count(by_run[run_id].id) <= 1
    lost = [run_id for run_id in receipts if provider.accepted.count(by_run[run_id].id) == 0]
    for run_id in receipts:
        message = by_run[run_id]
        if provider.accepted.count(message.id) > 1:
            assert message.resent  # a second copy only after an attempt that nobody knows the end of, and it says so
    assert all(by_run[run_id].state == "unknown" and by_run[run_id].resent for run_id in lost)


async def test_transactional_mail_survives_any_one_ambiguous_attempt(shop: Shop) -> None:
    run_id = await enter(shop, journey="receipts")
    shop.provider.script = [Unknown("timeout")]
    with pytest.raises(ApplicationError):
        await shop.send(run_id)

    outcome = await shop.send(run_id, as_of=NOON + timedelta(minutes=16))

    assert outcome.kind is OutcomeKind.DONE
    assert len(shop.provider.taken) == 1
    message = await shop.message()
    assert message.resent
    assert [attempt["outcome"] for attempt in message.attempts] == ["unknown", "accepted"]


async def test_a_report_of_the_provider_spares_the_second_copy(shop: Shop) -> None:
    run_id = await enter(shop, journey="receipts")
    shop.provider.script = [Unknown("timeout")]
    with pytest.raises(ApplicationError):
        await shop.send(run_id)
    async with shop.database.transaction() as session:
        message = (await session.execute(select(Message))).scalar_one()
        message.state = "accepted"

    outcome = await shop.send(run_id, as_of=NOON + timedelta(minutes=16))

    assert outcome.kind is OutcomeKind.DONE
    assert len(shop.provider.calls) == 1


async def test_a_worker_killed_in_the_call_leaves_an_attempt_that_the_upkeep_settles(shop: Shop) -> None:
    run_id = await enter(shop)

    shop.provider.script = [never]
    sending = asyncio.create_task(shop.send(run_id))
    while not shop.provider.calls:
        await asyncio.sleep(0.01)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    assert (await shop.message()).state == "attempting"

    settled = await shop.activities.settle_messages(SettleInput(as_of=NOON + timedelta(minutes=20)))

    assert (settled.lost, settled.unknown) == (1, 1)
    message = await shop.message()
    assert message.state == "unknown"
    assert [(attempt["outcome"], attempt["error"]) for attempt in message.attempts] == [("unknown", "attempt_lost")]
    assert (await shop.send(run_id, as_of=NOON + timedelta(minutes=21))).reason == "unknown"
    assert len(shop.provider.calls) == 1


# Six hours of outage, by Temporal's own clock ----------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("refusal", ["http_503", "http_429"])
async def test_six_hours_of_outage_cost_time_and_no_message_and_end_no_journey(
    shop: Shop, time_skipping: WorkflowEnvironment, refusal: str
) -> None:
    begun = datetime.fromtimestamp(0, UTC)

    async def away(as_of: datetime) -> ProviderAnswer | None:
        if as_of - begun > timedelta(hours=6):
            return None
        not_before = as_of + timedelta(minutes=5) if refusal == "http_429" else None
        return Deferred(refusal, int(refusal[-3:]), not_before=not_before, fault=Fault.PROVIDER)

    shop.provider.send = _while(shop, away)  # type: ignore[method-assign, assignment]
    async with shop.database.transaction() as session:
        await publish(session, "journey", "fresh", welcome_journey(journey="fresh", not_after="4h"))
        customers = [await add_customer(session, f"user-{n}") for n in range(3)]
        runs = [await add_run(session, customer) for customer in customers]
        stale = await add_run(session, customers[0], journey="fresh")
    begun = await time_skipping.get_current_time()

    await walk(shop, time_skipping, [*runs, stale])

    async with shop.database.read() as reading:
        states = {row.id: row.state for row in await reading.execute(select(Run.id, Run.state))}
    messages = {message.run_id: message for message in await shop.messages()}
    assert set(states.values()) == {"completed"}
    assert [messages[run_id].state for run_id in runs] == ["accepted"] * 3
    assert sorted(email.to for email in shop.provider.taken) == [f"user-{n}@example.com" for n in range(3)]
    assert (messages[stale].state, messages[stale].reason) == ("expired", "not_after")


def _while(
    shop: Shop, away: Callable[[datetime], Awaitable[ProviderAnswer | None]]
) -> Callable[[OutgoingEmail, datetime], Coroutine[Any, Any, ProviderAnswer]]:
    async def send(email: OutgoingEmail, as_of: datetime) -> ProviderAnswer:
        refusal = await away(as_of)
        if refusal is None:
            shop.provider.taken.append(email)
        return refusal or Accepted("p")

    return send


async def _are_over(shop: Shop, runs: list[UUID]) -> bool:
    await asyncio.sleep(0.2)  # lets the workers do what has fallen due
    async with shop.database.read() as session:
        active = select(Run.id).where(Run.id.in_(runs), Run.state == "active")
        return (await session.execute(active)).first() is None


async def walk(shop: Shop, environment: WorkflowEnvironment, runs: list[UUID]) -> None:
    """Walk runs to their end on a real worker, hours passing in no time."""
    library = DefinitionLibrary(load_from(shop.database, asyncio.get_running_loop()))
    install(library)
    run_activities = RunActivities(shop.database, library)
    async with (
        Worker(
            environment.client,
            task_queue="journeys",
            workflows=[JourneyWorkflow],
            activities=[run_activities.finish_run, run_activities.fail_step],
            workflow_runner=sandbox(),
        ),
        Worker(environment.client, task_queue=MESSAGES_QUEUE, activities=[shop.activities.send]),
    ):
        async with shop.database.read() as session:
            rows = (await session.execute(select(Run).where(Run.id.in_(runs)))).scalars().all()
        handles = [
            await environment.client.start_workflow(
                row.journey,
                JourneyInput(run_id=row.id, customer_id=row.customer_id, journey=row.journey, version=row.version),
                id=row.workflow_id,
                task_queue="journeys",
            )
            for row in rows
        ]
        while not await _are_over(shop, runs):
            await environment.sleep(timedelta(minutes=5))  # the server skips no time while activities are retried
        for handle in handles:
            await handle.result()
