"""What challenges gave, for staff: who completed what, and the totals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter

from api.auth import requires
from api.challenge_period import Period
from api.dependencies import Reading
from api.documents import Key
from api.money import MoneyAnswer
from api.pagination import Page, PageRequest, Word, page, page_request
from api.routing import ApiRoute
from database.challenge_figures import (
    CompletionPlace,
    LevelFigures,
    ListedCompletion,
    figures_of,
    members_of,
    page_of_completions,
    rewards_of,
)
from database.challenges import KIND
from database.documents import load
from database.programmes import LiveProgramme, live_programme
from database.session import ReadSession
from domain.challenges.rounds import true_round
from domain.errors import NotFound
from domain.keys import Scope
from domain.liability import liability

router = APIRouter(prefix="/v1/challenges", tags=["challenges"], route_class=ApiRoute)

READ = [requires(Scope.LOYALTY_READ)]
_PLACE = TypeAdapter(tuple[Word, Word, int, UUID])


class CompletionAnswer(BaseModel):
    """One completion, and what it gave. `version`: of the challenge, by which it was given."""

    customer_id: str | None
    level: str = Field(description="`rank:1` and so on of a leaderboard.")
    period: str
    round: int
    version: int
    reached_at: AwareDatetime
    completed_at: AwareDatetime
    points: int | None
    reward: str | None
    badge: str | None
    not_given: dict[str, Any] | None = Field(description="`points`, `reward` or `badge`, each with the reason.")
    revoked_at: AwareDatetime | None
    reward_kept: str | None = Field(description="Why a revoked completion's reward stays with the member.")
    times: int = Field(description="How often it was given: again after it was revoked.")

    @classmethod
    def of(cls, listed: ListedCompletion) -> Self:
        """From the row."""
        row = listed.row
        return cls(
            customer_id=listed.customer_id,
            level=row.level,
            period=row.period,
            round=true_round(row.round),
            version=row.version,
            reached_at=row.reached_at,
            completed_at=row.completed_at,
            points=row.points,
            reward=listed.reward,
            badge=row.badge["badge"] if row.badge else None,
            not_given=row.not_given,
            revoked_at=row.revoked_at,
            reward_kept=row.reward_kept,
            times=row.times,
        )


class LevelTotal(BaseModel):
    """Totals of one level. What was revoked counts in `revoked` only."""

    level: str
    members: int
    completions: int
    revoked: int
    points: int
    badges: int
    rewards: int


class ChallengeTotals(BaseModel):
    """Totals of a challenge, in a period or altogether."""

    challenge: str
    period: str | None
    members: int = Field(description="Who did something that counts.")
    levels: list[LevelTotal]
    points: int
    points_cost: MoneyAnswer | None = Field(
        description="The points by the live programme's `value` and `cost_share`; null where it states no value."
    )
    rewards: Mapping[str, int] = Field(description="Each reward that was given, and how often.")


@router.get("/{key}/completions", dependencies=READ, summary="Who completed it, and what it gave")
async def list_completions(
    *,
    key: Key,
    session: Reading,
    wanted: Annotated[PageRequest, Depends(page_request)],
    period: Period = None,
) -> Page[CompletionAnswer]:
    """By period, level, round and customer; those that were revoked too. Also of archived challenges."""
    await _need(session, key)
    last = wanted.after(_PLACE)
    after = CompletionPlace(*last) if last else None
    rows = await page_of_completions(session, key, period=period, after=after, limit=wanted.probe)
    return page(rows, wanted, CompletionAnswer.of, _place)


@router.get("/{key}/totals", dependencies=READ, summary="Totals of a challenge")
async def get_challenge_totals(*, key: Key, session: Reading, period: Period = None) -> ChallengeTotals:
    """Members, completions and what they were given, by level; of one period, or of all. Also of archived ones."""
    await _need(session, key)
    levels = await figures_of(session, key, period)
    points = sum(level.points for level in levels)
    return ChallengeTotals(
        challenge=key,
        period=period,
        members=await members_of(session, key, period),
        levels=_levels(levels),
        points=points,
        points_cost=_cost(points, await live_programme(session)),
        rewards=await rewards_of(session, key, period),
    )


def _levels(levels: Sequence[LevelFigures]) -> list[LevelTotal]:
    return [LevelTotal(**level._asdict()) for level in levels]


def _cost(points: int, programme: LiveProgramme | None) -> MoneyAnswer | None:
    """All of them at their full cost: whether they will be redeemed is the programme's liability to say."""
    terms = programme.definition.points if programme is not None else None
    if terms is None or terms.value is None:
        return None
    each = Fraction(str(terms.cost_share)) * terms.value.amount
    return MoneyAnswer(amount=liability(points, each, None), currency=terms.value.currency)


def _place(listed: ListedCompletion) -> tuple[object, ...]:
    row = listed.row
    return (row.period, row.level, row.round, row.customer_id)


async def _need(session: ReadSession, key: str) -> None:
    row = await load(session, KIND, key)
    if row is None or row.live_version is None:
        raise NotFound(f"No challenge {key} was published.")
