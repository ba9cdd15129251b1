"""What is held up between the gate and the call does not leave by what the gate saw then (G12, G18, G19)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import update
from temporalio.exceptions import ApplicationError

from connectors.rendering import Renderer
from database.customers import lock
from database.runs import Run, RunStep
from database.session import Database
from domain.runs import OutcomeKind, StepOutcome
from tests.sending import NOON, Shop, add_customer, add_event, add_run, consent_record, enter, open_shop, publish
from tests.sending import welcome_journey as journey_of
from triggers.restrictions import restrict

# The first attempt of a message takes 1.2 s to commit, or longer if a test holds it, as on a disk that is busy; the
# customer's lock is held as long.
_SLOW_COMMIT = """
    CREATE SEQUENCE attempts_begun;
    CREATE FUNCTION take_long() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        IF nextval('attempts_begun') = 1 THEN
            PERFORM pg_sleep(1.2);
            PERFORM pg_advisory_xact_lock(1);
        END IF;
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER take_long AFTER UPDATE ON messages DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.state = 'attempting') EXECUTE FUNCTION take_long();
"""
TWO_WAIT = "SELECT count(*) >= 2 FROM pg_locks WHERE NOT granted"
"""The message for its test, and somebody for the customer, whose turn comes before the message's next one."""


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """Makes the database slow once, and sees when it is."""
    owner = await asyncpg.connect(database.url)
    await owner.execute(_SLOW_COMMIT)
    yield owner
    await owner.close()


@pytest.fixture
async def shop(database: Database, renderer: Renderer, owner: asyncpg.Connection) -> AsyncIterator[Shop]:
    """A shop with a hard rate."""
    patience = timedelta(milliseconds=100)
    async with open_shop(database, renderer, rates={"scripted": 20.0}, patience=patience) as shop:
        yield shop


@asynccontextmanager
async def held_up(shop: Shop, owner: asyncpg.Connection, run_id: UUID) -> AsyncIterator[asyncio.Task[StepOutcome]]:
    """A message under way: for the block, its gate has looked and its first attempt is being committed."""
    await owner.execute("SELECT pg_advisory_lock(1)")
    sending = asyncio.create_task(shop.send(run_id))
    await until(owner, "SELECT is_called FROM attempts_begun")
    yield sending
    await owner.execute("SELECT pg_advisory_unlock(1)")


async def until(owner: asyncpg.Connection, holds: str) -> None:
    async with asyncio.timeout(60):
        while not await owner.fetchval(holds):
            await asyncio.sleep(0.01)


async def test_what_is_held_up_before_its_call_leaves_once_when_the_gate_agrees_again(shop: Shop) -> None:
    run_id = await enter(shop)

    outcome = await shop.send(run_id)

    assert outcome.kind is OutcomeKind.DONE
    assert len(shop.provider.calls) == 1
    message = await shop.message()
    assert [each["outcome"] for each in message.attempts] == ["accepted"]  # the one that was taken back left no trace
    assert message.called_at is not None
    assert message.attempting_at is not None
    assert message.called_at - message.attempting_at < timedelta(milliseconds=500)


async def test_an_exit_that_is_acknowledged_while_a_message_is_held_up_beats_it(
    shop: Shop, owner: asyncpg.Connection
) -> None:
    run_id = await enter(shop)

    async with held_up(shop, owner, run_id) as sending, shop.database.transaction() as session:
        await add_event(session, "ann", "Order Completed")
    with pytest.raises(ApplicationError) as held:
        await sending

    assert held.value.type == "events_pending"
    assert shop.provider.calls == []
    message = await shop.message()
    assert (message.state, message.attempts, message.attempting_at) == ("claimed", [], None)
    async with shop.database.transaction() as session:
        await session.execute(update(Run).values(state="exited", reason="Order Completed"))
    assert (await shop.send(run_id)).kind is OutcomeKind.EXITED


async def test_consent_that_is_withdrawn_while_a_message_is_held_up_counts(
    shop: Shop, owner: asyncpg.Connection
) -> None:
    run_id = await enter(shop)

    async def withdraws() -> None:
        async with shop.database.transaction() as session:
            run = await session.get_one(Run, run_id)
            session.add(consent_record(run.customer_id, "unsubscribed"))

    async with held_up(shop, owner, run_id) as sending:
        withdrawing = asyncio.create_task(withdraws())
        await until(owner, TWO_WAIT)
    await withdrawing
    outcome = await sending

    assert (outcome.kind, outcome.reason) == (OutcomeKind.SKIPPED, "unsubscribed")
    assert shop.provider.calls == []


async def test_nothing_leaves_after_its_time_because_it_was_held_up(shop: Shop) -> None:
    reached = {"step": "reminder", "visit": 1, "kind": "send", "outcome": "reached", "detail": {}}
    async with shop.database.transaction() as session:
        await publish(session, "journey", "fresh", journey_of(journey="fresh", not_after="2h"))
        run_id = await add_run(session, await add_customer(session, "ann"), journey="fresh")
        session.add(RunStep(run_id=run_id, reached_at=NOON - timedelta(hours=2, seconds=-1), **reached))

    outcome = await shop.send(run_id)

    assert (outcome.kind, outcome.reason) == (OutcomeKind.SKIPPED, "not_after")
    assert shop.provider.calls == []
    assert (await shop.message()).state == "expired"


async def test_a_restriction_acknowledged_while_a_message_is_held_up_keeps_it_from_leaving(
    shop: Shop, owner: asyncpg.Connection
) -> None:
    run_id = await enter(shop)

    async def objects() -> None:
        async with shop.database.transaction() as session:
            customer = (await session.get_one(Run, run_id)).customer_id
            await lock(session, [customer], skip_locked=False)
            await restrict(session, customer, reason="objects", by="key", as_of=NOON)

    async with held_up(shop, owner, run_id) as sending:
        objecting = asyncio.create_task(objects())
        await until(owner, TWO_WAIT)
    await objecting

    assert ((await sending).kind, shop.provider.calls) == (OutcomeKind.HELD, [])
    assert (await shop.message()).reason == "restricted"
