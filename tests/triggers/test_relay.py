"""The relay against a real Temporal: started once, woken in order, nothing lost while Temporal is away (G7)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select
from temporalio import workflow
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import RawValue
from temporalio.worker import Worker

from database.outbox import Command, CommandKind, NewCommand, PendingCommand, add_commands, lease_commands
from database.session import Database
from perennial.loopback import any_free_port
from perennial.temporal import connect
from tests.factories import NOON
from tests.triggers.shop import Shop, abandoned_cart
from triggers import commands
from triggers.relay import Relay, Sent

PATIENCE, LEASE = timedelta(seconds=0.5), timedelta(seconds=1)


@workflow.defn(dynamic=True, sandboxed=False)
class WokenTwice:
    """Stands for a journey: ends after two wakes and tells how many it got."""

    def __init__(self) -> None:
        self._wakes = 0

    @workflow.signal
    def wake(self) -> None:
        self._wakes += 1

    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> int:
        await workflow.wait_condition(lambda: self._wakes >= 2)
        return self._wakes


@asynccontextmanager
async def worker(client: Client) -> AsyncIterator[None]:
    async with Worker(client, task_queue=commands.QUEUE, workflows=[WokenTwice]):
        yield


async def write(database: Database, *new: NewCommand) -> None:
    async with database.transaction() as session:
        await add_commands(session, new)


async def depth(database: Database) -> int:
    async with database.read() as session:
        return await session.scalar(select(func.count()).select_from(Command)) or 0


def start(workflow_id: str, *, kind: str = "cart") -> NewCommand:
    payload = {
        "workflow": kind,
        "input": {},
        "attributes": {"Journey": kind, "JourneyVersion": 3},
        "summary": "Cart, version 3",
        "details": "Entered by *Product Added*.",
    }
    return NewCommand(CommandKind.START, workflow_id, payload)


def wake(workflow_id: str) -> NewCommand:
    return NewCommand(CommandKind.WAKE, workflow_id)


async def test_a_start_carries_attributes_and_words_and_wakes_reach_it_in_order(
    database: Database, temporal_client: Client
) -> None:
    relay = Relay(database, temporal_client)
    await write(database, start("j/1"), wake("j/1"), wake("j/1"))
    assert (await relay.relay_once()).done == 3
    handle = temporal_client.get_workflow_handle("j/1")
    described = await handle.describe()
    assert described.workflow_type == "cart"
    assert await described.static_summary() == "Cart, version 3"
    attributes = {pair.key.name: pair.value for pair in described.typed_search_attributes}
    assert attributes["JourneyVersion"] == 3
    await write(database, wake("j/1"))
    await relay.relay_once()
    async with worker(temporal_client):
        assert await handle.result() == 2  # three wakes, of which two were one
    assert await depth(database) == 0


async def test_a_relay_that_died_after_the_call_starts_nothing_twice_not_even_after_the_end(
    database: Database, temporal_client: Client
) -> None:
    relay = Relay(database, temporal_client)
    await write(database, start("j/1"))
    await _call_and_die(database, temporal_client)
    assert (await relay.relay_once()).done == 1
    async with worker(temporal_client):
        await write(database, wake("j/1"))
        await relay.relay_once()
        await write(database, wake("j/1"))
        await relay.relay_once()
        await temporal_client.get_workflow_handle("j/1").result()
    await write(database, start("j/1"), wake("j/1"))
    assert (await relay.relay_once()).done == 2
    described = await temporal_client.get_workflow_handle("j/1").describe()
    assert described.status is WorkflowExecutionStatus.COMPLETED


async def _call_and_die(database: Database, client: Client) -> None:
    async def call() -> None:
        async with database.transaction() as session:
            leased = await lease_commands(session, datetime.now(UTC), 10, timedelta(seconds=9))
            for command in (each for group in leased.values() for each in group):
                await commands.carry_out(client, command)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await call()


async def test_two_relays_share_the_work_and_keep_each_workflows_order(
    database: Database, temporal_client: Client
) -> None:
    await write(database, *(start(f"j/{n}") for n in range(30)), *(wake(f"j/{n}") for n in range(30)))
    relays = [Relay(database, temporal_client, workflows_at_once=7) for _ in range(2)]

    async def drain(relay: Relay) -> None:
        while await depth(database):
            await relay.relay_once()

    await asyncio.gather(*(drain(relay) for relay in relays))
    running = [each async for each in temporal_client.list_workflows("WorkflowType = 'cart'")]
    assert {each.id for each in running} <= {f"j/{n}" for n in range(30)}
    history = await temporal_client.get_workflow_handle("j/29").fetch_history()
    assert [event.WhichOneof("attributes") for event in history.events].count(
        "workflow_execution_signaled_event_attributes"
    ) == 1


async def test_while_temporal_is_away_entries_wait_and_none_is_missing_afterwards(
    shop: Shop, temporal_client: Client
) -> None:
    await shop.publish(abandoned_cart())
    away = await connect(f"127.0.0.1:{any_free_port()}", temporal_client.namespace, lazy=True)
    stop = asyncio.Event()
    relaying = asyncio.create_task(Relay(shop.database, away, patience=PATIENCE, lease=LEASE).run(stop))
    for number in range(5):
        await shop.track("Product Added", {"cart_id": "c"}, user_id=f"u-{number}")
    await asyncio.sleep(0.5)
    stop.set()
    relaying.cancel()
    await asyncio.gather(relaying, return_exceptions=True)
    assert await depth(shop.database) == 5
    await asyncio.sleep(LEASE.total_seconds())  # what it was about when it died is taken up after that
    assert (await Relay(shop.database, temporal_client).relay_once()).done == 5
    for run in await shop.runs():
        described = await temporal_client.get_workflow_handle(run.workflow_id).describe()
        assert described.status is WorkflowExecutionStatus.RUNNING


async def test_a_command_that_temporal_refuses_waits_and_holds_up_no_other_workflow(
    database: Database, temporal_client: Client
) -> None:
    refused = NewCommand(CommandKind.START, "j/bad", {"workflow": "cart", "input": {}, "attributes": {"Nobody": "x"}})
    await write(database, refused, wake("j/bad"), start("j/good"))
    sent = await Relay(database, temporal_client).relay_once()
    assert (sent.done, sent.refused, sent.outage) == (1, 1, False)
    async with database.read() as session:
        kept = (await session.execute(select(Command).order_by(Command.id))).scalars().all()
    assert [each.workflow_id for each in kept] == ["j/bad", "j/bad"]
    assert kept[0].attempts == 1
    assert (await Relay(database, temporal_client).relay_once()).done == 0


async def test_what_is_over_needs_no_wake_and_no_end(database: Database, temporal_client: Client) -> None:
    kinds = (CommandKind.WAKE, CommandKind.CANCEL, CommandKind.TERMINATE, CommandKind.UNSCHEDULE)
    await write(database, *(NewCommand(kind, f"gone/{kind}", {"reason": "archived"}) for kind in kinds))
    assert (await Relay(database, temporal_client).relay_once()).done == len(kinds)


def test_wakes_that_follow_one_another_are_one_call() -> None:
    def command(position: int, kind: CommandKind) -> PendingCommand:
        return PendingCommand(position, kind, "j/1", {}, 0, NOON)

    kinds = [CommandKind.START, CommandKind.WAKE, CommandKind.WAKE, CommandKind.CANCEL, CommandKind.WAKE]
    calls = commands.coalesced([command(position, kind) for position, kind in enumerate(kinds)])
    assert [[each.id for each in call] for call in calls] == [[0], [1, 2], [3], [4]]


@dataclass
class SlowTemporal:
    """Temporal, which answers one call for each release of `answers`; what was asked of it, in order."""

    asked: list[str] = field(default_factory=list)
    answers: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    async def carry_out(self, client: Client, command: PendingCommand, patience: timedelta) -> None:
        self.asked.append(f"{command.kind} {command.workflow_id}")
        await self.answers.acquire()

    async def is_asked(self, calls: int) -> None:
        """Wait until it has been asked so often."""
        async with asyncio.timeout(60):
            while len(self.asked) < calls:
                await asyncio.sleep(0.01)


@pytest.fixture
def slow_temporal(monkeypatch: pytest.MonkeyPatch) -> SlowTemporal:
    slow = SlowTemporal()
    monkeypatch.setattr("triggers.relay.carry_out", slow.carry_out)
    return slow


async def test_no_lock_is_held_while_temporal_is_asked_and_no_other_relay_asks_too(
    database: Database, temporal_client: Client, slow_temporal: SlowTemporal
) -> None:
    await write(database, start("j/1"), wake("j/1"))
    first = asyncio.create_task(Relay(database, temporal_client).relay_once())
    await slow_temporal.is_asked(1)
    async with database.transaction() as session:
        await session.execute(select(Command).with_for_update(nowait=True))
    await write(database, NewCommand(CommandKind.CANCEL, "j/1"))
    other = await Relay(database, temporal_client).relay_once()
    for _ in range(3):
        slow_temporal.answers.release()
    assert (other.done, (await first).done) == (0, 2)
    assert (await Relay(database, temporal_client).relay_once()).done == 1

    assert slow_temporal.asked == ["start j/1", "wake j/1", "cancel j/1"]


async def test_what_a_frozen_relay_had_leased_is_taken_up_and_it_asks_nothing_late(
    database: Database, temporal_client: Client, slow_temporal: SlowTemporal
) -> None:
    await write(database, start("j/1"), NewCommand(CommandKind.CANCEL, "j/1"))
    lease = timedelta(seconds=3)  # its first call must begin in the time that its patience leaves of this
    frozen = asyncio.create_task(Relay(database, temporal_client, patience=PATIENCE, lease=lease).relay_once())
    await slow_temporal.is_asked(1)
    taken = asyncio.create_task(_take_up(Relay(database, temporal_client, lease=timedelta(seconds=60))))
    await slow_temporal.is_asked(2)  # the lease is over, and the first call still has no answer
    slow_temporal.answers.release()
    assert (await frozen).done == 1
    assert await depth(database) == 2  # it removed nothing that is another's by now
    for _ in range(2):
        slow_temporal.answers.release()
    assert (await taken).done == 2

    assert slow_temporal.asked == ["start j/1", "start j/1", "cancel j/1"]
    assert await depth(database) == 0


async def _take_up(relay: Relay) -> Sent:
    """The first round that has something to do."""
    while not (sent := await relay.relay_once()).done:
        await asyncio.sleep(0.05)
    return sent
