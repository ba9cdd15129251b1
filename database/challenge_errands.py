"""Telling many members something, page by page: that a challenge is to be counted again, that they won together.

Each member is told by an event of theirs, so that the router acts under that member's lock (domain/challenges/told.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Index, Numeric, PrimaryKeyConstraint, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from database.announcements import Announcement, announce
from database.base import Table
from database.challenge_progress import ChallengeProgress
from database.challenge_totals import totals_of
from database.challenges import LiveChallenge, challenge_versions, live_challenges
from database.leaderboards import winners
from database.session import ReadSession, WriteSession
from domain.challenges import told
from domain.challenges.definition import RankPrize
from domain.challenges.progress import levels_reached
from domain.ids import new_id

MEMBERS_AT_ONCE = 500
_NOBODY = UUID(int=0)


class ChallengeErrand(Table):
    """One thing to tell. `after`: how far it has come, a customer's id or a position as one."""

    __tablename__ = "challenge_errands"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str]  # domain.challenges.told.Errand
    challenge: Mapped[str]
    version: Mapped[int]
    period: Mapped[str | None]
    level: Mapped[str | None]
    after: Mapped[UUID | None]
    created_at: Mapped[datetime]
    done_at: Mapped[datetime | None]

    __table_args__ = (Index("ix_challenge_errands_open", "id", postgresql_where=text("done_at IS NULL")),)


class CommunityLevel(Table):
    """A level that all members together have reached, once a period."""

    __tablename__ = "community_levels"

    challenge: Mapped[str]
    period: Mapped[str]
    level: Mapped[str]
    version: Mapped[int]
    figure: Mapped[Decimal] = mapped_column(Numeric)
    reached_at: Mapped[datetime]

    __table_args__ = (PrimaryKeyConstraint("challenge", "period", "level"),)


class ReachedTogether(NamedTuple):
    """A level of a community. `is_handed_out`: everybody who had given enough by then has been told."""

    level: str
    reached_at: datetime
    is_handed_out: bool


# Customers, from one id on, with an event that a challenge may count. Relies on ix_events_customer_name.
_TOUCHED = text("""
    SELECT DISTINCT customer_id FROM events
    WHERE name = ANY(:names) AND customer_id > :after AND status = 'routed' AND trusted
    ORDER BY customer_id LIMIT :limit
""")


async def recount(session: WriteSession, challenge: str, version: int, as_of: datetime) -> None:
    """Have every member counted again: the definition has changed, or was paused."""
    about = {"kind": told.Errand.RECOUNT, "challenge": challenge, "version": version}
    session.add(ChallengeErrand(id=new_id(), created_at=as_of, **about))
    await session.flush()


async def recount_waiting(session: WriteSession, as_of: datetime) -> None:
    """A programme goes live: whoever reached levels with points in the meantime is given them."""
    for challenge in (await live_challenges(session)).values():
        if not challenge.is_paused and any(level.points for level in challenge.definition.levels):
            await recount(session, challenge.key, challenge.version, as_of)


async def find_errands(session: WriteSession, as_of: datetime) -> None:
    """What time has brought: levels that communities reached."""
    for challenge in (await live_challenges(session)).values():
        if challenge.is_paused:
            continue
        if challenge.definition.community is not None:
            await _find_levels(session, challenge, as_of)


async def reached_together(session: ReadSession, challenge: str, period: str) -> list[ReachedTogether]:
    """The levels that all members together have reached in a period, the first one first."""
    level = CommunityLevel
    is_open = ChallengeErrand.done_at.is_(None) & (ChallengeErrand.kind == told.Errand.COMMUNITY)
    ours = (ChallengeErrand.challenge == level.challenge, ChallengeErrand.period == level.period)
    open_ = select(1).where(is_open, *ours, ChallengeErrand.level == level.level).exists()
    statement = select(level.level, level.reached_at, ~open_)
    statement = statement.where(level.challenge == challenge, level.period == period)
    return [ReachedTogether(*row) for row in await session.execute(statement.order_by(level.reached_at, level.level))]


async def run_errand(session: WriteSession, as_of: datetime, *, at_once: int = MEMBERS_AT_ONCE) -> bool:
    """Tell one page of members of the oldest errand; False: there is none. Two at once take different ones."""
    statement = (
        select(ChallengeErrand)
        .where(ChallengeErrand.done_at.is_(None))
        .order_by(ChallengeErrand.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    errand = (await session.execute(statement)).scalar_one_or_none()
    if errand is None:
        return False
    page = await _page(session, errand, at_once)
    await announce(session, [announcement for _, announcement in page], as_of)
    if len(page) < at_once:
        errand.done_at = as_of
    else:
        errand.after = page[-1][0]
    await session.flush()
    return True


_Page = list[tuple[UUID, Announcement]]  # where the errand stands after each


async def _page(session: ReadSession, errand: ChallengeErrand, limit: int) -> _Page:
    """Members are counted by the version of today; what was won goes by its own, also if the challenge is archived."""
    kind = told.Errand(errand.kind)
    if kind is told.Errand.RECOUNT:
        challenge = (await live_challenges(session)).get(errand.challenge)
    else:
        place = (errand.challenge, errand.version)
        challenge = (await challenge_versions(session, [place])).get(place)
    if challenge is None:
        return []
    match kind:
        case told.Errand.RECOUNT:
            return await _counted_again(session, errand, challenge, limit)
        case told.Errand.COMMUNITY:
            return await _contributors(session, errand, challenge, limit)
        case told.Errand.LEADERBOARD:
            return await _winners(session, errand, challenge, limit)


async def _counted_again(session: ReadSession, errand: ChallengeErrand, challenge: LiveChallenge, limit: int) -> _Page:
    wanted = {"names": sorted(challenge.definition.event_names), "after": errand.after or _NOBODY}
    members = (await session.execute(_TOUCHED, wanted | {"limit": limit})).scalars()
    told_to = {"challenge": challenge.key}
    return [(id_, _announcement(errand, id_, told.RECOUNT_REQUESTED, told_to)) for id_ in members]


async def _contributors(session: ReadSession, errand: ChallengeErrand, challenge: LiveChallenge, limit: int) -> _Page:
    """Whoever gave enough."""
    level = next((each for each in challenge.definition.levels if each.level == errand.level), None)
    community = challenge.definition.community
    if level is None or community is None or errand.period is None:
        return []
    statement = (
        select(ChallengeProgress.customer_id)
        .where(ChallengeProgress.challenge == challenge.key, ChallengeProgress.period == errand.period)
        .where(ChallengeProgress.figure >= community.contribute)
        .where(ChallengeProgress.customer_id > (errand.after or _NOBODY))
        .order_by(ChallengeProgress.customer_id)
        .limit(limit)
    )
    about = {"challenge": challenge.key, "period": errand.period, "level": level.level, "version": errand.version}
    about |= {"prize": told.prize_as_json(level)}
    members = (await session.execute(statement)).scalars()
    return [(id_, _announcement(errand, id_, told.COMMUNITY_REACHED, about)) for id_ in members]


async def _winners(session: ReadSession, errand: ChallengeErrand, challenge: LiveChallenge, limit: int) -> _Page:
    """Paid from the snapshot only, however late events change the running figures."""
    board = challenge.definition.leaderboard
    if board is None or not board.prizes or errand.period is None:
        return []
    after = (errand.after or _NOBODY).int  # a position
    ranks = await winners(session, challenge.key, errand.period, board.prizes[-1].to_rank, after=after, limit=limit)
    about = {"challenge": challenge.key, "period": errand.period, "version": errand.version}
    return [
        (
            UUID(int=row.position),
            _announcement(
                errand,
                row.customer_id,
                told.RANKED,
                about | {"rank": row.rank, "prize": _prize(board.prizes, row.rank)},
            ),
        )
        for row in ranks
    ]


def _prize(prizes: Sequence[RankPrize], rank: int) -> dict[str, object]:
    return told.prize_as_json(next(prize for prize in prizes if rank <= prize.to_rank))


def _announcement(errand: ChallengeErrand, member: UUID, name: str, about: Mapping[str, object]) -> Announcement:
    return Announcement(member, name, f"challenge-errand/{errand.id}/{member}", about)


async def _find_levels(session: WriteSession, challenge: LiveChallenge, as_of: datetime) -> None:
    known = select(CommunityLevel.period, CommunityLevel.level).where(CommunityLevel.challenge == challenge.key)
    reached = {(row.period, row.level) for row in await session.execute(known)}
    for period, figure in (await totals_of(session, challenge.key)).items():
        for level in levels_reached(challenge.definition.levels, figure):
            if (period, level.level) in reached:
                continue
            row = {"challenge": challenge.key, "period": period, "level": level.level, "version": challenge.version}
            new = insert(CommunityLevel).values(**row, figure=figure, reached_at=as_of).on_conflict_do_nothing()
            if (await session.execute(new.returning(CommunityLevel.level))).one_or_none():
                _begin(session, told.Errand.COMMUNITY, challenge, as_of, period=period, level=level.level)


def _begin(
    session: WriteSession,
    kind: told.Errand,
    challenge: LiveChallenge,
    as_of: datetime,
    *,
    period: str | None = None,
    level: str | None = None,
) -> None:
    about = {"challenge": challenge.key, "version": challenge.version, "period": period, "level": level}
    session.add(ChallengeErrand(id=new_id(), kind=kind, created_at=as_of, **about))
