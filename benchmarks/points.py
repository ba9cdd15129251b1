"""Moves of points per second, spread and on one hot member, against bare updates of the same rows; and the night.

A move is a transaction of its own: its balance locked, its key looked up, and entries, lots and balance written. The
floor updates only the balance row, in one statement and one transaction.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from temporalio.testing import ActivityEnvironment

from activities.settling import SettlingActivities, SettlingStep
from benchmarks.figure import Better, Figure, percentile
from benchmarks.world import World
from database import points
from database.session import Database
from domain.ids import new_id
from domain.points import Credit, CreditKind, Debit, DebitKind

MOVES = 1_000
AT_ONCE = 8
PEOPLE = 500
PROGRAMME = "main"
_START = datetime(2026, 1, 1, tzinfo=UTC)
_EXPIRES = _START + timedelta(days=30)
_NIGHT = _START + timedelta(days=31)
_PEOPLE_AT_ONCE = 10_000

_FLOOR = text("UPDATE point_balances SET available = available + 1 WHERE programme = :programme AND account = :account")
_ADD_CUSTOMERS = text("""
    INSERT INTO customers (id, traits, trait_times, observed, first_seen, last_seen)
    SELECT id, '{}', '{}', '{}', :at, :at FROM unnest(CAST(:ids AS uuid[])) AS new (id)
""")
_ADD_LOTS = text("""
    WITH new AS MATERIALIZED (
        SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:transactions AS uuid[])) AS new (account, id)
    ),
    balances AS (
        INSERT INTO point_balances (programme, account, issued, available, number, next_due)
        SELECT :programme, account, -10, 10, 1, :expires FROM new
    ),
    transactions AS (
        INSERT INTO point_transactions (
            id, programme, account, number, key, fingerprint, kind, points, source, effective_at, recorded_at, answer
        )
        SELECT id, :programme, account, 1, uuid_send(id), '', 'earn', 10, 'benchmark', :at, :at, '{}' FROM new
    ),
    entries AS (
        INSERT INTO point_entries (programme, account, number, bucket, amount, transaction_id)
        SELECT :programme, account, 1, bucket, amount, id
        FROM new CROSS JOIN (VALUES ('issued', -10), ('available', 10)) AS sides (bucket, amount)
    )
    INSERT INTO point_lots (
        id, programme, account, origin, transaction_id, kind, source, original, remaining, number, earned_at,
        expires_at, is_pending
    )
    SELECT id, :programme, account, id, id, 'earn', 'benchmark', 10, 10, 1, :at, :expires, false FROM new
""")


async def measure(world: World) -> Sequence[Figure]:
    """Moves per second beside their floors, then the night and the moves made during it."""
    database = Database(await world.new_database(), pool_size=AT_ONCE + 2)
    try:
        people = await _people(database, PEOPLE)
        return [
            await _moves(database, "spread over members", people, aim=0.2),
            await _moves(database, "on one hot member", people[:1], aim=0.2),
            *await _night(database, world.options.expiring_lots),
        ]
    finally:
        await database.close()


async def _moves(database: Database, where: str, people: Sequence[UUID], *, aim: float) -> Figure:
    async def move(number: int) -> None:
        account = people[number % len(people)]
        key = f"{where}/{number}"
        taking = Debit(account, key, 1, DebitKind.DEDUCT, "benchmark")
        giving = Credit(account, key, 2, CreditKind.AWARD, _START, "benchmark")
        async with database.transaction() as session:
            await points.post(session, PROGRAMME, [taking if number % 2 else giving], _START)

    async def bare(number: int) -> None:
        async with database.transaction() as session:
            await session.execute(_FLOOR, {"programme": PROGRAMME, "account": people[number % len(people)]})

    await _rate(move, 4 * AT_ONCE)
    ours = await _rate(lambda number: move(number + MOVES), MOVES)
    floor = await _rate(bare, MOVES)
    return Figure(f"moves of points {where}", ours, "moves/s", floor, "one-statement updates", aim=aim)


async def _rate(do: Callable[[int], Awaitable[None]], count: int) -> float:
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            await do(number)

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return count / (time.perf_counter() - started)


async def _night(database: Database, lots: int) -> Sequence[Figure]:
    """One lot a member expires, while other members' points go on moving."""
    await _fill(database, lots)
    others = await _people(database, PEOPLE)
    before = _peak_megabytes()
    step = SettlingStep(since=_START, as_of=_NIGHT)
    started = time.perf_counter()
    job = asyncio.create_task(ActivityEnvironment().run(SettlingActivities(database).settle_accounts, step))
    waits: list[float] = []
    while not job.done():
        at = time.perf_counter()
        async with database.transaction() as session:
            credit = Credit(others[len(waits) % PEOPLE], f"day/{len(waits)}", 1, CreditKind.AWARD, _NIGHT, "benchmark")
            await points.post(session, PROGRAMME, [credit], _NIGHT)
        waits.append((time.perf_counter() - at) * 1_000)
        await asyncio.sleep(0.02)
    done = (await job).count
    seconds = time.perf_counter() - started
    name = f"nightly expiry of {lots:,} lots"
    return [
        Figure(name, done / seconds, "lots/s"),
        Figure(f"{name}: growth of the process's peak memory", _peak_megabytes() - before, "MB", better=Better.LOWER),
        Figure(f"{name}: moves made meanwhile, p95", percentile(waits, 0.95), "ms", aim=250, better=Better.LOWER),
    ]


async def _fill(database: Database, lots: int) -> None:
    """Members with one lot each, as a million credits would have left them, had they not taken longer."""
    for done in range(0, lots, _PEOPLE_AT_ONCE):
        people = await _people(database, min(_PEOPLE_AT_ONCE, lots - done))
        given = {"programme": PROGRAMME, "at": _START, "expires": _EXPIRES}
        async with database.transaction() as session:
            await session.execute(_ADD_LOTS, {**given, "ids": people, "transactions": [new_id() for _ in people]})


async def _people(database: Database, count: int) -> list[UUID]:
    ids = [new_id() for _ in range(count)]
    async with database.transaction() as session:
        await session.execute(_ADD_CUSTOMERS, {"ids": ids, "at": _START})
    return ids


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_000
