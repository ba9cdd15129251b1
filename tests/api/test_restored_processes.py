"""Routers and workers on a restored database: the journal comes before anything is routed or sent (G32)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from connectors.journal_folder import JournalFolder
from database.incarnations import Admission
from database.session import Database
from domain.errors import Unavailable
from perennial.doctor_restore import examine_journal
from perennial.known_database import undo_restore, work_on_known
from perennial.settings import Settings
from tests.factories import make_customer
from tests.restoring import consent, dumped, postgres, restored, shop_of, state_of
from triggers.journal_keeping import JournalKeeper
from triggers.restoring import replay


@pytest.mark.slow
async def test_routers_and_workers_with_the_journal_do_it_before_they_begin(
    client: httpx.AsyncClient, database: Database, database_url: str, tmp_path: Path
) -> None:
    await make_customer(database, "ann", traits={"email": "ann@example.com"})
    await consent(client, "ann", "subscribed")
    backup = await dumped(database_url, tmp_path)
    await consent(client, "ann", "unsubscribed")
    await JournalKeeper(database, JournalFolder(tmp_path)).write()

    async with restored(database_url, backup) as old, shop_of(old) as shop:
        _, undone, _ = await examine_journal(old, tmp_path, datetime.now(UTC))
        await undo_restore(Settings(journal_dir=tmp_path), old)
        _, mended, _ = await examine_journal(old, tmp_path, datetime.now(UTC))

        assert (undone.is_kept, mended.is_kept) == (False, True)

        assert await state_of(shop, "ann") == "unsubscribed"


@pytest.mark.slow
@pytest.mark.parametrize("way", ["dropped and made again", "emptied in place"])
async def test_processes_that_live_on_use_a_restored_database_only_after_the_journal_was_replayed(
    client: httpx.AsyncClient, database: Database, database_url: str, tmp_path: Path, way: str
) -> None:
    await make_customer(database, "ann", traits={"email": "ann@example.com"})
    await consent(client, "ann", "subscribed")
    seen: list[str] = []
    async with restored(database_url, await dumped(database_url, tmp_path)) as living, shop_of(living) as shop:
        backup, name = await dumped(living.url, tmp_path), living.url.rpartition("/")[2]
        await consent(shop, "ann", "unsubscribed")
        await JournalKeeper(living, JournalFolder(tmp_path / "journal")).write()
        process, stop = Database(living.url, admission=Admission()), asyncio.Event()
        settings = Settings(journal_dir=tmp_path / "journal")
        working = asyncio.create_task(
            work_on_known(settings, process, lambda over: _look(process, seen, over), stop), name="process"
        )
        await _until(lambda: bool(seen))
        owner = await asyncpg.connect(living.url if way == "emptied in place" else database_url)
        if way == "emptied in place":
            await owner.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        else:
            await owner.execute(f"DROP DATABASE {name} WITH (FORCE)")
            await owner.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        await owner.close()
        await postgres("pg_restore", "--dbname", living.url, str(backup))
        await _until(lambda: seen.count("begun") > 1 and seen[-1] != "begun")
        stop.set()
        await working
        await process.close()

    if way == "dropped and made again":  # the other way is seen within a second
        assert set(seen) == {"begun", "unsubscribed"}
    assert seen[-1] == "unsubscribed"


async def _look(database: Database, seen: list[str], over: asyncio.Event) -> None:
    """What a send would find."""
    seen.append("begun")
    latest = "SELECT state FROM consents ORDER BY at DESC, id DESC LIMIT 1"
    while not over.is_set():
        try:
            async with database.read() as session:
                seen.append(str(await session.scalar(text(latest))))
        except (SQLAlchemyError, OSError):
            pass  # away, as while it is restored
        await asyncio.sleep(0.01)


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not is_so():  # another task sees to it
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_nothing_is_replayed_on_a_database_that_is_still_being_restored(
    client: httpx.AsyncClient, database: Database, database_url: str, tmp_path: Path
) -> None:
    await make_customer(database, "ann", traits={"email": "ann@example.com"})
    backup = await dumped(database_url, tmp_path)
    await consent(client, "ann", "unsubscribed")
    await JournalKeeper(database, JournalFolder(tmp_path)).write()
    server, name = database_url.rpartition("/")[0], f"half_{uuid.uuid4().hex}"
    owner = await asyncpg.connect(database_url)
    await owner.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    half, url = Database(f"{server}/{name}"), f"{server}/{name}"
    try:
        for section in ("pre-data", "data"):
            await postgres("pg_restore", "--no-privileges", "--section", section, "--dbname", url, str(backup))
            await _grant(url)
            with pytest.raises(Unavailable, match="let the restore end first"):
                await replay(half, JournalFolder(tmp_path), datetime.now(UTC))
        await postgres("pg_restore", "--section", "post-data", "--dbname", url, str(backup))
        done = await replay(half, JournalFolder(tmp_path), datetime.now(UTC))
    finally:
        await half.close()
        await owner.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await owner.close()

    assert (done.withdrawals, done.lost) == (1, 0)


async def _grant(url: str) -> None:
    """As where the roles were restored otherwise, so that rights do not stand in the way."""
    owner = await asyncpg.connect(url)
    await owner.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO perennial_app")
    await owner.close()
