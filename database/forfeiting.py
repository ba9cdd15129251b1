"""Points of erased people, forfeited in the ledger (kind `erased`). The rule: `domain/forfeiting.py`."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from database.accounts import load
from database.customers import lock
from database.session import WriteSession
from database.transactions import store
from domain.forfeiting import forfeit

# By pk_point_balances; a programme is one of a few.
_USABLE = text("""
    SELECT programme, account FROM point_balances
    WHERE account = ANY(CAST(:accounts AS uuid[])) AND merged_into IS NULL
      AND (pending <> 0 OR available <> 0 OR held <> 0)
    ORDER BY programme, account
""")

# Erased people whose points can still be used: of releases that forfeited none, or that came in since. Relies on
# ix_customers_erased.
_LEFT = text("""
    SELECT DISTINCT customers.id FROM customers
    JOIN point_balances AS balances ON balances.account = customers.id
    WHERE customers.erased_at IS NOT NULL AND balances.merged_into IS NULL
      AND (balances.pending <> 0 OR balances.available <> 0 OR balances.held <> 0)
    ORDER BY customers.id
    LIMIT :limit
""")


async def forfeit_points(session: WriteSession, customers: Collection[UUID], as_of: datetime) -> int:
    """Forfeit all points of these customers, whom the caller has locked; answers how many."""
    rows = (await session.execute(_USABLE, {"accounts": sorted(customers)})).all()
    points = 0
    for programme, account in rows:
        book = await load(session, programme, [account], as_of, lock=True, whole=True)
        points += forfeit(book, book.accounts[account], as_of)
        await store(session, programme, book, as_of)
    return points


async def forfeit_some(session: WriteSession, as_of: datetime, *, limit: int) -> int:
    """Forfeit points of some people who were erased; answers of how many people."""
    left = (await session.scalars(_LEFT, {"limit": limit})).all()
    await lock(session, left, skip_locked=False)
    await forfeit_points(session, left, as_of)
    return len(left)
