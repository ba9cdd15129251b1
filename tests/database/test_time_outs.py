"""Time-outs of sessions: what PostgreSQL ends, what we end ourselves, and who may take longer."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from database.outages import is_outage, sqlstate_of
from database.pools import API, Pool
from database.session import Database


@asynccontextmanager
async def limited(url: str, pool: Pool) -> AsyncIterator[Database]:
    database = Database(url, pool=pool)
    try:
        yield database
    finally:
        await database.close()


@pytest.mark.parametrize(
    ("pool", "state"),
    [
        (Pool(1, 1, 0, 0, 0, 10), "57014"),
        (Pool(1, 0, 0, 0, 1, 10), "25P04"),
    ],
    ids=["a statement", "a transaction"],
)
async def test_what_takes_too_long_is_ended_and_known_as_an_outage(database_url: str, pool: Pool, state: str) -> None:
    async with limited(database_url, pool) as database:
        with pytest.raises(DBAPIError) as ended:
            async with database.transaction() as session:
                await session.execute(text("SELECT pg_sleep(60)"))

        assert (sqlstate_of(ended.value), is_outage(ended.value)) == (state, True)
        async with database.read() as session:  # the connection, or a new one, is good again
            assert await session.scalar(text("SELECT 1")) == 1


async def test_exports_and_sweeps_may_take_longer_and_nobody_after_them(database_url: str) -> None:
    async with limited(database_url, Pool(1, 1, 0, 1, 1.5, 10)) as database:
        async with database.transaction() as session:
            await session.take_long()
            await session.execute(text("SELECT pg_sleep(2)"))
            assert await session.scalar(text("SHOW transaction_timeout")) == "5min"
        async with database.transaction() as session:
            assert await session.scalar(text("SHOW statement_timeout")) == "1s"
        with pytest.raises(DBAPIError):
            async with database.transaction() as session:
                await session.execute(text("SELECT pg_sleep(60)"))


async def test_a_settings_text_changes_only_what_it_names() -> None:
    assert API.changed("size=20 lock=2.5") == Pool(20, 10, 2.5, 10, 20, 3)
    assert API.changed(str(API)) == API
    for wrong in ("sizes=3", "size=0", "lock=-1", "lock=soon", "lock"):
        with pytest.raises(ValueError, match=r"is none of|is too small|could not convert"):
            API.changed(wrong)


async def test_a_frozen_server_does_not_hold_a_caller_for_ever(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("database.session._GRACE_SECONDS", 0.1)
    async with limited(database_url, Pool(1, 0, 0, 0, 1, 2)) as database:
        async with database.read() as session:
            backend = await session.scalar(text("SELECT pg_backend_pid()"))
        os.kill(backend, signal.SIGSTOP)
        try:
            with pytest.raises(TimeoutError):
                async with database.transaction() as session:
                    await session.execute(text("SELECT 1"))
        finally:  # it has stood still all the while
            os.kill(backend, signal.SIGCONT)


async def test_whoever_waits_longest_for_a_connection_gets_the_next(database_url: str) -> None:
    served: list[str] = []

    async def use(name: str) -> None:
        async with database.transaction() as session:
            await session.execute(text("SELECT 1"))
            served.append(name)

    async with limited(database_url, Pool(1, 0, 0, 0, 0, 10)) as database:
        async with database.transaction() as session:
            await session.execute(text("SELECT 1"))
            early = [asyncio.create_task(use(name)) for name in "abc"]
            await asyncio.sleep(0.05)  # they stand in line
            returned = asyncio.Event()
            late = asyncio.create_task(_after(returned, use("late")))
            event.listen(database.engine.sync_engine.pool, "checkin", lambda *_: returned.set())
        await asyncio.gather(*early, late)

    assert served == [*"abc", "late"]


async def _after(moment: asyncio.Event, then: Awaitable[None]) -> None:
    await moment.wait()
    await then


async def test_who_finds_no_free_connection_is_told_so_in_time(database_url: str) -> None:
    async with limited(database_url, Pool(1, 0, 0, 0, 0, 0.1)) as database:
        async with database.transaction() as session:
            await session.execute(text("SELECT 1"))
            with pytest.raises(PoolTimeoutError, match=r"none of 1 connections was free for 0\.1 s"):
                async with database.read() as second:
                    await second.execute(text("SELECT 1"))
        async with database.read() as session:
            assert await session.scalar(text("SELECT 1")) == 1
