"""Whether stored tiers follow from what counts, asked of live data for `perennial doctor` (invariant 12)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import or_, select

from database.session import ReadSession
from database.tiers import KnownTiers, Ladder, TierStanding, histories, known_tiers, ladder_of
from domain.tier_histories import TierHistory

CLOSED: Final = """
    SELECT customer_id::text FROM tier_standings WHERE due_at < CAST(:as_of AS timestamptz) - interval '1 day'
"""

_PAGE = 500


async def drifted_tiers(session: ReadSession, as_of: datetime, limit: int = 5) -> Sequence[str]:
    """The first few customers whose stored tiers are not what a replay comes to; whoever is due is settled first."""
    ladder = await ladder_of(session)
    found: list[str] = []
    if ladder is None:
        return found
    async for page in _settled(session, ladder, as_of):
        known = await known_tiers(session, ladder, page)
        replayed = await histories(session, ladder, page, as_of)
        found += [str(id_) for id_, history in replayed.items() if not _agrees(known[id_], history)]
        if len(found) >= limit:
            break
    return found[:limit]


async def _settled(session: ReadSession, ladder: Ladder, as_of: datetime) -> AsyncIterator[Sequence[UUID]]:
    """Pages of customers whom the rules in force have weighed and time alone changes nothing for."""
    statement = (
        select(TierStanding.customer_id)
        .where(TierStanding.programme == ladder.programme, TierStanding.version == ladder.rules.version)
        .where(or_(TierStanding.due_at.is_(None), TierStanding.due_at > as_of), TierStanding.weighed_at <= as_of)
        .order_by(TierStanding.customer_id)
        .limit(_PAGE)
    )
    page = (await session.execute(statement)).scalars().all()
    while page:
        yield page
        page = (await session.execute(statement.where(TierStanding.customer_id > page[-1]))).scalars().all()


def _agrees(known: KnownTiers, history: TierHistory) -> bool:
    stored = [(row.from_at, row.tier, row.reason) for row in known.memberships]
    true = [(change.at, change.tier, change.reason) for change in history.changes]
    return stored == true and known.standing is not None and known.standing.tier == history.tier
