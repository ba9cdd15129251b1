"""Challenges: their life as documents, where members stand, badges, leaderboards, and a try over history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends
from pydantic import TypeAdapter

from api.auth import requires
from api.challenge_answers import (
    ChallengeTrial,
    ChallengeTrialWish,
    CommunityAnswer,
    CommunityLevelAnswer,
    LeaderboardAnswer,
    LevelAnswer,
    MemberBadges,
    MemberChallenge,
    MemberChallenges,
    Missed,
    NextLevel,
    RankAnswer,
    StreakAnswer,
    latest,
    number,
)
from api.challenge_kind import ChallengeKind
from api.challenge_period import Period
from api.customer_access import find_customer
from api.dependencies import AsOf, Reading, Writing
from api.documents import Key, document_router
from api.pagination import PageRequest, page, page_request
from api.paths import CustomerRef
from api.routing import ApiRoute
from database import documents
from database.challenge_errands import reached_together
from database.challenge_events import Wanted, recorded_events
from database.challenge_progress import ChallengeCompletion, completions_of, progress_of
from database.challenge_trials import trial
from database.challenges import KIND, LiveChallenge, community_figure, live_challenges, published_challenge
from database.customers import Customer, trusted_profile
from database.leaderboards import Place, Ranked, Ties, final_ranks, running_ranks, snapshot_of
from database.session import ReadSession
from database.shop_settings import shop_settings
from domain.challenges.definition import ChallengeDefinition, Community, SlidingWindow, Streak
from domain.challenges.progress import Standing, next_level, standings
from domain.challenges.streaks import StreakState, now
from domain.drafts import read_draft
from domain.errors import ChecksFailed, NotFound
from domain.events import EARLIEST
from domain.keys import Scope
from domain.local_time import resolve_zone
from domain.periods import ends_at, period_of, unit_of

router = document_router(ChallengeKind, read=Scope.LOYALTY_READ, write=Scope.LOYALTY_WRITE)
members = APIRouter(prefix="/v1/customers/{customer_id}", tags=["challenges"], route_class=ApiRoute)

READ = [requires(Scope.LOYALTY_READ)]

_LAST_LINE = TypeAdapter(tuple[int, int, Decimal, datetime, UUID])


def _line(line: Ranked) -> tuple[object, ...]:
    """A line's place, as cursors write it."""
    return (line.position, line.rank, str(line.figure), line.last_at, line.member)


@router.get("/{key}/leaderboard", dependencies=READ, summary="A leaderboard, running or final")
async def get_leaderboard(
    *,
    key: Key,
    session: Reading,
    as_of: AsOf,
    wanted: Annotated[PageRequest, Depends(page_request)],
    period: Period = None,
) -> LeaderboardAnswer:
    """Members by their figure. Whoever has the trait `leaderboard_opt_out` is not in it. An archived challenge keeps
    its boards; one that was running is final as it stood, without prizes or a `finalised_at`.
    """
    challenge = await published_challenge(session, key)
    if challenge is None:
        raise NotFound(f"There is no leaderboard of a challenge {key}.")
    zone = resolve_zone(challenge.definition.zone, (await shop_settings(session)).zone)
    period = period or period_of(as_of.astimezone(zone).date(), challenge.definition.every)
    last = wanted.after(_LAST_LINE)
    after, limit = Place(*last) if last else None, wanted.probe
    snapshot, board = await snapshot_of(session, key, period), challenge.definition.leaderboard
    if snapshot is not None:
        ties: Ties = snapshot.ties  # type: ignore[assignment]  # written from the same type
        lines = await final_ranks(session, key, period, after=after.position if after else 0, limit=limit)
    elif board is not None:
        ties = board.ties
        lines = await running_ranks(session, key, period, ties, after=after, limit=limit)
    else:
        raise NotFound(f"There is no leaderboard of the challenge {key} in this period.")
    shown = page(lines, wanted, RankAnswer.of, _line)
    return LeaderboardAnswer(
        challenge=key,
        period=period,
        ties=ties,
        final=snapshot is not None or challenge.is_archived,
        finalised_at=snapshot.finalised_at if snapshot else None,
        data=shown.data,
        next_cursor=shown.next_cursor,
    )


@router.post("/{key}/dry-run", dependencies=READ, summary="Who would have completed it")
async def try_challenge(
    key: Key, session: Writing, as_of: AsOf, wish: ChallengeTrialWish | None = None
) -> ChallengeTrial:
    """Counts everything that is recorded under the definition given, else the saved draft, and writes nothing."""
    await session.take_long()
    definition = await _definition(session, key, wish.definition if wish else None)
    found = await trial(session, definition, EARLIEST, as_of, (await shop_settings(session)).zone)
    return ChallengeTrial.of(found, definition.levels)


@members.get("/challenges", dependencies=READ, summary="Where a customer stands in all challenges")
async def list_customer_challenges(customer_id: CustomerRef, session: Reading, as_of: AsOf) -> MemberChallenges:
    """Progress in the running period of each challenge that is live or paused."""
    customer = await find_customer(session, customer_id)
    live = await live_challenges(session)
    completed = [row for row in await completions_of(session, [customer.id]) if row.revoked_at is None]
    member = _Member(customer, completed, (await shop_settings(session)).zone, as_of)
    return MemberChallenges(data=[await _member_challenge(session, each, member) for each in live.values()])


@members.get("/badges", dependencies=READ, summary="A customer's badges")
async def list_customer_badges(customer_id: CustomerRef, session: Reading, as_of: AsOf) -> MemberBadges:
    """Each badge once, the latest first; without those that were revoked or have lapsed."""
    customer = await find_customer(session, customer_id)
    return MemberBadges(data=latest(await completions_of(session, [customer.id]), as_of))


@dataclass(frozen=True, slots=True)
class _Member:
    """Whose progress is shown, and when."""

    customer: Customer
    completed: Sequence[ChallengeCompletion]
    shop_zone: str
    as_of: datetime

    def zone_in(self, challenge: LiveChallenge) -> ZoneInfo:
        """Whose calendar counts: the challenge's own, the shop's where members are compared, else the member's."""
        definition = challenge.definition
        return resolve_zone(
            definition.zone or (None if definition.is_shared else trusted_profile(self.customer).zone), self.shop_zone
        )


async def _definition(session: ReadSession, key: str, given: Mapping[str, Any] | None) -> ChallengeDefinition:
    if given is None:
        row = await documents.load(session, KIND, key)
        if row is None:
            raise NotFound(f"There is no challenge {key}.")
        given = row.draft
    draft = read_draft(ChallengeDefinition, {KIND: key, **given})
    if not isinstance(draft.document, ChallengeDefinition):
        findings = [finding.model_dump(mode="json") for finding in draft.findings]
        raise ChecksFailed(draft.findings[0].message, members={"findings": findings})
    return draft.document


async def _member_challenge(session: ReadSession, challenge: LiveChallenge, member: _Member) -> MemberChallenge:
    definition, zone = challenge.definition, member.zone_in(challenge)
    today = member.as_of.astimezone(zone).date()
    standing = await _standing(session, challenge, member, period_of(today, definition.every))
    own = {row.level: row for row in member.completed if _is_in(row, challenge.key, standing)}
    figure, shared, missed = standing.figure, None, dict[str, Missed]()
    if definition.community is not None:
        figure = await community_figure(session, challenge.key, standing.period)
        together = await reached_together(session, challenge.key, standing.period)
        reached = [CommunityLevelAnswer(level=each.level, reached_at=each.reached_at) for each in together]
        shared = CommunityAnswer(figure=number(figure), reached=reached)
        missed = {
            each.level: _why_missed(definition.community, standing)
            for each in together
            if each.is_handed_out and standing.figure and each.level not in own
        }
    coming = next_level(definition.levels, figure)
    return MemberChallenge(
        challenge=challenge.key,
        name=definition.name,
        description=definition.description,
        period=standing.period,
        ends_at=ends_at(standing.period, zone),
        figure=number(standing.figure),
        round=standing.round,
        completed=bool(definition.levels) and definition.levels[-1].level in own,
        next=NextLevel(level=coming.level, at=coming.at, left=number(coming.at - figure)) if coming else None,
        levels=[LevelAnswer.of(level, own.get(level.level), missed.get(level.level)) for level in definition.levels],
        requires=list(definition.requires),
        locked=not set(definition.requires) <= {row.challenge for row in member.completed},
        paused=challenge.is_paused,
        streak=_streak(definition, standing, today),
        community=shared,
    )


def _why_missed(community: Community, standing: Standing) -> Missed:
    return "contributed_too_late" if standing.figure >= community.contribute else "contributed_too_little"


def _is_in(row: ChallengeCompletion, challenge: str, standing: Standing) -> bool:
    return (row.challenge, row.period, row.round) == (challenge, standing.period, standing.round)


async def _standing(session: ReadSession, challenge: LiveChallenge, member: _Member, period: str) -> Standing:
    """What the router has kept; what a rolling window has left behind since, only counting tells."""
    customer, as_of = member.customer, member.as_of
    nothing = Standing(period, Decimal(), as_of, streak=StreakState())
    if isinstance(challenge.definition.window, SlidingWindow):
        read, zone = challenge.read_fact, member.zone_in(challenge)
        recorded = await recorded_events(session, [Wanted(customer.id, challenge.definition.event_names)])
        facts = [fact for event in recorded[customer.id] if (fact := read(event, zone))]
        return standings(challenge.definition, facts, as_of).get(period, nothing)
    rows = await progress_of(session, [customer.id], [challenge.key])
    row = next((row for row in rows if row.period == period), None)
    if row is None:
        return nothing
    streak = StreakState(**row.streak) if row.streak else None
    return Standing(row.period, row.figure, row.last_at, row.round, streak=streak)


def _streak(definition: ChallengeDefinition, standing: Standing, today: date) -> StreakAnswer | None:
    metric = definition.metric
    if not isinstance(metric, Streak) or standing.streak is None:
        return None
    state = now(standing.streak, unit_of(today, metric.streak))
    return StreakAnswer(
        unit=metric.streak, length=state.length, best=state.best, freezes=state.freezes, at_risk=state.at_risk
    )
