"""Completed levels: what they give, at once and once, and what of it is taken back when returns undo them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from database.announcements import Announcement, announce
from database.badges import has_room, lock_badges
from database.challenge_progress import ChallengeCompletion, by_customer, completions_of, keep_completions
from database.won_prizes import level_prize, rank_prize
from domain.challenges import told
from domain.challenges.definition import ChallengeLevel, ChallengePrize
from domain.challenges.facts import COMPLETED
from domain.challenges.versions import was_given
from domain.durations import parse_duration
from domain.local_time import resolve_zone
from triggers.batch import BatchEvent, Wave
from triggers.prizes import Grant, Returned, grant, take_back

REVOKED: Final = "Challenge Revoked"
NONE_LEFT: Final = "none_left"
"""Why a badge was not given: as many members have it as may."""


class Place(NamedTuple):
    """What can be completed once."""

    challenge: str
    period: str
    level: str
    round: int
    customer_id: UUID


class Completed(NamedTuple):
    """A completion, and the prize by the version that gives or gave it."""

    row: ChallengeCompletion
    prize: ChallengePrize


def place_of(row: ChallengeCompletion) -> Place:
    """What a completion completed."""
    return Place(row.challenge, row.period, row.level, row.round, row.customer_id)


def reach(
    row: ChallengeCompletion | None, place: Place, version: int, reached_at: datetime, as_of: datetime
) -> ChallengeCompletion:
    """A new completion; or one that was revoked and is reached again, which is given a further time."""
    row = row or ChallengeCompletion(**place._asdict(), times=0)
    row.version, row.reached_at, row.completed_at = version, reached_at, as_of
    row.revoked_at, row.reward_kept, row.times = None, None, row.times + 1
    return row


async def give(wave: Wave, completed: Sequence[Completed]) -> None:
    """Pay, keep and announce in one transaction: a completion is never without its prize, nor paid twice."""
    if not completed:
        return
    grants = [
        Grant(row.customer_id, _key(row), prize, f"challenge/{row.challenge}", row.reached_at)
        for row, prize in completed
    ]
    given = await grant(wave, grants)
    limited = {prize.badge.badge for _, prize in completed if prize.badge and prize.badge.most}
    await lock_badges(wave.session, limited)
    for (row, prize), what in zip(completed, given, strict=True):
        row.points, row.credit, row.redemption_id = what.points, what.credit, what.redemption_id
        missing = {**what.missing, **await _wear(wave, row, prize)}
        row.not_given = missing or None
        # The next one counts who has which badge.
        await keep_completions(wave.session, [row])
    await announce(wave.session, [_completed(each) for each in completed], wave.as_of)


async def _wear(wave: Wave, row: ChallengeCompletion, prize: ChallengePrize) -> dict[str, str]:
    """Give the badge, if there is one and any is left; answers why not."""
    badge = prize.badge
    row.badge = row.badge_expires_at = None
    if badge is None:
        return {}
    if badge.most is not None and not await has_room(wave.session, badge.badge, badge.most, row.customer_id):
        return {"badge": NONE_LEFT}
    row.badge = badge.model_dump(mode="json", exclude_none=True)
    row.badge_expires_at = parse_duration(badge.expires).after(wave.as_of) if badge.expires else None
    return {}


async def revoke(wave: Wave, revoked: Sequence[Completed]) -> None:
    """What the policy takes back: points by a clawback, the reward unless it is used or on its way, the badge."""
    if not revoked:
        return
    returned = [Returned(row.customer_id, row.points, row.credit, row.redemption_id) for row, _ in revoked]
    kept = await take_back(wave.session, returned, "challenge_revoked", wave.as_of)
    for (row, _), why in zip(revoked, kept, strict=True):
        row.revoked_at, row.reward_kept = wave.as_of, why
    await keep_completions(wave.session, [row for row, _ in revoked])
    await announce(wave.session, [_revoked(each) for each in revoked], wave.as_of)


def _key(row: ChallengeCompletion) -> str:
    key = told.credit_key(row.challenge, row.version, row.period, f"{row.level}.{row.round}", str(row.customer_id))
    return key if row.times == 1 else f"{key}/{row.times}"


# What members won together or against each other --------------------------------------------------


async def hand_out(wave: Wave, events: Sequence[BatchEvent]) -> None:
    """Each prize once, however often the event is told."""
    members = {event.customer.id for event in events}
    rows = await completions_of(wave.session, members)
    known, theirs = {place_of(row) for row in rows}, by_customer(rows)
    completed: list[Completed] = []
    for event in events:
        won = await _won(wave, event)
        if won is not None and place_of(won.row) not in known and not _was_given(wave, won, theirs[event.customer.id]):
            known.add(place_of(won.row))
            completed.append(won)
    await give(wave, completed)


def _was_given(wave: Wave, won: Completed, completed: Sequence[ChallengeCompletion]) -> bool:
    """Whether the member has this level of a community from an earlier version, under another name or calendar."""
    challenge = wave.published.challenges.get(won.row.challenge)
    if challenge is None or not isinstance(won.prize, ChallengeLevel):
        return False
    given = challenge.given(completed, resolve_zone(None, wave.shop.zone))
    return was_given(challenge.definition, won.prize, won.row.period, won.row.round, given)


async def _won(wave: Wave, event: BatchEvent) -> Completed | None:
    """What was reached or ranked is looked up, and so is its prize; None for what nobody has recorded."""
    about = event.event.properties
    challenge, period = about["challenge"], about["period"]
    if event.event.name == told.COMMUNITY_REACHED:
        level, prize = about["level"], await level_prize(wave.session, challenge, period, about["level"])
    else:
        level, prize = f"rank:{about['rank']}", await rank_prize(wave.session, challenge, period, about["rank"])
    if prize is None:
        return None
    place = Place(challenge, period, level, 1, event.customer.id)
    return Completed(reach(None, place, about["version"], event.event.timestamp, wave.as_of), prize)


# What is told about it ---------------------------------------------------------------------------


def _completed(each: Completed) -> Announcement:
    row, prize = each
    missing = {"not_given": row.not_given} if row.not_given else {}
    return announcement_of(
        row, COMPLETED, "completed", {"reward": prize.reward if row.redemption_id else None, **missing}
    )


def _revoked(each: Completed) -> Announcement:
    row, prize = each
    kept = {"reward_kept": row.reward_kept} if row.reward_kept else {}
    reward = prize.reward if row.redemption_id and row.reward_kept is None else None
    return announcement_of(row, REVOKED, "revoked", {"reward": reward, **kept})


def announcement_of(
    row: ChallengeCompletion, name: str, word: str, prize: Mapping[str, object], *, to: UUID | None = None
) -> Announcement:
    """What is told of a completion, with what became of its `prize`; `to` whom the member's records pass, if so."""
    place = f"{row.challenge}/{row.period}/{row.level}.{row.round}/{row.customer_id}/{row.times}"
    about: dict[str, object] = {"challenge": row.challenge, "level": row.level, "period": row.period}
    about |= {"round": row.round, "points": row.points, "badge": row.badge and row.badge["badge"], **prize}
    return Announcement(to or row.customer_id, name, f"challenge-{word}/{place}", about)
