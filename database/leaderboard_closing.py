"""Making the ranks of a period final, in pages: members are copied as they stand, and then ranked in their order.

Copied by their ids, so that nobody is missed or comes twice while late events change the running figures; what is
copied changes no more, so that each page of ranks goes on behind the last. A closing that is broken off goes on by
itself. The snapshot is there from the first rank on, and complete at the last.
"""

from __future__ import annotations

from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import ForeignKey, Index, Numeric, PrimaryKeyConstraint, delete, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Table
from database.challenge_errands import ChallengeErrand
from database.challenges import LiveChallenge, live_challenges, published_challenge
from database.leaderboards import (
    ELIGIBLE,
    RANKED,
    LeaderboardRank,
    LeaderboardSnapshot,
    Place,
    behind,
    place_values,
)
from database.session import ReadSession, WriteSession
from database.shop_settings import shop_settings
from domain.challenges import told
from domain.conditions.dates import moment_of
from domain.durations import parse_duration
from domain.ids import new_id
from domain.local_time import local_instant, resolve_zone
from domain.periods import ends_at

MEMBERS_AT_ONCE: Final = 5_000
_NOBODY: Final = UUID(int=0)


class LeaderboardClosing(Table):
    """A period whose ranks are being made final. `after`: the last member that was copied."""

    __tablename__ = "leaderboard_closings"

    challenge: Mapped[str]
    period: Mapped[str]
    version: Mapped[int]
    ties: Mapped[str]
    begun_at: Mapped[datetime]
    after: Mapped[UUID | None]

    __table_args__ = (PrimaryKeyConstraint("challenge", "period"),)


class LeaderboardEntrant(Table):
    """One member as copied, until ranked."""

    __tablename__ = "leaderboard_entrants"

    challenge: Mapped[str]
    period: Mapped[str]
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    figure: Mapped[Decimal] = mapped_column(Numeric)
    last_at: Mapped[datetime]

    __table_args__ = (
        PrimaryKeyConstraint("challenge", "period", "customer_id"),
        Index("ix_leaderboard_entrants_rank", "challenge", "period", text("figure DESC"), "last_at", "customer_id"),
        Index("ix_leaderboard_entrants_customer_id", "customer_id"),
    )


# A challenge's periods with members and without a snapshot, from one to the next by an index: members are not read.
_ENDED = text("""
    WITH RECURSIVE periods AS (
        (SELECT period FROM challenge_progress WHERE challenge = :challenge ORDER BY period LIMIT 1)
        UNION ALL
        SELECT (
            SELECT period FROM challenge_progress WHERE challenge = :challenge AND period > periods.period
            ORDER BY period LIMIT 1
        ) FROM periods WHERE period IS NOT NULL
    )
    SELECT period FROM periods
    WHERE period IS NOT NULL AND NOT EXISTS (
        SELECT FROM leaderboard_snapshots AS final WHERE final.challenge = :challenge AND final.period = periods.period
    )
""")
# Relies on the primary key of challenge_progress.
_COPY = text(f"""
    WITH page AS (
        SELECT customer_id, figure, last_at FROM challenge_progress
        WHERE challenge = :challenge AND period = :period AND customer_id > :after
        ORDER BY customer_id LIMIT :limit
    ), copied AS (
        INSERT INTO leaderboard_entrants (challenge, period, customer_id, figure, last_at)
        SELECT :challenge, :period, customers.id, page.figure, page.last_at
        FROM page JOIN customers ON customers.id = page.customer_id
        WHERE page.figure > 0 AND {ELIGIBLE}
    )
    SELECT customer_id FROM page ORDER BY customer_id DESC LIMIT 1
""")  # noqa: S608  nothing but constants, as below
# In the order of ix_leaderboard_entrants_rank.
_RANK = behind(
    text(f"""
    WITH members AS (
        SELECT customer_id AS member, figure, last_at FROM leaderboard_entrants
        WHERE challenge = :challenge AND period = :period
        ORDER BY figure DESC, last_at, customer_id LIMIT :limit
    ), gone AS (
        DELETE FROM leaderboard_entrants USING members
        WHERE challenge = :challenge AND period = :period AND customer_id = member
    )
    INSERT INTO leaderboard_ranks (challenge, period, customer_id, position, rank, figure, last_at)
    SELECT :challenge, :period, member, position, rank, figure, last_at FROM ({RANKED}) AS ranked
    RETURNING position
""")  # noqa: S608
)


async def find_ended(session: WriteSession, as_of: datetime) -> None:
    """Begin to close the periods of leaderboards that are over, their grace too."""
    shop = await shop_settings(session)
    for challenge in (await live_challenges(session)).values():
        if challenge.definition.leaderboard is not None and not challenge.is_paused:
            await _find_ended(session, challenge, shop.zone, as_of)


async def end_board(session: WriteSession, key: str, as_of: datetime) -> None:
    """A challenge is archived: nothing counts any more, so periods that are over are closed without their grace."""
    challenge = await published_challenge(session, key)
    if challenge is not None and challenge.definition.leaderboard is not None:
        await _find_ended(session, challenge, (await shop_settings(session)).zone, as_of, has_grace=False)


async def close_some(session: WriteSession, as_of: datetime, *, at_once: int = MEMBERS_AT_ONCE) -> bool:
    """One page of the oldest closing; False: there is none. Two at once take different ones."""
    statement = (
        select(LeaderboardClosing)
        .order_by(LeaderboardClosing.begun_at, LeaderboardClosing.challenge, LeaderboardClosing.period)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    closing = (await session.execute(statement)).scalar_one_or_none()
    if closing is None:
        return False
    snapshot = await session.get(LeaderboardSnapshot, (closing.challenge, closing.period))
    if snapshot is None:
        await _copy(session, closing, as_of, at_once)
    elif snapshot.is_complete:  # made by the release before, while this one started
        await _forget(session, closing)
    elif await _rank(session, closing, at_once) < at_once:
        await _complete(session, closing, snapshot, as_of)
    await session.flush()
    return True


async def _find_ended(
    session: WriteSession, challenge: LiveChallenge, shop_zone: str, as_of: datetime, *, has_grace: bool = True
) -> None:
    board, zone = challenge.definition.leaderboard, resolve_zone(challenge.definition.zone, shop_zone)
    assert board is not None  # noqa: S101  the caller looked
    grace = parse_duration(board.grace)
    for period in (await session.execute(_ENDED, {"challenge": challenge.key})).scalars().all():
        end = ends_at(period, zone) or _end_of(challenge, zone)
        if end is None or (grace.after(end) if has_grace else end) > as_of:
            continue
        row = {"challenge": challenge.key, "period": period, "version": challenge.version, "ties": board.ties}
        await session.execute(insert(LeaderboardClosing).values(**row, begun_at=as_of).on_conflict_do_nothing())


def _end_of(challenge: LiveChallenge, zone: ZoneInfo) -> datetime | None:
    """When a challenge without a calendar ends: after the day, or at the instant, that `until` names."""
    until = moment_of(challenge.definition.until)
    if until is None or isinstance(until, datetime):
        return until
    return local_instant(until + timedelta(days=1), time(0), zone)


async def _copy(session: WriteSession, closing: LeaderboardClosing, as_of: datetime, limit: int) -> None:
    about = {"challenge": closing.challenge, "period": closing.period}
    last = await session.scalar(_COPY, {**about, "after": closing.after or _NOBODY, "limit": limit})
    if last is not None:
        closing.after = last
        return
    row = {**about, "version": closing.version, "ties": closing.ties, "finalised_at": as_of, "members": 0}
    await session.execute(insert(LeaderboardSnapshot).values(**row, is_complete=False).on_conflict_do_nothing())


async def _rank(session: WriteSession, closing: LeaderboardClosing, limit: int) -> int:
    """Rank the next members behind the last; answers how many they were."""
    about = {"challenge": closing.challenge, "period": closing.period, "ties": closing.ties, "limit": limit}
    last = place_values(await _last(session, closing))
    return len((await session.execute(_RANK, about | last)).all())


async def _last(session: ReadSession, closing: LeaderboardClosing) -> Place | None:
    statement = (
        select(LeaderboardRank)
        .where(LeaderboardRank.challenge == closing.challenge, LeaderboardRank.period == closing.period)
        .order_by(LeaderboardRank.position.desc())
        .limit(1)
    )
    row = (await session.execute(statement)).scalar_one_or_none()
    return None if row is None else Place(row.position, row.rank, row.figure, row.last_at, row.customer_id)


async def _complete(
    session: WriteSession, closing: LeaderboardClosing, snapshot: LeaderboardSnapshot, as_of: datetime
) -> None:
    """The ranks are final; whoever won is told."""
    last = await _last(session, closing)
    snapshot.members = last.position if last else 0
    snapshot.is_complete, snapshot.finalised_at = True, as_of
    about = {"challenge": closing.challenge, "period": closing.period, "version": closing.version}
    session.add(ChallengeErrand(id=new_id(), kind=told.Errand.LEADERBOARD, created_at=as_of, **about))
    await session.delete(closing)


async def _forget(session: WriteSession, closing: LeaderboardClosing) -> None:
    ours = (LeaderboardEntrant.challenge == closing.challenge, LeaderboardEntrant.period == closing.period)
    await session.execute(delete(LeaderboardEntrant).where(*ours))
    await session.delete(closing)
