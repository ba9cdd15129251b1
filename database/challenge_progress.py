"""Where members stand in challenges, and what they completed. Everything here can be worked out again from events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import ForeignKey, Index, Numeric, PrimaryKeyConstraint, SmallInteger, select, text
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Table
from database.session import ReadSession, WriteSession


class ChallengeProgress(Table):
    """A member's figure in one period; written by the router, that has locked the customer."""

    __tablename__ = "challenge_progress"

    challenge: Mapped[str]
    period: Mapped[str]  # domain/periods.py
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    figure: Mapped[Decimal] = mapped_column(Numeric)  # of the round under way
    round: Mapped[int] = mapped_column(SmallInteger)
    last_at: Mapped[datetime]  # the latest event that contributed
    streak: Mapped[dict[str, Any] | None]  # domain.challenges.streaks.StreakState
    version: Mapped[int]  # of the definition

    __table_args__ = (
        PrimaryKeyConstraint("challenge", "period", "customer_id"),
        Index("ix_challenge_progress_customer_id", "customer_id"),
        # Leaderboards and what a community has come to.
        Index(
            *("ix_challenge_progress_rank", "challenge", "period", text("figure DESC"), "last_at", "customer_id"),
        ),
    )


class ChallengeCompletion(Table):
    """A level that a member reached, once per period and round, whatever the version. `times` it was given."""

    __tablename__ = "challenge_completions"

    challenge: Mapped[str]
    period: Mapped[str]
    level: Mapped[str]
    round: Mapped[int] = mapped_column(SmallInteger)
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    version: Mapped[int]
    reached_at: Mapped[datetime]  # the time of the event that reached it
    completed_at: Mapped[datetime]
    points: Mapped[int | None]
    credit: Mapped[str | None]  # the key of the ledger's move
    redemption_id: Mapped[UUID | None]
    badge: Mapped[dict[str, Any] | None]  # domain.challenges.definition.Badge
    badge_expires_at: Mapped[datetime | None]
    not_given: Mapped[dict[str, Any] | None]  # points, reward or badge -> why it was not given
    revoked_at: Mapped[datetime | None]
    reward_kept: Mapped[str | None]  # domain.redemptions.Refused: why the reward was not taken back
    times: Mapped[int] = mapped_column(SmallInteger, server_default=text("1"))

    __table_args__ = (
        PrimaryKeyConstraint("challenge", "period", "level", "round", "customer_id"),
        Index("ix_challenge_completions_customer_id", "customer_id"),
        Index(
            "ix_challenge_completions_badge",
            text("(badge ->> 'badge')"),
            "customer_id",
            postgresql_where=text("badge IS NOT NULL AND revoked_at IS NULL"),
        ),
    )


@dataclass(frozen=True, slots=True)
class ProgressRow:
    """One row of ChallengeProgress as it is to be."""

    challenge: str
    period: str
    customer_id: UUID
    figure: Decimal
    round: int
    last_at: datetime
    streak: dict[str, Any] | None
    version: int


# The customers are locked by the caller.
_WRITE = text("""
    INSERT INTO challenge_progress (challenge, period, customer_id, figure, round, last_at, streak, version)
    SELECT challenge, period, customer_id, figure, round, last_at, streak, version
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
        challenge text, period text, customer_id uuid, figure numeric, round smallint, last_at timestamptz,
        streak jsonb, version bigint
    )
    ON CONFLICT (challenge, period, customer_id) DO UPDATE SET
        figure = excluded.figure, round = excluded.round, last_at = excluded.last_at, streak = excluded.streak,
        version = excluded.version
""")
_FORGET = text("""
    DELETE FROM challenge_progress AS kept
    USING jsonb_to_recordset(CAST(:rows AS jsonb)) AS gone (challenge text, period text, customer_id uuid)
    WHERE (kept.challenge, kept.period, kept.customer_id) = (gone.challenge, gone.period, gone.customer_id)
""")


async def progress_of(
    session: ReadSession, customer_ids: Collection[UUID], challenges: Collection[str] | None = None
) -> list[ChallengeProgress]:
    """What is stored of these customers. Relies on ix_challenge_progress_customer_id."""
    statement = select(ChallengeProgress).where(ChallengeProgress.customer_id.in_(customer_ids))
    if challenges is not None:
        statement = statement.where(ChallengeProgress.challenge.in_(challenges))
    statement = statement.order_by(ChallengeProgress.challenge, ChallengeProgress.period)
    return list((await session.execute(statement.execution_options(populate_existing=True))).scalars())


async def write_progress(session: WriteSession, rows: Iterable[ProgressRow]) -> None:
    """Keep where members stand."""
    written = [_as_json(row) for row in rows]
    if written:
        await session.execute(_WRITE, {"rows": orjson.dumps(written).decode()})


async def forget_progress(session: WriteSession, rows: Iterable[ChallengeProgress]) -> None:
    """Drop rows of periods in which nothing counts any more."""
    gone = [{"challenge": row.challenge, "period": row.period, "customer_id": row.customer_id} for row in rows]
    if gone:
        await session.execute(_FORGET, {"rows": orjson.dumps(gone).decode()})


def _as_json(row: ProgressRow) -> dict[str, Any]:
    return {
        "challenge": row.challenge,
        "period": row.period,
        "customer_id": row.customer_id,
        "figure": str(row.figure),
        "round": row.round,
        "last_at": row.last_at,
        "streak": row.streak,
        "version": row.version,
    }


async def completions_of(
    session: ReadSession, customer_ids: Collection[UUID], challenges: Collection[str] | None = None
) -> list[ChallengeCompletion]:
    """What these customers completed, the earliest first, revoked ones too."""
    statement = select(ChallengeCompletion).where(ChallengeCompletion.customer_id.in_(customer_ids))
    if challenges is not None:
        statement = statement.where(ChallengeCompletion.challenge.in_(challenges))
    order = (ChallengeCompletion.completed_at, ChallengeCompletion.challenge, ChallengeCompletion.round)
    statement = statement.order_by(*order, ChallengeCompletion.reached_at, ChallengeCompletion.level)
    return list((await session.execute(statement.execution_options(populate_existing=True))).scalars())


def by_customer(completed: Iterable[ChallengeCompletion]) -> Mapping[UUID, Sequence[ChallengeCompletion]]:
    """What each customer completed; nothing of those who completed nothing."""
    found: defaultdict[UUID, list[ChallengeCompletion]] = defaultdict(list)
    for row in completed:
        found[row.customer_id].append(row)
    return found


async def keep_completions(session: WriteSession, rows: Sequence[ChallengeCompletion]) -> None:
    """Store completions, new ones and those that were loaded and changed. The customers are locked by the caller."""
    session.add_all(rows)
    await session.flush()
