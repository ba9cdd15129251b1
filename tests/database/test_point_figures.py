"""The liability's figures: exact to the point at any moment, without reading the whole ledger."""

from __future__ import annotations

import asyncio
import random
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import text

from database import point_totals, points
from database.guarantees import QUESTIONS, offenders
from database.point_figures import PointFigures, figures
from database.point_totals import add_up, total_older
from database.session import Database
from domain.ids import new_id
from domain.points import Credit, CreditKind, Debit, DebitKind
from tests.factories import NOON

_SUMMED = text("""
    SELECT coalesce(-sum(amount) FILTER (WHERE bucket = 'issued' AND effective_at >= :since), 0)::bigint AS issued,
        coalesce(sum(amount) FILTER (WHERE bucket = 'redeemed' AND effective_at >= :since), 0)::bigint AS redeemed,
        coalesce(sum(amount) FILTER (WHERE bucket IN ('pending', 'available', 'held')), 0)::bigint AS outstanding
    FROM point_entries JOIN point_transactions ON point_transactions.id = transaction_id
    WHERE effective_at < :until
""")
_READ_IN_HERE = text("""
    SELECT coalesce(sum(seq_tup_read + idx_tup_fetch), 0)::int FROM pg_stat_xact_user_tables
    WHERE relname LIKE 'point\\_%'
""")


async def move(database: Database, account: UUID, at: datetime) -> None:
    """100 points earned and 30 of them spent, at one moment."""
    async with database.transaction() as session:
        earned = Credit(account, f"earned/{new_id()}", 100, CreditKind.EARN, at, "purchase")
        spent = Debit(account, f"spent/{new_id()}", 30, DebitKind.DEDUCT, "shop")
        await points.post(session, "main", [earned, spent], at)


async def agree(database: Database, since: datetime, until: datetime) -> PointFigures:
    """The figures, held against a sum over all entries in the same reading."""
    async with database.transaction() as session:
        await session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        found = await figures(session, "main", since, until)
        summed = (await session.execute(_SUMMED, {"since": since, "until": until})).mappings().one()
    assert {name: getattr(found, name) for name in summed} == dict(summed)
    return found


async def test_the_liability_is_exact_while_members_earn_and_spend_and_upkeep_adds_up(database: Database) -> None:
    chance, accounts = random.Random(5), [new_id() for _ in range(6)]
    moments = [NOON - timedelta(minutes=7 * step) for step in range(60)]
    is_over = asyncio.Event()

    async def earn(account: UUID) -> None:
        for at in reversed(moments[:20]):
            await move(database, account, at)

    async def add() -> None:
        while not is_over.is_set():
            async with database.transaction() as session:
                await add_up(session, limit=chance.randrange(1, 9))

    async def ask() -> None:
        while not is_over.is_set():
            since, until = sorted(chance.sample(moments, 2))
            await agree(database, since, until)

    async with asyncio.TaskGroup() as beside:
        for each in (add(), add(), ask(), ask()):
            beside.create_task(each)
        async with asyncio.TaskGroup() as earning:
            for account in accounts:
                earning.create_task(earn(account))
        is_over.set()

    whole = await agree(database, NOON - timedelta(days=1), NOON + timedelta(hours=1))
    assert (whole.issued, whole.redeemed, whole.outstanding) == (12_000, 3_600, 8_400)
    async with database.read() as session:
        asked = next(question for question in QUESTIONS if "liability" in question.promise)
        assert list(await offenders(session, asked, NOON)) == []


@pytest.fixture
async def older(database: Database, database_url: str) -> Database:
    """A ledger that an earlier release wrote: nothing of it was noted."""
    owner = await asyncpg.connect(database_url)
    await owner.execute("ALTER TABLE point_entries DISABLE TRIGGER totalled")
    await owner.execute("ALTER TABLE point_transactions ALTER COLUMN is_totalled SET DEFAULT false")
    try:
        for hours in range(30):
            await move(database, UUID(int=7), NOON - timedelta(hours=30 - hours))
    finally:
        await owner.execute("ALTER TABLE point_entries ENABLE TRIGGER totalled")
        await owner.execute("ALTER TABLE point_transactions ALTER COLUMN is_totalled SET DEFAULT true")
        await owner.close()
    return database


async def test_the_liability_counts_what_earlier_releases_wrote_before_during_and_after_the_pass_over_it(
    older: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("database.point_totals.PAGE", 7)
    window = (NOON - timedelta(hours=20, minutes=10), NOON + timedelta(hours=1))
    before = await agree(older, *window)
    await move(older, UUID(int=7), NOON)
    await die_after_pages(older, 3)
    during = await agree(older, *window)
    await total_older(older, NOON)
    after = await agree(older, *window)

    assert (before.outstanding, during.outstanding, after.outstanding) == (2_100, 2_170, 2_170)


async def die_after_pages(database: Database, pages: int) -> None:
    """The pass over older transactions, in a process that dies in the middle."""
    for _ in range(pages):
        async with database.transaction() as session:
            assert await point_totals._note_some(session, NOON)


async def test_the_liability_reads_hours_and_not_the_ledger(database: Database) -> None:
    """A thousand moves more of long ago are read by their hours: as many rows, however many moves."""

    async def rows_read() -> int:
        async with database.transaction() as session:
            await session.execute(text("SELECT pg_stat_force_next_flush()"))
        async with database.read() as session:
            statement = "SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_user_tables WHERE relname LIKE 'point%'"
            return int(await session.scalar(text(statement)) or 0)

    async def cost() -> int:
        before = await rows_read()
        async with database.read() as session:
            await figures(session, "main", NOON - timedelta(days=2), NOON)
            await session.execute(text("SELECT pg_stat_force_next_flush()"))
        return await rows_read() - before

    await total_older(database, NOON)
    costs = []
    for _ in range(2):
        async with database.transaction() as session:
            for _ in range(300):
                at = NOON - timedelta(days=1)
                credit = Credit(new_id(), f"{new_id()}", 100, CreditKind.EARN, at, "purchase")
                await points.post(session, "main", [credit], at)
        async with database.transaction() as session:
            assert await add_up(session) == 600
        costs.append(await cost())

    assert costs[1] <= costs[0] < 50


async def test_a_page_of_points_costs_the_same_however_long_the_history_is(database: Database) -> None:
    account = new_id()

    async def cost() -> tuple[list[UUID], int]:
        async with database.read() as session:
            page = await points.history(session, "main", account, limit=10)
            return [each.id for each in page], await session.scalar(_READ_IN_HERE) or 0

    async def earn(count: int) -> None:
        async with database.transaction() as session:
            for _ in range(count):
                credit = Credit(account, f"{new_id()}", 100, CreditKind.EARN, NOON, "purchase")
                await points.post(session, "main", [credit], NOON)
        async with database.transaction() as session:
            await session.execute(text("SET LOCAL ROLE NONE"))  # the application owns no tables
            await session.execute(text("ANALYZE point_entries, point_transactions, point_balances"))

    await earn(40)
    before, short = await cost()
    await earn(3_000)
    after, long = await cost()

    assert len(before) == len(after) == 10
    assert min(after) > max(before)
    assert long <= short * 2
