"""The trust of traits that were written before trust was kept: each takes that of the event that wrote it.

Those whose event a browser sent are marked, once, in short transactions after the migration; the rest counts as trusted
as it stands (`domain.customers.Writer`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Table
from database.session import Database, ReadSession, WriteSession

CUSTOMERS_AT_ONCE = 500
"""Customers per transaction, so that nobody waits long for their locks."""
_NAME = "trait_trust"


class Backfill(Table):
    """How far a pass over old rows has come."""

    __tablename__ = "backfills"

    name: Mapped[str] = mapped_column(primary_key=True)
    after: Mapped[UUID | None]  # the last row that was looked at
    done_at: Mapped[datetime | None]


_PAGE = text("""
    SELECT id FROM customers
    WHERE id > :after AND trait_times <> '{}'
    ORDER BY id
    LIMIT :limit
    FOR UPDATE
""")

# Relies on ix_events_customer_name.
_MARK = text("""
    WITH unmarked AS (
        SELECT customers.id, wrote.trait, wrote.writer
        FROM customers, jsonb_each(customers.trait_times) AS wrote (trait, writer)
        WHERE customers.id = ANY(:ids) AND jsonb_typeof(wrote.writer -> -1) = 'string'
    ), marked AS (
        SELECT unmarked.id, jsonb_object_agg(unmarked.trait, unmarked.writer || 'false') AS writers
        FROM unmarked
        JOIN events ON events.customer_id = unmarked.id AND events.name = 'Identified'
            AND events.timestamp = CAST(unmarked.writer ->> 0 AS timestamptz)
            AND events.message_id = unmarked.writer ->> 1
        WHERE NOT events.trusted
        GROUP BY unmarked.id
    )
    UPDATE customers SET trait_times = customers.trait_times || marked.writers
    FROM marked WHERE customers.id = marked.id
""")

# Addresses that count as trusted because nobody knows who wrote them.
_PRESUMED = text("""
    SELECT coalesce(customers.external_id, customers.id::text) || ': ' || wanted.trait
    FROM customers, unnest(ARRAY['email', 'phone']) AS wanted (trait)
    WHERE customers.merged_into IS NULL AND customers.traits ? wanted.trait
      AND jsonb_typeof(customers.trait_times -> wanted.trait -> -1) IS DISTINCT FROM 'boolean'
      AND NOT EXISTS (
        SELECT FROM events
        WHERE events.customer_id = customers.id AND events.name = 'Identified'
          AND events.timestamp = CAST(customers.trait_times -> wanted.trait ->> 0 AS timestamptz)
          AND events.message_id = customers.trait_times -> wanted.trait ->> 1
      )
    ORDER BY 1
    LIMIT :limit
""")


async def mark_untrusted_traits(database: Database, as_of: datetime) -> None:
    """Look through all customers once, ever. After a crash the next call goes on where the last one stood."""
    while True:
        async with database.transaction() as session:
            if not await _take_some(session, as_of):
                return


async def is_marked(session: ReadSession) -> bool:
    """Whether all customers have been looked through."""
    found = await session.scalar(select(Backfill.done_at).where(Backfill.name == _NAME))
    return found is not None


async def presumed_addresses(session: ReadSession, limit: int) -> Sequence[str]:
    """Whose e-mail or phone counts as trusted though the event that set it is not known. Reads the whole table."""
    return (await session.execute(_PRESUMED, {"limit": limit})).scalars().all()


async def _take_some(session: WriteSession, as_of: datetime) -> bool:
    """Look at the next customers; answers whether there may be more."""
    await session.execute(insert(Backfill).values(name=_NAME).on_conflict_do_nothing())
    row = (await session.execute(select(Backfill).where(Backfill.name == _NAME).with_for_update())).scalar_one()
    if row.done_at is not None:
        return False
    bounds = {"after": row.after or UUID(int=0), "limit": CUSTOMERS_AT_ONCE}
    ids = (await session.execute(_PAGE, bounds)).scalars().all()
    if ids:
        await session.execute(_MARK, {"ids": ids})
        row.after = ids[-1]
    else:
        row.done_at = as_of
    return bool(ids)
