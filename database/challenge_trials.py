"""A challenge tried over history: who would complete it now. Writes nothing, and counts as the router does."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import text

from database.challenge_events import Wanted, recorded_events
from database.challenge_progress import ChallengeCompletion, by_customer, completions_of
from database.challenges import LiveChallenge, published_challenge
from database.session import ReadSession
from domain.challenges.definition import ChallengeDefinition, ChallengeLevel
from domain.challenges.progress import Standing, standings
from domain.challenges.versions import was_given
from domain.customers import profile_of
from domain.local_time import resolve_zone

_AT_ONCE = 500
MOST_MEMBERS = 50_000
_SAMPLED = 10


@dataclass(slots=True)
class Trial:
    """What came of it. `is_complete`: everybody was looked at. `sample`: some who completed it, by the shop's id.

    `given`: completions besides these that earlier versions gave, and that are not given again.
    """

    members: int = 0
    completed: Counter[str] = field(default_factory=Counter)  # level -> members
    completions: Counter[str] = field(default_factory=Counter)  # level -> times
    points: int = 0
    given: int = 0
    sample: list[str] = field(default_factory=list)
    is_complete: bool = True


# Identified customers, from one id on, with an event that may count. Relies on ix_events_customer_name.
_MEMBERS = text("""
    SELECT customers.id, customers.external_id, customers.traits, customers.trait_times, customers.observed
    FROM customers
    WHERE customers.id > :after AND customers.external_id IS NOT NULL AND customers.merged_into IS NULL AND EXISTS (
        SELECT FROM events
        WHERE events.customer_id = customers.id AND events.name = ANY(:names)
            AND events.status = 'routed' AND events.trusted
    )
    ORDER BY customers.id LIMIT :limit
""")


async def trial(
    session: ReadSession, definition: ChallengeDefinition, since: datetime, as_of: datetime, shop_zone: str
) -> Trial:
    """Count every member under a definition; without `from` in it, events count from `since` on.

    What members have from versions that were published is left out, as publishing the definition would leave it.
    """
    challenge = await _published_as(session, definition, since)
    found = Trial()
    async for page in _pages(session, definition):
        ids = [row.id for row in page]
        recorded = await recorded_events(session, [Wanted(id_, definition.event_names) for id_ in ids])
        completed = by_customer(await completions_of(session, ids, [challenge.key]))
        for row in page:
            own = profile_of(row.traits, row.trait_times, row.observed).trusted_zone
            zone = resolve_zone(None if definition.is_shared else own, shop_zone)
            facts = [fact for event in recorded[row.id] if (fact := challenge.read_fact(event, zone))]
            found.members += bool(facts)
            reached = _new(challenge, standings(definition, facts, as_of), completed[row.id], zone)
            _add(found, row.external_id, reached)
        if found.members >= MOST_MEMBERS:
            found.is_complete = False
            return found
    return found


async def _published_as(session: ReadSession, definition: ChallengeDefinition, since: datetime) -> LiveChallenge:
    """The definition as the next version of its challenge."""
    before = await published_challenge(session, definition.challenge)
    version, heights = (before.version + 1, before.heights) if before else (1, {})
    return LiveChallenge(definition.challenge, version, definition, since, heights=heights)


_Reached = tuple[ChallengeLevel, bool]  # whether it is new


def _new(
    challenge: LiveChallenge,
    found: Mapping[str, Standing],
    completed: Sequence[ChallengeCompletion],
    zone: ZoneInfo,
) -> list[_Reached]:
    """The levels that a member reached."""
    levels = {level.level: level for level in challenge.definition.levels}
    given = challenge.given(completed, zone)
    known = {(each.period, each.level, each.round) for each in given}
    return [
        (
            levels[one.level],
            (period, one.level, one.round) not in known
            and not was_given(challenge.definition, levels[one.level], period, one.round, given),
        )
        for period, standing in found.items()
        for one in standing.reached
    ]


def _add(found: Trial, customer_id: str, reached: Sequence[_Reached]) -> None:
    new = [level for level, is_new in reached if is_new]
    found.completed.update({level.level for level in new})
    found.completions.update(level.level for level in new)
    found.points += sum(level.points or 0 for level in new)
    found.given += len(reached) - len(new)
    if new and len(found.sample) < _SAMPLED:
        found.sample.append(customer_id)


async def _pages(session: ReadSession, definition: ChallengeDefinition) -> AsyncIterator[list[Any]]:  # rows of _MEMBERS
    after = UUID(int=0)
    names = sorted(definition.event_names)
    while True:
        page = list(await session.execute(_MEMBERS, {"after": after, "names": names, "limit": _AT_ONCE}))
        if not page:
            return
        yield page
        after = page[-1].id
