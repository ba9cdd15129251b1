"""Whether progress and completions follow from events, asked of live data for `perennial doctor` (invariant 12)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import groupby
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import select

from database.challenge_events import Wanted, recorded_events
from database.challenge_progress import ChallengeProgress, progress_of
from database.challenges import LiveChallenge, live_challenges
from database.customers import Customer
from database.session import ReadSession
from database.shop_settings import shop_settings
from domain.challenges.definition import SlidingWindow
from domain.challenges.facts import RecordedEvent
from domain.challenges.progress import Standing, standings
from domain.customers import profile_of
from domain.local_time import resolve_zone

# The ledger keeps natural keys as their hashes (database/ledger.py), each under the programme that was live.
PAID: Final = """
    SELECT completed.challenge || '/' || completed.period || '/' || completed.level || '/' || completed.customer_id
    FROM challenge_completions AS completed
    WHERE completed.credit IS NOT NULL AND NOT EXISTS (
        SELECT FROM documents AS programmes
        JOIN point_transactions AS paid ON paid.programme = programmes.key AND paid.key = sha256(
            convert_to(programmes.key, 'UTF8') || '\\x00'::bytea || convert_to(completed.credit, 'UTF8')
        )
        WHERE programmes.kind = 'programme' AND paid.points = completed.points
    )
"""

# The total of all members, against their own figures (`challenge_totals.py`).
TOTALS: Final = """
    SELECT challenge || '/' || period
    FROM (
        SELECT challenge, period, sum(amount) AS amount FROM (
            SELECT challenge, period, amount FROM challenge_totals
            UNION ALL
            SELECT challenge, period, amount FROM challenge_total_changes
        ) AS noted GROUP BY challenge, period
    ) AS kept
    FULL JOIN (
        SELECT challenge, period, sum(figure) AS amount FROM challenge_progress GROUP BY challenge, period
    ) AS members USING (challenge, period)
    WHERE coalesce(kept.amount, 0) <> coalesce(members.amount, 0)
"""

_PAGE = 200


async def drifted_progress(session: ReadSession, as_of: datetime, limit: int = 5) -> Sequence[str]:
    """The first few members whose stored progress is not what their events come to, as `challenge/customer`.

    Whoever has yet to be counted by a challenge's newest version is left to its recount.
    """
    live = await live_challenges(session)
    names = frozenset(name for challenge in live.values() for name in challenge.definition.event_names)
    found: list[str] = []
    async for page in _members(session, live):
        zones = await _zones(session, page)
        events = await recorded_events(session, [Wanted(id_, names) for id_ in page])
        for (key, id_), rows in _by_member(await progress_of(session, page, live)):
            if not _agrees(live[key], rows, _counted(live[key], events[id_], zones[id_], as_of)):
                found.append(f"{key}/{id_}")
        if len(found) >= limit:
            break
    return found[:limit]


async def _members(session: ReadSession, live: Mapping[str, LiveChallenge]) -> AsyncIterator[Sequence[UUID]]:
    """Pages of customers with any progress. Walks through ix_challenge_progress_customer_id."""
    column = ChallengeProgress.customer_id
    statement = select(column).where(ChallengeProgress.challenge.in_(live)).distinct().order_by(column).limit(_PAGE)
    page = (await session.execute(statement)).scalars().all()
    while page:
        yield page
        page = (await session.execute(statement.where(column > page[-1]))).scalars().all()


@dataclass(frozen=True, slots=True)
class _Zones:
    """A member's own zone, and the shop's, by which challenges that all share are counted."""

    own: ZoneInfo
    shop: ZoneInfo


async def _zones(session: ReadSession, ids: Sequence[UUID]) -> dict[UUID, _Zones]:
    shop = (await shop_settings(session)).zone
    rows = await session.execute(
        select(Customer.id, Customer.traits, Customer.trait_times, Customer.observed).where(Customer.id.in_(ids))
    )
    zones = {row.id: profile_of(row.traits, row.trait_times, row.observed).trusted_zone for row in rows}
    return {id_: _Zones(resolve_zone(zone, shop), resolve_zone(None, shop)) for id_, zone in zones.items()}


def _counted(
    challenge: LiveChallenge, events: Sequence[RecordedEvent], zones: _Zones, as_of: datetime
) -> Mapping[str, Standing]:
    zone = zones.shop if challenge.definition.is_shared else zones.own
    facts = [fact for event in events if (fact := challenge.read_fact(event, zone)) is not None]
    return standings(challenge.definition, facts, max([as_of, *(fact.at for fact in facts)]))


_Member = tuple[str, UUID]  # challenge, customer


def _by_member(rows: Sequence[ChallengeProgress]) -> list[tuple[_Member, list[ChallengeProgress]]]:
    def member(row: ChallengeProgress) -> _Member:
        return (row.challenge, row.customer_id)

    return [(key, list(own)) for key, own in groupby(sorted(rows, key=member), key=member)]


def _agrees(challenge: LiveChallenge, rows: Sequence[ChallengeProgress], true: Mapping[str, Standing]) -> bool:
    if any(row.version != challenge.version for row in rows):
        return True
    slides = isinstance(challenge.definition.window, SlidingWindow)  # its figure falls by time alone
    stored = {row.period: (None if slides else row.figure, row.round, row.last_at, row.streak) for row in rows}
    return stored == {
        period: (
            *(None if slides else each.figure, each.round, each.last_at),
            None if each.streak is None else asdict(each.streak),
        )
        for period, each in true.items()
    }
