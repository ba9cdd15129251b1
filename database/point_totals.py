"""What each hour's points came to, per programme and bucket, so that figures need not read the whole ledger.

A trigger notes what entries add to their hours (`point_total_changes`), in the ledger's transaction and without a row
that everybody would wait for; upkeep adds the notes up (`point_totals`). Both together are the sum of the entries at
any time, but for those from before the trigger until a pass has gone through them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Identity, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Table
from database.session import Database, ReadSession, WriteSession
from database.trait_trust import Backfill

PAGE: Final = 5_000
"""Transactions, or notes, in one transaction."""
NAME: Final = "point_totals"
"""Of the pass over older transactions, among the backfills."""


class PointTotal(Table):
    """What the entries of an hour by UTC, by when they took effect, add to a bucket of all accounts."""

    __tablename__ = "point_totals"

    programme: Mapped[str] = mapped_column(primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True)
    bucket: Mapped[str] = mapped_column(primary_key=True)
    amount: Mapped[int]


class PointTotalChange(Table):
    """What one statement has added to an hour, until it is added up."""

    __tablename__ = "point_total_changes"

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    programme: Mapped[str]
    hour: Mapped[datetime]
    bucket: Mapped[str]
    amount: Mapped[int]


# Two passes at once take different notes.
_ADD_UP = text("""
    WITH gone AS (
        DELETE FROM point_total_changes WHERE id IN (
            SELECT id FROM point_total_changes ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
        )
        RETURNING programme, hour, bucket, amount
    ), added AS (
        INSERT INTO point_totals AS totals (programme, hour, bucket, amount)
        SELECT programme, hour, bucket, sum(amount) FROM gone
        GROUP BY programme, hour, bucket
        ORDER BY programme, hour, bucket
        ON CONFLICT (programme, hour, bucket) DO UPDATE SET amount = totals.amount + excluded.amount
    )
    SELECT count(*) FROM gone
""")

# Transactions from before the trigger; later ones in between are noted. Relies on ix_point_entries_transaction_id.
_NOTE_PAGE = text("""
    WITH page AS (
        SELECT id, effective_at, is_totalled FROM point_transactions WHERE id > :after ORDER BY id LIMIT :limit
    ), noted AS (
        INSERT INTO point_total_changes (programme, hour, bucket, amount)
        SELECT entries.programme, date_trunc('hour', page.effective_at, 'UTC'), entries.bucket, sum(entries.amount)
        FROM page JOIN point_entries AS entries ON entries.transaction_id = page.id
        WHERE NOT page.is_totalled
        GROUP BY 1, 2, 3
    )
    SELECT id FROM page ORDER BY id DESC LIMIT 1
""")


async def add_up(session: WriteSession, *, limit: int = PAGE) -> int:
    """Add some notes up; answers how many they were. What is read does not change by it."""
    return await session.scalar(_ADD_UP, {"limit": limit}) or 0


async def total_older(database: Database, as_of: datetime) -> None:
    """Go through the transactions from before the trigger once, ever; after a crash the next call goes on."""
    while True:
        async with database.transaction() as session:
            if not await _note_some(session, as_of):
                return


async def is_complete(session: ReadSession) -> bool:
    """Whether all older transactions have been gone through."""
    found = await session.scalar(select(Backfill.done_at).where(Backfill.name == NAME))
    return found is not None


async def _note_some(session: WriteSession, as_of: datetime) -> bool:
    """Go through the next transactions; answers whether there may be more."""
    await session.execute(insert(Backfill).values(name=NAME).on_conflict_do_nothing())
    row = (await session.execute(select(Backfill).where(Backfill.name == NAME).with_for_update())).scalar_one()
    if row.done_at is not None:
        return False
    last = await session.scalar(_NOTE_PAGE, {"after": row.after or UUID(int=0), "limit": PAGE})
    if last is None:
        row.done_at = as_of
    else:
        row.after = last
    return last is not None
