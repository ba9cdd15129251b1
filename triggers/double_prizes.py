"""Levels that two customers completed before they turned out to be one: each is completed once.

The later prize is taken back if it was reached within the day that a merge reopens (decision 0014); older ones stay,
under a round below zero, so that returns still reach them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from database.announcements import Announcement, announce
from database.challenge_progress import ChallengeCompletion, completions_of, keep_completions
from database.redemptions import Redemption
from database.session import WriteSession
from domain.challenges.rounds import aside
from triggers.completions import REVOKED, announcement_of, place_of
from triggers.prizes import Returned, take_back

_Row = ChallengeCompletion


async def end_double_prizes(
    session: WriteSession, loser: UUID, survivor: UUID, since: datetime, as_of: datetime
) -> None:
    """Leave one completion of each place, before the rows of `loser` pass to `survivor`. Both are locked."""
    pairs: dict[tuple[str, str, str, int], list[_Row]] = {}
    rows = await completions_of(session, {loser, survivor})
    for row in rows:
        pairs.setdefault(place_of(row)[:4], []).append(row)
    doubles = [_kept_first(pair) for pair in pairs.values() if len(pair) > 1]
    if not doubles:
        return
    lost = [row for _, row in doubles if row.revoked_at is None and row.reached_at > since]
    await _take_back(session, lost, survivor, as_of)
    taken = {place_of(row)[:4] for row in rows}
    for kept, gone in doubles:
        kept.times = max(kept.times, gone.times)  # what is given again is keyed by it
        if gone.revoked_at is not None:
            await session.delete(gone)
            continue
        gone.round = next(
            number for number in aside(gone.round) if (gone.challenge, gone.period, gone.level, number) not in taken
        )
        taken.add(place_of(gone)[:4])
    await keep_completions(session, [kept for kept, _ in doubles])


def _kept_first(pair: Sequence[_Row]) -> tuple[_Row, _Row]:
    """What stands goes before what was revoked, what was reached first before the other."""
    kept, gone = sorted(pair, key=lambda row: (row.revoked_at is not None, row.reached_at, row.completed_at))
    return kept, gone


async def _take_back(session: WriteSession, lost: Sequence[_Row], survivor: UUID, as_of: datetime) -> None:
    if not lost:
        return
    returned = [Returned(row.customer_id, row.points, row.credit, row.redemption_id) for row in lost]
    kept = await take_back(session, returned, "challenge_revoked", as_of)
    ids = {row.redemption_id for row in lost if row.redemption_id is not None}
    found = await session.execute(select(Redemption.id, Redemption.reward).where(Redemption.id.in_(ids)))
    rewards = {row.id: row.reward for row in found}
    told: list[Announcement] = []
    for row, why in zip(lost, kept, strict=True):
        row.revoked_at = as_of
        reward = rewards.get(row.redemption_id) if row.redemption_id is not None and why is None else None
        about = {"reward": reward} | ({"reward_kept": why} if why else {})
        told.append(announcement_of(row, REVOKED, "revoked", about, to=survivor))
    await announce(session, told, as_of)
