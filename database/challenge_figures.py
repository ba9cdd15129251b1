"""What a challenge gave: each completion for staff to look through, and all of them added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import BigInteger, and_, func, select, tuple_

from database.challenge_progress import ChallengeCompletion, ChallengeProgress
from database.customers import Customer
from database.redemptions import Redemption
from database.session import ReadSession

_Row = ChallengeCompletion
_STANDS = _Row.revoked_at.is_(None)


class CompletionPlace(NamedTuple):
    """Where a list of completions stands: the order of pk_challenge_completions within a challenge."""

    period: str
    level: str
    round: int
    customer_id: UUID


class ListedCompletion(NamedTuple):
    """A completion, by whom (the shop's own id) and with which reward of the catalogue."""

    row: ChallengeCompletion
    customer_id: str | None
    reward: str | None


class LevelFigures(NamedTuple):
    """What one level came to. What was revoked is in `revoked` and nowhere else."""

    level: str
    members: int
    completions: int
    revoked: int
    points: int
    badges: int
    rewards: int


async def page_of_completions(
    session: ReadSession, challenge: str, *, period: str | None, after: CompletionPlace | None, limit: int
) -> Sequence[ListedCompletion]:
    """Completions in the order of periods, levels, rounds and customers. Walks through pk_challenge_completions."""
    place = (_Row.period, _Row.level, _Row.round, _Row.customer_id)
    statement = (
        select(_Row, Customer.external_id, Redemption.reward)
        .join(Customer, Customer.id == _Row.customer_id)
        .outerjoin(Redemption, Redemption.id == _Row.redemption_id)
        .where(_Row.challenge == challenge)
        .order_by(*place)
        .limit(limit)
    )
    if period is not None:
        statement = statement.where(_Row.period == period)
    if after is not None:
        statement = statement.where(tuple_(*place) > tuple_(*after))
    return [ListedCompletion(*row) for row in await session.execute(statement)]


async def figures_of(session: ReadSession, challenge: str, period: str | None) -> Sequence[LevelFigures]:
    """Each level that anybody completed, in a period or altogether."""
    statement = (
        select(
            _Row.level,
            func.count(_Row.customer_id.distinct()).filter(_STANDS),
            func.count().filter(_STANDS),
            func.count().filter(~_STANDS),
            func.coalesce(func.sum(_Row.points).filter(_STANDS), 0).cast(BigInteger),
            func.count().filter(and_(_STANDS, _Row.badge.is_not(None))),
            func.count().filter(and_(_STANDS, _Row.redemption_id.is_not(None))),
        )
        .where(_Row.challenge == challenge)
        .group_by(_Row.level)
        .order_by(_Row.level)
    )
    if period is not None:
        statement = statement.where(_Row.period == period)
    return [LevelFigures(*row) for row in await session.execute(statement)]


async def rewards_of(session: ReadSession, challenge: str, period: str | None) -> Mapping[str, int]:
    """Reward -> how often it was given and stays given."""
    statement = (
        select(Redemption.reward, func.count())
        .join(_Row, _Row.redemption_id == Redemption.id)
        .where(_Row.challenge == challenge, _STANDS | _Row.reward_kept.is_not(None))
        .group_by(Redemption.reward)
        .order_by(Redemption.reward)
    )
    if period is not None:
        statement = statement.where(_Row.period == period)
    return {row.reward: row[1] for row in await session.execute(statement)}


async def members_of(session: ReadSession, challenge: str, period: str | None) -> int:
    """How many members did something that counts."""
    column = ChallengeProgress.customer_id.distinct()
    statement = select(func.count(column)).where(ChallengeProgress.challenge == challenge)
    if period is not None:
        statement = statement.where(ChallengeProgress.period == period)
    return await session.scalar(statement) or 0
