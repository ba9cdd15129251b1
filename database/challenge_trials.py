"""A challenge tried over history: who would have completed it. Writes nothing, and counts as the router does."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from database.challenges import Wanted, recorded_events
from database.session import ReadSession
from domain.challenges.definition import ChallengeDefinition
from domain.challenges.facts import fact_reader
from domain.challenges.progress import Reached, standings
from domain.customers import profile_of
from domain.local_time import resolve_zone

_AT_ONCE = 500
MOST_MEMBERS = 50_000
_SAMPLED = 10


@dataclass(slots=True)
class Trial:
    """What came of it. `is_complete`: everybody was looked at. `sample`: some who completed it, by the shop's id."""

    members: int = 0
    completed: Counter[str] = field(default_factory=Counter)  # level -> members
    completions: Counter[str] = field(default_factory=Counter)  # level -> times
    points: int = 0
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
    """Count every member under a definition; without `from` in it, events count from `since` on."""
    read, found = fact_reader(definition, since), Trial()
    points = {level.level: level.points or 0 for level in definition.levels}
    async for page in _pages(session, definition):
        names = definition.event_names
        recorded = await recorded_events(session, [Wanted(row.id, names) for row in page])
        for row in page:
            own = profile_of(row.traits, row.trait_times, row.observed).trusted_zone
            zone = resolve_zone(None if definition.is_shared else own, shop_zone)
            facts = [fact for event in recorded[row.id] if (fact := read(event, zone))]
            reached = [one for each in standings(definition, facts, as_of).values() for one in each.reached]
            _add(found, row.external_id, reached, points, counts=bool(facts))
        if found.members >= MOST_MEMBERS:
            found.is_complete = False
            return found
    return found


def _add(found: Trial, customer_id: str, reached: list[Reached], points: Mapping[str, int], *, counts: bool) -> None:
    found.members += counts
    found.completed.update({one.level for one in reached})
    found.completions.update(one.level for one in reached)
    found.points += sum(points[one.level] for one in reached)
    if reached and len(found.sample) < _SAMPLED:
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
