"""Challenges that are published, and what their members did: the recorded events that count, with what came back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from uuid import UUID

import orjson
from sqlalchemy import Text, cast, select, text
from sqlalchemy.orm import aliased

from database.challenge_totals import totals_of
from database.documents import DocumentRow, DocumentVersion
from database.order_ids import ORDER_ID
from database.published import VersionText, readable
from database.session import ReadSession
from database.vouching import VOUCHED
from domain.challenges.checks import Surroundings
from domain.challenges.definition import ChallengeDefinition
from domain.challenges.facts import ReadFact, RecordedEvent, fact_reader
from domain.conditions.checks import NOTHING_KNOWN, Seen
from domain.documents import DocumentState

KIND = "challenge"


@dataclass(frozen=True)
class LiveChallenge:
    """The version of a challenge that counts now. `since`: its first publication. Paused: nothing is given."""

    key: str
    version: int
    definition: ChallengeDefinition
    since: datetime
    is_paused: bool = False

    @cached_property
    def read_fact(self) -> ReadFact:
        """What one event contributes."""
        return fact_reader(self.definition, self.since)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events of a customer are needed: these names, from this time on."""

    customer_id: UUID
    names: frozenset[str] = field(default_factory=frozenset)
    since: datetime | None = None


_FIRST = aliased(DocumentVersion)
_LIVE = (
    select(
        *(DocumentRow.key, DocumentVersion.version, cast(DocumentVersion.document, Text)),
        *(_FIRST.published_at, DocumentRow.state),
    )
    .join(
        DocumentVersion,
        (DocumentVersion.kind == DocumentRow.kind)
        & (DocumentVersion.key == DocumentRow.key)
        & (DocumentVersion.version == DocumentRow.live_version),
    )
    .join(_FIRST, (_FIRST.kind == DocumentRow.kind) & (_FIRST.key == DocumentRow.key) & (_FIRST.version == 1))
    .where(DocumentRow.kind == KIND, DocumentRow.state.in_([DocumentState.LIVE, DocumentState.PAUSED]))
    .order_by(DocumentRow.key)
)


async def live_challenges(session: ReadSession) -> Mapping[str, LiveChallenge]:
    """The challenges that are live or paused; without those that this release cannot read."""
    return {
        key: LiveChallenge(key, version, definition, since, state == DocumentState.PAUSED)
        for key, version, document, since, state in await session.execute(_LIVE)
        if (definition := readable(ChallengeDefinition, VersionText(KIND, key, version, document))) is not None
    }


async def surroundings(session: ReadSession, seen: Seen = NOTHING_KNOWN, *, has_programme: bool) -> Surroundings:
    """What a challenge is checked against."""
    live = await live_challenges(session)
    statement = select(DocumentRow.key).where(DocumentRow.kind == "reward", DocumentRow.state == DocumentState.LIVE)
    return Surroundings(
        seen=seen,
        requires={key: challenge.definition.requires for key, challenge in live.items()},
        rewards=frozenset((await session.execute(statement)).scalars()),
        has_programme=has_programme,
    )


# A customer's routed events of some names that count for value, from some time on, with what is left of the order that
# each tells about: nothing once it was cancelled. Relies on ix_events_customer_name; orders by their primary key.
_EVENTS = text(f"""
    SELECT
        events.id, events.customer_id, events.name, events.timestamp, events.properties, events.context,
        coalesce(orders.returned, '0') AS returned,
        orders.order_id IS NULL OR orders.changed_at -> 'customer' ->> -1 = CAST(events.id AS text) AS is_first
    FROM jsonb_to_recordset(CAST(:wanted AS jsonb)) AS wanted (customer_id uuid, names text[], since timestamptz)
    JOIN events ON events.customer_id = wanted.customer_id AND events.name = ANY(wanted.names)
        AND events.timestamp >= coalesce(wanted.since, '-infinity')
    LEFT JOIN orders ON orders.order_id = {ORDER_ID}
        AND events.name IN ('Order Completed', 'Order Updated')
    WHERE events.status = 'routed' AND {VOUCHED}
    ORDER BY events.timestamp, events.sent, events.id
""")  # noqa: S608  a condition, written in our own code


async def recorded_events(session: ReadSession, wanted: Sequence[Wanted]) -> dict[UUID, list[RecordedEvent]]:
    """The events that may count, by customer, in the order of time. Browsers' events count for nothing of value."""
    found: dict[UUID, list[RecordedEvent]] = {each.customer_id: [] for each in wanted}
    if not wanted:
        return found
    rows = [{"customer_id": each.customer_id, "names": sorted(each.names), "since": each.since} for each in wanted]
    for row in await session.execute(_EVENTS, {"wanted": orjson.dumps(rows).decode()}):
        kept = 1 - Fraction(row.returned)
        event = RecordedEvent(row.id, row.name, row.timestamp, row.properties, row.context, kept, row.is_first)
        found[row.customer_id].append(event)
    return found


async def community_figure(session: ReadSession, challenge: str, period: str) -> Decimal:
    """What all members have come to together."""
    return (await totals_of(session, challenge, period)).get(period, Decimal(0))
