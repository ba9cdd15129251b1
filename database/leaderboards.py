"""Members compared: the standings of a running period, and the final ones, that are never touched again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Numeric, PrimaryKeyConstraint, Select, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Table
from database.challenge_progress import ChallengeProgress
from database.customers import Customer
from database.session import ReadSession, WriteSession

Ties = Literal["first", "shared", "dense"]

OPT_OUT = "leaderboard_opt_out"
"""The trait by which a customer stays out of all leaderboards: true."""


class LeaderboardSnapshot(Table):
    """A period whose ranks are final."""

    __tablename__ = "leaderboard_snapshots"

    challenge: Mapped[str] = mapped_column(primary_key=True)
    period: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int]
    ties: Mapped[str]
    finalised_at: Mapped[datetime]
    members: Mapped[int]


class LeaderboardRank(Table):
    """One member's final place. `position` is 1, 2, 3 whatever the ties."""

    __tablename__ = "leaderboard_ranks"

    challenge: Mapped[str]
    period: Mapped[str]
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    position: Mapped[int]
    rank: Mapped[int]
    figure: Mapped[Decimal] = mapped_column(Numeric)
    last_at: Mapped[datetime]

    __table_args__ = (
        PrimaryKeyConstraint("challenge", "period", "customer_id"),
        Index("ix_leaderboard_ranks_position", "challenge", "period", "position"),
        Index("ix_leaderboard_ranks_customer_id", "customer_id"),
    )


@dataclass(frozen=True, slots=True)
class Ranked:
    """One line of a leaderboard. `customer_id` is the shop's own."""

    position: int
    rank: int
    customer_id: str | None
    figure: Decimal
    last_at: datetime


# Whoever stays out has no rank, and leaves no gap. In the order of ix_challenge_progress_rank.
_IN_ORDER = """
    SELECT customers.id AS customer_id, customers.external_id, figure, last_at
    FROM challenge_progress JOIN customers ON customers.id = challenge_progress.customer_id
    WHERE challenge = :challenge AND period = :period AND figure > 0 AND customers.external_id IS NOT NULL
        AND customers.traits -> 'leaderboard_opt_out' IS DISTINCT FROM 'true'
    ORDER BY figure DESC, last_at, challenge_progress.customer_id
"""
# A rank depends on those ahead alone, so whoever reads no further has the same ranks.
_RANKED = """
    SELECT
        row_number() OVER by_order AS position,
        CASE :ties
            WHEN 'shared' THEN rank() OVER by_figure WHEN 'dense' THEN dense_rank() OVER by_figure
            ELSE row_number() OVER by_order
        END AS rank,
        customer_id, external_id, figure, last_at
    FROM members
    WINDOW by_figure AS (ORDER BY figure DESC), by_order AS (ORDER BY figure DESC, last_at, customer_id)
"""
_PAGE = text(f"""
    WITH members AS ({_IN_ORDER} LIMIT CAST(:after AS bigint) + :limit)
    SELECT position, rank, external_id, figure, last_at FROM ({_RANKED}) AS ranked
    WHERE position > :after ORDER BY position
""")  # noqa: S608  nothing but constants
_FINALISE = text(f"""
    INSERT INTO leaderboard_ranks (challenge, period, customer_id, position, rank, figure, last_at)
    WITH members AS ({_IN_ORDER})
    SELECT :challenge, :period, customer_id, position, rank, figure, last_at FROM ({_RANKED}) AS ranked
""")  # noqa: S608  as above


async def running_ranks(
    session: ReadSession, challenge: str, period: str, ties: Ties, *, after: int, limit: int
) -> list[Ranked]:
    """The ranks of a period as they stand, from the position after `after`. Reads nobody behind the page."""
    wanted = {"challenge": challenge, "period": period, "ties": ties, "after": after, "limit": limit}
    return [Ranked(*row) for row in await session.execute(_PAGE, wanted)]


async def snapshot_of(session: ReadSession, challenge: str, period: str) -> LeaderboardSnapshot | None:
    """The snapshot of a period that is final."""
    return await session.get(LeaderboardSnapshot, (challenge, period))


async def final_ranks(session: ReadSession, challenge: str, period: str, *, after: int, limit: int) -> Sequence[Ranked]:
    """The ranks of a final period; whoever was erased is left out, and whoever opted out since."""
    statement = (
        select(
            *(LeaderboardRank.position, LeaderboardRank.rank, Customer.external_id),
            *(LeaderboardRank.figure, LeaderboardRank.last_at),
        )
        .join(Customer, Customer.id == LeaderboardRank.customer_id)
        .where(LeaderboardRank.challenge == challenge, LeaderboardRank.period == period)
        .where(LeaderboardRank.position > after, Customer.external_id.is_not(None))
        .where(Customer.traits[OPT_OUT].as_string().is_distinct_from("true"))
        .order_by(LeaderboardRank.position)
        .limit(limit)
    )
    return [Ranked(*row) for row in await session.execute(statement)]


async def finalise(
    session: WriteSession, challenge: str, period: str, *, version: int, ties: Ties, as_of: datetime
) -> bool:
    """Make the ranks of a period final, once; answers whether this call did."""
    row = {"challenge": challenge, "period": period, "version": version, "ties": ties}
    made = insert(LeaderboardSnapshot).values(**row, finalised_at=as_of, members=0).on_conflict_do_nothing()
    taken = await session.execute(made.returning(LeaderboardSnapshot.challenge))
    if taken.one_or_none() is None:
        return False
    await session.execute(_FINALISE, {"challenge": challenge, "period": period, "ties": ties})
    counted = select(func.count()).select_from(LeaderboardRank)
    ours = (LeaderboardRank.challenge == challenge, LeaderboardRank.period == period)
    snapshot = await session.get_one(LeaderboardSnapshot, (challenge, period))
    snapshot.members = (await session.execute(counted.where(*ours))).scalar_one()
    await session.flush()
    return True


def open_periods(challenge: str) -> Select[str]:
    """The periods of a challenge with members and without a snapshot."""
    final = select(LeaderboardSnapshot.period).where(LeaderboardSnapshot.challenge == challenge)
    statement = select(ChallengeProgress.period).where(ChallengeProgress.challenge == challenge)
    return statement.where(ChallengeProgress.period.not_in(final)).distinct()


async def winners(
    session: ReadSession, challenge: str, period: str, to_rank: int, *, after: int, limit: int
) -> list[LeaderboardRank]:
    """The final places up to a rank, from the position after `after`."""
    statement = (
        select(LeaderboardRank)
        .where(LeaderboardRank.challenge == challenge, LeaderboardRank.period == period)
        .where(LeaderboardRank.rank <= to_rank, LeaderboardRank.position > after)
        .order_by(LeaderboardRank.position)
        .limit(limit)
    )
    return list((await session.execute(statement)).scalars())
