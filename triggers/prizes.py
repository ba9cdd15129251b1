"""Giving the prizes of challenges and contests: points by the ledger, rewards by the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog

from database.points import post
from database.programmes import LiveProgramme, live_programme
from database.redemptions import give
from database.session import WriteSession
from domain.challenges.definition import Prize
from domain.durations import parse_duration
from domain.earned_dates import expiry
from domain.points import Clawback, Credit, CreditKind
from domain.redemptions import Given

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Grant:
    """A prize for a locked customer. The key is natural: what it has given once it never gives again."""

    customer_id: UUID
    key: str
    prize: Prize
    source: str  # what the customer is shown: "challenge/first-steps"
    earned_at: datetime


@dataclass(frozen=True, slots=True)
class Granted:
    """What was given. `credit`: the ledger's key, by which it is taken back."""

    points: int | None = None
    credit: str | None = None
    redemption_id: UUID | None = None


async def can_be_given(session: WriteSession, prize: Prize) -> bool:
    """Points need a live programme; until there is one, what pays points waits."""
    return prize.points is None or await live_programme(session) is not None


async def grant(session: WriteSession, grants: Sequence[Grant], as_of: datetime) -> list[Granted]:
    """Give each prize; a part of it that cannot be given is left out and logged."""
    programme = await live_programme(session) if any(each.prize.points for each in grants) else None
    credits_ = [_credit(each, programme, as_of) for each in grants if programme and each.prize.points]
    paid: dict[str, int] = {}
    if programme is not None:
        outcomes = await post(session, programme.key, credits_, as_of)
        paid = {
            move.key: outcome.points for move, outcome in zip(credits_, outcomes, strict=True) if not outcome.refusal
        }
    given = []
    for each in grants:
        points = paid.get(each.key)
        if each.prize.points is not None and points is None:
            log.warning("points of a prize were not given", key=each.key)
        redemption = await _reward(session, each, as_of)
        given.append(Granted(points, each.key if points is not None else None, redemption))
    return given


async def take_back(session: WriteSession, taken: Sequence[tuple[UUID, str, int]], as_of: datetime) -> None:
    """Take back points that prizes gave: (customer, key of the credit, points)."""
    programme = await live_programme(session)
    if programme is None:
        return
    moves = [Clawback(customer, key=f"{key}/revoke", of=key, target=points) for customer, key, points in taken]
    await post(session, programme.key, moves, as_of)


def _credit(each: Grant, programme: LiveProgramme, as_of: datetime) -> Credit:
    """Points of a prize that says nothing lapse as the programme says."""
    if each.prize.expires is not None:
        lapses: datetime | None = parse_duration(each.prize.expires).after(as_of.astimezone(programme.zone))
    else:
        lapses = expiry(programme.definition.expires, as_of, programme.zone)
    return Credit(
        account=each.customer_id,
        key=each.key,
        points=each.prize.points or 0,
        kind=CreditKind.REWARD,
        earned_at=each.earned_at,
        source=each.source,
        expires_at=lapses,
    )


async def _reward(session: WriteSession, each: Grant, as_of: datetime) -> UUID | None:
    if each.prize.reward is None:
        return None
    outcome = await give(session, each.customer_id, each.prize.reward, f"{each.key}/reward", as_of)
    if isinstance(outcome, Given):
        return outcome.redemption_id
    log.warning("the reward of a prize was not given", key=each.key, reason=outcome.reason)
    return None
