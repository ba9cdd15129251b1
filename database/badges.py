"""Badges that only so many members may have: who has one is counted under a lock, so that the last one goes once."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import func, select, text

from database.challenge_progress import ChallengeCompletion
from database.session import WriteSession

# Locked in the order of keys, until the end of the transaction.
_TAKE_TURNS = text("""
    SELECT pg_advisory_xact_lock(hashtextextended('badge/' || badge, 0))
    FROM unnest(CAST(:badges AS text[])) AS badge
""")


async def lock_badges(session: WriteSession, badges: Collection[str]) -> None:
    """Keep others from giving these badges until this transaction ends. Stock and codes are locked before."""
    if badges:
        await session.execute(_TAKE_TURNS, {"badges": sorted(badges)})


async def has_room(session: WriteSession, badge: str, most: int, customer_id: UUID) -> bool:
    """Whether a customer may have a locked badge: they have it by another completion, or fewer than `most` do.

    Relies on ix_challenge_completions_badge.
    """
    has_it = ChallengeCompletion.customer_id == customer_id
    holders = select(func.count(ChallengeCompletion.customer_id.distinct()), func.bool_or(has_it)).where(
        ChallengeCompletion.badge["badge"].as_string() == badge, ChallengeCompletion.revoked_at.is_(None)
    )
    count, is_theirs = (await session.execute(holders)).one()
    return bool(is_theirs) or count < most
