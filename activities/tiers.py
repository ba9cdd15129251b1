"""What time and new rules do to tiers: for customers whose period has ended, and once for everybody after a publish."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from uuid import UUID

from database import customers
from database.session import Database
from database.tier_weighing import due_by_rules, due_by_time, is_swept, sweep_is_done, weigh
from database.tiers import Ladder, ladder_of

PAGE = 100
"""Customers in one transaction: they are locked for as long."""


async def close_tier_periods(database: Database, as_of: datetime, page_done: Callable[[], object]) -> int:
    """Weigh whoever is due by `as_of`, page by page; answers how many. Repeatable: who was weighed is due no more."""
    async with database.read() as session:
        ladder = await ladder_of(session)
    if ladder is None or ladder.rules.since > as_of:
        return 0
    return await _sweep(database, ladder, as_of, page_done) + await _close(database, ladder, as_of, page_done)


async def _sweep(database: Database, ladder: Ladder, as_of: datetime, page_done: Callable[[], object]) -> int:
    """Weigh everybody by rules that are new, once."""
    async with database.read() as session:
        if await is_swept(session, ladder):
            return 0
    count, after = 0, None
    while True:
        async with database.transaction() as session:
            await session.take_long()
            page = await due_by_rules(session, ladder, after, PAGE)
            if not page:
                await sweep_is_done(session, ladder, as_of)
                return count
        count += await _weigh(database, ladder, page, as_of)
        after = page[-1]
        page_done()


async def _close(database: Database, ladder: Ladder, as_of: datetime, page_done: Callable[[], object]) -> int:
    """Weigh those whose period, grace or override has ended."""
    count = 0
    while True:
        async with database.read() as session:
            page = await due_by_time(session, as_of, PAGE)
        weighed = await _weigh(database, ladder, page, as_of) if page else 0
        count += weighed
        page_done()
        if weighed < PAGE:
            return count


async def _weigh(database: Database, ladder: Ladder, ids: Collection[UUID], as_of: datetime) -> int:
    """Lock the customers, in the order of their ids, and weigh them; answers how many there were."""
    async with database.transaction() as session:
        await session.take_long()
        locked = await customers.lock(session, ids, skip_locked=False)
        await weigh(session, ladder, list(locked), as_of)
    return len(locked)
