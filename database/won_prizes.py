"""The prizes of what was won, looked up where it is recorded: no event is believed what it says of a prize."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import select

from database.challenge_errands import CommunityLevel
from database.contests import ContestDraw, ContestPlace
from database.documents import version_of
from database.leaderboards import LeaderboardRank, LeaderboardSnapshot
from database.session import ReadSession
from domain.challenges.definition import ChallengeDefinition, ChallengePrize, Prize
from domain.contests.definition import ContestDefinition
from domain.contests.places import PlaceState
from domain.published import read_published


def place_key(contest: str, place: int) -> str:
    """By which a prize of a contest is told and given once."""
    return f"contest/{contest}/{place}"


async def drawn_definitions(session: ReadSession, contests: Collection[str]) -> dict[str, ContestDefinition]:
    """The definitions under which the lists of contests were frozen: what is won is what they say."""
    frozen = select(ContestDraw.contest, ContestDraw.version).where(ContestDraw.contest.in_(contests))
    found = {}
    for contest, version in await session.execute(frozen):
        row = None if version is None else await version_of(session, "contest", contest, version)
        if row is not None:
            found[contest] = read_published(ContestDefinition, row.document)
    return found


async def contest_prizes(session: ReadSession, contests: Collection[str]) -> Mapping[str, Prize]:
    """`place_key` -> what its winner gets, for the places whose winners have been told. By pk_contest_places."""
    definitions = await drawn_definitions(session, contests)
    told = select(ContestPlace).where(
        ContestPlace.contest.in_(definitions), ContestPlace.state == PlaceState.WON, ContestPlace.given_at.is_not(None)
    )
    found: dict[str, Prize] = {}
    for row in (await session.execute(told)).scalars():
        prize = definitions[row.contest].prize_for(row.prize_place or row.place)
        if prize is not None:
            found[place_key(row.contest, row.place)] = prize
    return found


async def level_prize(session: ReadSession, challenge: str, period: str, level: str) -> ChallengePrize | None:
    """What a level gives that a community has reached, by the version under which it did. By pk_community_levels."""
    reached = await session.get(CommunityLevel, (challenge, period, level))
    definition = None if reached is None else await _challenge(session, challenge, reached.version)
    levels = definition.levels if definition is not None else ()
    return next((each for each in levels if each.level == level), None)


async def rank_prize(session: ReadSession, challenge: str, period: str, rank: int) -> ChallengePrize | None:
    """What a final rank of a leaderboard gives, by the version that it was closed under. By pk_leaderboard_ranks."""
    final = (
        select(LeaderboardSnapshot.version)
        .join(
            LeaderboardRank,
            (LeaderboardRank.challenge == LeaderboardSnapshot.challenge)
            & (LeaderboardRank.period == LeaderboardSnapshot.period),
        )
        .where(LeaderboardSnapshot.challenge == challenge, LeaderboardSnapshot.period == period)
        .where(LeaderboardRank.rank == rank)
        .limit(1)
    )
    version = await session.scalar(final)
    definition = None if version is None else await _challenge(session, challenge, version)
    board = definition.leaderboard if definition is not None else None
    prizes = board.prizes if board is not None else ()
    return next((each for each in prizes if rank <= each.to_rank), None)


async def _challenge(session: ReadSession, key: str, version: int) -> ChallengeDefinition | None:
    row = await version_of(session, "challenge", key, version)
    return None if row is None else read_published(ChallengeDefinition, row.document)
