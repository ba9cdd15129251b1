"""A Temporal that hangs: it takes calls and answers none, as a server does whose disk or network stalls (G7)."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from database.outbox import Command, CommandKind, NewCommand, add_commands, lease_commands
from database.session import Database
from perennial.embedded.temporal import EmbeddedTemporal
from perennial.temporal import connect
from tests.factories import NOON
from triggers.relay import Relay, Sent

pytestmark = pytest.mark.slow

MOMENT = timedelta(milliseconds=300)
PATIENT = timedelta(seconds=60)
"""With a Temporal that wakes up on a busy machine."""


@pytest.fixture
async def server(server_folder: Path) -> AsyncIterator[EmbeddedTemporal]:
    """A Temporal of this test's own, which may be stopped."""
    server = EmbeddedTemporal(server_folder / "hanging-temporal")
    await server.start()
    yield server
    await server.stop()


async def test_a_temporal_that_hangs_is_away_and_the_commands_are_not_blamed(
    database: Database, server: EmbeddedTemporal
) -> None:
    client = await connect(server.address, "default")
    starts = [NewCommand(CommandKind.START, f"j/{n}", {"workflow": "cart", "input": {}}) for n in range(3)]
    async with database.transaction() as session:
        await add_commands(session, starts)
    assert server.child.pid is not None

    os.kill(server.child.pid, signal.SIGSTOP)
    during = await Relay(database, client, patience=timedelta(seconds=1)).relay_once()
    async with database.read() as session:
        kept = (await session.execute(select(Command.attempts, Command.not_before))).all()
    os.kill(server.child.pid, signal.SIGCONT)

    assert during == Sent(outage=True)
    assert {attempts for attempts, _ in kept} == {0}
    assert (
        await Relay(database, client, patience=PATIENT, lease=2 * PATIENT).relay_once()
    ).done == 3  # at once: no command is put off for an outage


async def test_three_days_without_temporal_lose_no_command_and_put_none_off(
    database: Database, server: EmbeddedTemporal
) -> None:
    """By a raised clock: more comes twice a day, and a router dies with its lease."""
    now = NOON
    client = await connect(server.address, "default")
    relay = Relay(database, client, patience=MOMENT, now=lambda: now)
    assert server.child.pid is not None
    os.kill(server.child.pid, signal.SIGSTOP)
    rounds = []
    for hour in range(0, 72, 12):
        now = NOON + timedelta(hours=hour)
        start = NewCommand(CommandKind.START, f"j/{hour}", {"workflow": "cart", "input": {}})
        async with database.transaction() as session:
            await add_commands(session, [start])
        rounds.append(await relay.relay_once())
    async with database.transaction() as session:
        await lease_commands(session, now, 1, timedelta(seconds=2))  # by a router that died; by the database's clock

    os.kill(server.child.pid, signal.SIGCONT)
    done, relay = 0, Relay(database, client, patience=PATIENT, lease=2 * PATIENT, now=lambda: now)
    async with asyncio.timeout(120):
        while done < 6:  # the router's lease is over in a moment
            done += (await relay.relay_once()).done
    async with database.read() as session:
        left = (await session.execute(select(Command))).all()

    assert all(each == Sent(outage=True) for each in rounds)
    assert (done, left) == (6, [])
