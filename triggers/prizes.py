"""Prizes of challenges and contests, given and taken back: points by the ledger, rewards by the catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import structlog

from database.points import payers_of, post
from database.programmes import programme_keys
from database.redeeming import withdraw
from database.redemptions import give
from database.session import WriteSession
from database.waiting_prizes import PrizePoints, give_up, let_wait
from domain.challenges.definition import Prize
from domain.points import Clawback, Moved
from domain.redemptions import Given, NotGiven, Refused
from domain.rewards import Reason
from triggers.batch import Wave

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
    """What was given. `credit`: the ledger's key, by which it is taken back, also while it waits for a programme.
    `missing`: a part of it -> why not, or not yet.
    """

    points: int | None = None
    credit: str | None = None
    redemption_id: UUID | None = None
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Returned:
    """What a prize gave a locked customer, and is to be taken back."""

    customer_id: UUID
    points: int | None
    credit: str | None
    redemption_id: UUID | None


def can_be_given(wave: Wave, prize: Prize) -> bool:
    """Points need a live programme; until there is one, what pays points waits."""
    return prize.points is None or wave.programme is not None


async def grant(wave: Wave, grants: Sequence[Grant]) -> list[Granted]:
    """Give each prize; a part of it that cannot be given is left out, with the reason, and logged. Points wait for a
    live programme (database/waiting_prizes.py).
    """
    moved = await _pay(wave, [each for each in grants if each.prize.points])
    return [await _granted(wave.session, each, moved.get(each.key), wave.as_of) for each in grants]


async def _granted(session: WriteSession, each: Grant, moved: Moved | None, as_of: datetime) -> Granted:
    paid = moved if moved is not None and moved.refusal is None else None
    waits = each.prize.points is not None and moved is None
    missing: dict[str, str] = {}
    if each.prize.points is not None and paid is None:
        missing["points"] = moved.refusal if moved is not None and moved.refusal else Reason.NO_PROGRAMME
    outcome = None
    if each.prize.reward is not None:
        outcome = await give(session, each.customer_id, each.prize.reward, f"{each.key}/reward", as_of)
    if isinstance(outcome, NotGiven):
        missing["reward"] = outcome.reason
    if missing:
        log.warning("a part of a prize was not given", key=each.key, missing=missing)
    redemption_id = outcome.redemption_id if isinstance(outcome, Given) else None
    return Granted(paid.points if paid else None, each.key if paid or waits else None, redemption_id, missing)


async def _pay(wave: Wave, grants: Sequence[Grant]) -> dict[str, Moved]:
    """Key -> what the ledger has moved; nothing while no programme is live: then the points wait for one."""
    programme, prizes = wave.programme, [_points(each) for each in grants]
    if programme is None:
        await let_wait(wave.session, prizes, wave.as_of)
        return {}
    moved = await post(wave.session, programme.key, [each.credit(programme, wave.as_of) for each in prizes], wave.as_of)
    return {each.key: one for each, one in zip(grants, moved, strict=True)}


async def take_back(
    session: WriteSession, returned: Sequence[Returned], reason: str, as_of: datetime
) -> list[Refused | None]:
    """Take back what prizes gave: points by clawbacks, rewards by cancelling them. Answers, for each, why its reward
    stays with the customer; None: it does not.
    """
    await give_up(session, [each.credit for each in returned if each.credit is not None and each.points is None])
    await _claw_back(session, returned, as_of)
    return [
        None if each.redemption_id is None else await withdraw(session, each.redemption_id, reason, as_of)
        for each in returned
    ]


async def _claw_back(session: WriteSession, returned: Sequence[Returned], as_of: datetime) -> None:
    """Take back what was paid from the ledger that paid it: points that waited came from a later programme."""
    backs = {
        each.credit: Clawback(each.customer_id, f"{each.credit}/revoke", of=each.credit, target=each.points)
        for each in returned
        if each.credit is not None and each.points
    }
    if not backs:
        return
    payers = await payers_of(session, await programme_keys(session), backs)
    for programme in sorted(set(payers.values())):
        moves = [back for credit, back in backs.items() if payers.get(credit) == programme]
        await post(session, programme, moves, as_of)


def _points(each: Grant) -> PrizePoints:
    prize = each.prize
    return PrizePoints(each.key, each.customer_id, prize.points or 0, prize.expires, each.source, each.earned_at)
