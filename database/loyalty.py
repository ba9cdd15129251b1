"""What profiles and messages say of a customer's part in the loyalty programme."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from database.points import balances
from database.programmes import live_programme
from database.session import ReadSession
from database.tiers import tiers_of


@dataclass(frozen=True, slots=True)
class LoyaltyStanding:
    """`points`: available, pending and held. Both None without a programme."""

    points: Mapping[str, int] | None = None
    tier: str | None = None


async def loyalty_of(session: ReadSession, customer_id: UUID, as_of: datetime) -> LoyaltyStanding:
    """Points and tier as of a moment, settled up to it."""
    programme = await live_programme(session)
    if programme is None:
        return LoyaltyStanding()
    balance = (await balances(session, programme.key, [customer_id], as_of))[customer_id]
    figures = {"available": balance.available, "pending": balance.pending, "held": balance.held}
    return LoyaltyStanding(figures, (await tiers_of(session, [customer_id], as_of))[customer_id])
