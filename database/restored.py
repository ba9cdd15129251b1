"""Rows that a restore had undone and the journal brings back."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert

from database.consent import Consent
from database.customers import Customer
from database.session import ReadSession, WriteSession
from domain.consent import ConsentState
from domain.ids import new_id
from domain.restore_journal import Withdrawn

_SURVIVORS = text("""
    WITH RECURSIVE chain AS (
        SELECT id AS asked, id, merged_into, erased_at FROM customers WHERE id = ANY(CAST(:customers AS uuid[]))
        UNION ALL
        SELECT chain.asked, next.id, next.merged_into, next.erased_at
        FROM chain JOIN customers AS next ON next.id = chain.merged_into
    )
    SELECT asked, id FROM chain WHERE merged_into IS NULL AND erased_at IS NULL
""")


async def survivors_of(session: ReadSession, customers: Collection[UUID]) -> dict[UUID, UUID]:
    """Whom each of these customers is today, after merges; who is unknown or erased is left out."""
    rows = await session.execute(_SURVIVORS, {"customers": sorted(customers)})
    return {row.asked: row.id for row in rows}


async def keep_withdrawals(
    session: WriteSession, entries: Sequence[Withdrawn], survivors: Mapping[UUID, UUID], as_of: datetime
) -> list[Withdrawn]:
    """Record them anew; answers those that could be.

    Whoever is not here, as one who came after the backup, leaves the withdrawal with the address alone: it holds under
    an erased row for whoever has that address later. Without an address it is lost.
    """
    kept = [entry for entry in entries if entry.customer in survivors or entry.address is not None]
    nobody = {entry.customer: entry.at for entry in kept if entry.customer not in survivors}
    if nobody:
        blank = [{"id": id_, "first_seen": at, "last_seen": at, "erased_at": at} for id_, at in sorted(nobody.items())]
        await session.execute(insert(Customer).on_conflict_do_nothing(), blank)
    rows = [
        {
            "id": new_id(),
            "customer_id": survivors.get(entry.customer, entry.customer),
            "state": ConsentState.UNSUBSCRIBED,
            **entry.model_dump(include={"purpose", "channel", "at", "sent", "source"}),
            "evidence": {"restored_at": as_of.isoformat()},
            "event_id": entry.event,
            "address_hash": entry.address,
            "address_given": entry.address is not None,
        }
        for entry in kept
    ]
    if rows:
        await session.execute(insert(Consent).on_conflict_do_nothing(), rows)
    return kept
