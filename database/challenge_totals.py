"""What all members of a challenge came to together in each period, so that nobody adds every member up.

As with the ledger's hours (`point_totals.py`): triggers note what a statement changes (`challenge_total_changes`), in
its transaction and without a row that everybody would wait for; upkeep adds the notes up (`challenge_totals`). Both
together are the sum of the members' figures at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

from sqlalchemy import Identity, Index, Numeric, text
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Table
from database.session import ReadSession, WriteSession

PAGE: Final = 5_000
"""Notes in one transaction."""


class ChallengeTotal(Table):
    """What the members' figures of a period come to, as far as they were added up."""

    __tablename__ = "challenge_totals"

    challenge: Mapped[str] = mapped_column(primary_key=True)
    period: Mapped[str] = mapped_column(primary_key=True)
    amount: Mapped[Decimal] = mapped_column(Numeric)


class ChallengeTotalChange(Table):
    """What one statement has added to a period, until it is added up."""

    __tablename__ = "challenge_total_changes"

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    challenge: Mapped[str]
    period: Mapped[str]
    amount: Mapped[Decimal] = mapped_column(Numeric)

    __table_args__ = (Index("ix_challenge_total_changes_period", "challenge", "period"),)


# Two passes at once take different notes.
_ADD_UP = text("""
    WITH gone AS (
        DELETE FROM challenge_total_changes WHERE id IN (
            SELECT id FROM challenge_total_changes ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
        )
        RETURNING challenge, period, amount
    ), added AS (
        INSERT INTO challenge_totals AS totals (challenge, period, amount)
        SELECT challenge, period, sum(amount) FROM gone
        GROUP BY challenge, period
        ORDER BY challenge, period
        ON CONFLICT (challenge, period) DO UPDATE SET amount = totals.amount + excluded.amount
    )
    SELECT count(*) FROM gone
""")
_TOTALS = text("""
    SELECT period, sum(amount) AS amount FROM (
        SELECT period, amount FROM challenge_totals
        WHERE challenge = :challenge AND (CAST(:period AS text) IS NULL OR period = :period)
        UNION ALL
        SELECT period, amount FROM challenge_total_changes
        WHERE challenge = :challenge AND (CAST(:period AS text) IS NULL OR period = :period)
    ) AS noted GROUP BY period
""")


async def add_up(session: WriteSession, _: datetime, *, limit: int = PAGE) -> int:
    """Add some notes up; answers how many they were. What is read does not change by it."""
    return await session.scalar(_ADD_UP, {"limit": limit}) or 0


async def totals_of(session: ReadSession, challenge: str, period: str | None = None) -> Mapping[str, Decimal]:
    """Period -> what all members have come to together; of one period, or of all that anybody has a figure in."""
    rows = await session.execute(_TOTALS, {"challenge": challenge, "period": period})
    return {row.period: row.amount for row in rows}
