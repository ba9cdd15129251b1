"""What a programme's ledger comes to, for finance. Formulas: metrics, section 2 (docs/loyalty/points.md)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from database.session import ReadSession


@dataclass(frozen=True, slots=True)
class PointFigures:
    """Points that moved in the window, and what was outstanding at its end, all in points."""

    issued: int = 0
    redeemed: int = 0
    expired: int = 0
    reversed: int = 0
    outstanding: int = 0
    ended_redeemed: int = 0  # of all points that were ever redeemed or expired by the window's end
    ended_expired: int = 0


# Entries by when they took effect, not by when a job noticed. Reads the programme's entries once, in order of the
# transactions' ids; transfers and merges cancel out, since both sides are the programme's.
_FIGURES = text("""
    SELECT
        coalesce(-sum(amount) FILTER (WHERE bucket = 'issued' AND is_inside), 0)::bigint AS issued,
        coalesce(sum(amount) FILTER (WHERE bucket = 'redeemed' AND is_inside), 0)::bigint AS redeemed,
        coalesce(sum(amount) FILTER (WHERE bucket = 'expired' AND is_inside), 0)::bigint AS expired,
        coalesce(sum(amount) FILTER (WHERE bucket = 'reversed' AND is_inside), 0)::bigint AS reversed,
        coalesce(sum(amount) FILTER (WHERE bucket IN ('pending', 'available', 'held')), 0)::bigint AS outstanding,
        coalesce(sum(amount) FILTER (WHERE bucket = 'redeemed'), 0)::bigint AS ended_redeemed,
        coalesce(sum(amount) FILTER (WHERE bucket = 'expired'), 0)::bigint AS ended_expired
    FROM (
        SELECT entry.bucket, entry.amount,
            CAST(:since AS timestamptz) IS NULL OR made.effective_at >= :since AS is_inside
        FROM point_entries AS entry
        JOIN point_transactions AS made ON made.id = entry.transaction_id
        WHERE entry.programme = :programme AND made.effective_at < :until
    ) AS entries
""")


async def figures(session: ReadSession, programme: str, since: datetime | None, until: datetime) -> PointFigures:
    """The figures of `[since, until)`; `since` None: from the beginning."""
    given = {"programme": programme, "since": since, "until": until}
    return PointFigures(**(await session.execute(_FIGURES, given)).mappings().one())
