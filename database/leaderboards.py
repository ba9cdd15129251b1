"""Members compared: the standings of a running period, and the final ones, that are never touched again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    DateTime,
    ForeignKey,
    Index,
    Numeric,
    PrimaryKeyConstraint,
    TextClause,
    Uuid,
    bindparam,
    select,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Table
from database.customers import Customer
from database.session import ReadSession

Ties = Literal["first", "shared", "dense"]


class LeaderboardSnapshot(Table):
    """A period whose ranks are final."""

    __tablename__ = "leaderboard_snapshots"

    challenge: Mapped[str] = mapped_column(primary_key=True)
    period: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int]
    ties: Mapped[str]
    finalised_at: Mapped[datetime]
    members: Mapped[int]
    is_complete: Mapped[bool] = mapped_column(server_default=text("true"))  # false: its ranks are still being written


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
    member: UUID


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a leaderboard, for whatever comes behind it."""

    position: int
    rank: int
    figure: Decimal
    last_at: datetime
    member: UUID


def behind(statement: TextClause) -> TextClause:
    """A statement that goes on behind a line, with its parameters' types."""
    return statement.bindparams(
        *(bindparam(name, type_=BigInteger) for name in ("position", "rank")), bindparam("figure", type_=Numeric)
    )


# Ranks of the next `members` behind a line: those ahead of it need not be read again.
RANKED = """
    SELECT
        :position + row_number() OVER by_order AS position,
        CASE :ties
            WHEN 'shared' THEN CASE WHEN figure = :figure THEN :rank ELSE :position + rank() OVER by_figure END
            WHEN 'dense' THEN :rank + dense_rank() OVER by_figure
                - CASE WHEN first_value(figure) OVER by_order = :figure THEN 1 ELSE 0 END
            ELSE :position + row_number() OVER by_order
        END AS rank,
        members.*
    FROM members
    WINDOW by_figure AS (ORDER BY figure DESC), by_order AS (ORDER BY figure DESC, last_at, member)
"""
# Whoever stays out by a trait has no rank, and leaves no gap. Forms and imports say yes as text. What only a browser
# says (its stamp ends in a JSON `false`) takes nobody's place away.
ELIGIBLE = """(
    customers.external_id IS NOT NULL
    AND (lower(btrim(customers.traits ->> 'leaderboard_opt_out')) IN ('true', 't', 'yes', 'y', 'on', '1')
        AND coalesce(customers.trait_times -> 'leaderboard_opt_out' @> 'false', false) IS FALSE) IS NOT TRUE
)"""
_MEMBERS = f"""
    SELECT customers.id AS member, customers.external_id, figure, last_at
    FROM challenge_progress JOIN customers ON customers.id = challenge_progress.customer_id
    WHERE challenge = :challenge AND period = :period AND {ELIGIBLE}
"""  # noqa: S608  nothing but constants, as below
# Two ranges of ix_challenge_progress_rank: the rest of the line's equals, and whoever has less.
_PAGE = behind(
    text(f"""
    WITH members AS (
        (
            {_MEMBERS} AND figure = :figure AND (last_at, challenge_progress.customer_id) > (:last_at, :member)
            ORDER BY last_at, challenge_progress.customer_id LIMIT :limit
        ) UNION ALL (
            {_MEMBERS} AND figure > 0 AND figure < coalesce(:figure, 'Infinity')
            ORDER BY figure DESC, last_at, challenge_progress.customer_id LIMIT :limit
        )
        ORDER BY figure DESC, last_at, member LIMIT :limit
    )
    SELECT position, rank, external_id, figure, last_at, member FROM ({RANKED}) AS ranked ORDER BY position
""")  # noqa: S608
).bindparams(bindparam("last_at", type_=DateTime(timezone=True)), bindparam("member", type_=Uuid))


async def running_ranks(
    session: ReadSession, challenge: str, period: str, ties: Ties, *, after: Place | None, limit: int
) -> list[Ranked]:
    """The ranks of a period as they stand, behind the line `after`. Reads nobody but the page."""
    wanted = {"challenge": challenge, "period": period, "ties": ties, "limit": limit}
    return [Ranked(*row) for row in await session.execute(_PAGE, wanted | place_values(after))]


def place_values(after: Place | None) -> dict[str, object]:
    """The parameters of a statement that goes on behind a line; None: from the top."""
    if after is None:
        return {"position": 0, "rank": 0, "figure": None, "last_at": None, "member": None}
    return asdict(after)


async def snapshot_of(session: ReadSession, challenge: str, period: str) -> LeaderboardSnapshot | None:
    """The snapshot of a period that is final."""
    snapshot = await session.get(LeaderboardSnapshot, (challenge, period))
    return snapshot if snapshot is not None and snapshot.is_complete else None


async def final_ranks(session: ReadSession, challenge: str, period: str, *, after: int, limit: int) -> Sequence[Ranked]:
    """The ranks of a final period; whoever was erased is left out, and whoever opted out since."""
    statement = (
        select(
            *(LeaderboardRank.position, LeaderboardRank.rank, Customer.external_id),
            *(LeaderboardRank.figure, LeaderboardRank.last_at, LeaderboardRank.customer_id),
        )
        .join(Customer, Customer.id == LeaderboardRank.customer_id)
        .where(LeaderboardRank.challenge == challenge, LeaderboardRank.period == period)
        .where(LeaderboardRank.position > after, text(ELIGIBLE))
        .order_by(LeaderboardRank.position)
        .limit(limit)
    )
    return [Ranked(*row) for row in await session.execute(statement)]


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
