"""How runs begin: what earlier runs and decisions say about a candidate, new runs, and why somebody was kept out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import select, text

from database.base import among
from database.events import Event
from database.journeys import EntryDecision
from database.runs import Run
from database.session import ReadSession, WriteSession
from database.superseding import GAVE_NOTHING, NEVER_TRUSTED, SENT_NOTHING
from domain.journeys.reentry import Bar
from domain.journeys.waiting import Happening


@dataclass(frozen=True, slots=True)
class EntryQuestion:
    """A customer about to enter a journey; `since`: how far back entries count against `at_most`.

    `alone`: the journey lets in nobody who is in it. `trusted`: trusted facts alone lead here, so runs that browsers
    began take no turn; `of_value`: and what their messages said does not matter; `tells`: it sends messages, so that
    a gift of which none has left was for nobody yet.
    """

    journey: str
    customer_id: UUID
    occasion: str
    since: datetime | None
    alone: bool = True
    trusted: bool = False
    of_value: bool = False
    tells: bool = False


@dataclass(frozen=True, slots=True)
class EarlierRuns:
    """What the customer's runs of the journey so far say about another one.

    `passes_over`: some take no turn from this entry; `about_it`, `in_its_way`: those of them that are about its
    occasion, and those that are active where only one may be.
    """

    occasion_taken: bool = False
    is_active: bool = False
    last_entered_at: datetime | None = None
    entered_since: int = 0
    about_it: Sequence[UUID] = ()
    in_its_way: Sequence[UUID] = ()
    passes_over: bool = False


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to begin, as its row."""

    id: UUID
    journey: str
    version: int
    customer_id: UUID
    occasion: str
    shadow: bool
    entry_number: int
    seen_number: int
    entry: Mapping[str, Any]
    depth: int
    entered_at: datetime
    workflow_id: str
    untrusted: Mapping[str, Any] | None = None
    silenced: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about an event that could have started a run."""

    journey: str
    customer_id: UUID
    event_id: UUID
    version: int
    outcome: str
    reason: str | None
    failed_leaf: str | None
    run_id: UUID | None


# By the unique key (journey, customer, occasion) of runs. An occasion that two customers had before they merged is
# named apart for one of the runs (merging.py), and is taken by both.
_EARLIER = text(f"""
    SELECT
        r.position,
        coalesce(bool_or(is_about_it) FILTER (WHERE counts), false) AS occasion_taken,
        coalesce(bool_or(runs.state = 'active') FILTER (WHERE counts), false) AS is_active,
        max(runs.entered_at) FILTER (WHERE counts) AS last_entered_at,
        count(*) FILTER (WHERE counts AND (r.since IS NULL OR runs.entered_at > r.since)) AS entered_since,
        coalesce(array_agg(runs.id) FILTER (WHERE NOT counts AND is_about_it), '{{}}') AS about_it,
        coalesce(
            array_agg(runs.id) FILTER (WHERE NOT counts AND r.alone AND runs.state = 'active'), '{{}}'
        ) AS in_its_way,
        NOT bool_and(counts) AS passes_over
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
        position bigint, journey text, customer_id uuid, occasion text, since timestamptz, alone boolean,
        trusted boolean, of_value boolean, tells boolean
    )
    JOIN runs ON runs.journey = r.journey AND runs.customer_id = r.customer_id
    CROSS JOIN LATERAL (
        SELECT
            runs.occasion IN (r.occasion, r.occasion || ' (merged ' || runs.id || ')') AS is_about_it,
            NOT (
                r.trusted AND {NEVER_TRUSTED}
                AND CASE WHEN {GAVE_NOTHING} THEN r.of_value OR {SENT_NOTHING} ELSE r.tells AND {SENT_NOTHING} END
            ) AS counts
    ) AS told
    GROUP BY r.position
""")  # noqa: S608  conditions, written in our own code

# The unique key says that there is one run per customer and occasion, whoever tries.
_BEGIN = text("""
    INSERT INTO runs (
        id, journey, version, customer_id, occasion, state, shadow, seen_number, entry_number, entry, depth,
        entered_at, workflow_id, untrusted, silenced
    )
    SELECT
        id, journey, version, customer_id, occasion, 'active', shadow, seen_number, entry_number, entry, depth,
        entered_at, workflow_id, untrusted, silenced
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
        id uuid, journey text, version bigint, customer_id uuid, occasion text, shadow boolean, entry_number bigint,
        seen_number bigint, entry jsonb, depth bigint, entered_at timestamptz, workflow_id text,
        untrusted jsonb, silenced jsonb
    )
    ON CONFLICT DO NOTHING
    RETURNING id
""")

_DECIDE = text("""
    INSERT INTO entry_decisions (journey, customer_id, event_id, at, version, outcome, reason, failed_leaf, run_id)
    SELECT journey, customer_id, event_id, :as_of, version, outcome, reason, failed_leaf, run_id
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
        journey text, customer_id uuid, event_id uuid, version bigint, outcome text, reason text, failed_leaf text,
        run_id uuid
    )
    ON CONFLICT (journey, customer_id, event_id) DO UPDATE SET
        at = excluded.at, version = excluded.version, outcome = excluded.outcome, reason = excluded.reason,
        failed_leaf = excluded.failed_leaf, run_id = excluded.run_id
    WHERE entry_decisions.outcome <> 'entered' OR excluded.outcome = 'entered'
""")

# By ix_entry_decisions_age. Rows that a merge is about to pass on are left for another time.
_FORGET = text("""
    DELETE FROM entry_decisions WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM entry_decisions WHERE at < :before AND outcome <> 'entered'
        LIMIT :page FOR UPDATE SKIP LOCKED
    ))
    RETURNING 1
""")


async def earlier_runs(session: ReadSession, questions: Sequence[EntryQuestion]) -> list[EarlierRuns]:
    """For each question, in order, what earlier runs say."""
    rows = [{"position": position, **_fields(question)} for position, question in enumerate(questions)]
    found = [EarlierRuns()] * len(questions)
    if rows:
        for position, *known in await session.execute(_EARLIER, {"rows": _json(rows)}):
            found[position] = EarlierRuns(*known)
    return found


async def begin_runs(session: WriteSession, runs: Collection[NewRun]) -> set[UUID]:
    """Insert runs; answers the ids of those whose occasion was free."""
    if not runs:
        return set()
    begun = await session.execute(_BEGIN, {"rows": _json(runs)})
    return set(begun.scalars())


async def record_decisions(session: WriteSession, decisions: Collection[Decision], as_of: datetime) -> None:
    """Keep why somebody entered or did not. An entry is never overwritten by what was decided later about its event."""
    latest = {(each.journey, each.customer_id, each.event_id): each for each in decisions}
    if latest:
        await session.execute(_DECIDE, {"rows": _json(latest.values()), "as_of": as_of})


async def forget_decisions(session: WriteSession, before: datetime, page: int) -> int:
    """Forget a page of why somebody did not enter before a moment; answers how many there were."""
    return len((await session.execute(_FORGET, {"before": before, "page": page})).all())


@dataclass(frozen=True, slots=True)
class UnidentifiedEntry:
    """An event that would have started a run, had we known who it was."""

    journey: str
    message_id: str
    happening: Happening
    depth: int


async def unidentified_entries(
    session: ReadSession, customer_ids: Collection[UUID], vouched: Collection[str], limit: int
) -> dict[UUID, list[UnidentifiedEntry]]:
    """What customers did before we knew who they were that would have started runs: the latest, in order of receipt.

    `vouched`: anonymous ids of which only a browser had said whose they were, and now a trusted source does. What they
    did is looked at again where it began an untrusted run, or had no turn.
    """
    had_no_turn = EntryDecision.reason.in_(list(Bar))
    was_doubted = Run.untrusted.is_not(None) & Run.untrusted["step"].astext.is_(None)
    theirs = Event.trusted & Event.user_id.is_(None) & among(Event.anonymous_id, vouched)
    statement = (
        select(EntryDecision.customer_id, EntryDecision.journey, Event)
        .join(Event, Event.id == EntryDecision.event_id)
        .outerjoin(Run, Run.id == EntryDecision.run_id)
        .where(
            among(EntryDecision.customer_id, customer_ids),
            (EntryDecision.reason == "unidentified") | (theirs & (had_no_turn | was_doubted)),
        )
        .order_by(Event.received_at.desc(), Event.id.desc())
        .limit(limit)
    )
    found: dict[UUID, list[UnidentifiedEntry]] = {}
    for customer_id, journey, event in reversed((await session.execute(statement)).all()):
        entry = UnidentifiedEntry(journey, event.message_id, _happening(event), event.depth)
        found.setdefault(customer_id, []).append(entry)
    return found


_SEEN = (
    *(Event.id, Event.number, Event.own, Event.name, Event.properties, Event.changed_traits, Event.timestamp),
    *(Event.received_at, Event.trusted),
)

# Relies on ix_events_customer_number.
_RECEIVED = text("""
    SELECT
        later.id, number, own, name, properties, changed_traits, timestamp, received_at, trusted, later.customer_id
    FROM unnest(CAST(:customers AS uuid[]), CAST(:since AS timestamptz[])) AS opened (customer_id, since)
    CROSS JOIN LATERAL (
        SELECT * FROM events
        WHERE events.customer_id = opened.customer_id AND received_at >= opened.since
          AND status = 'routed' AND (NOT is_history OR enters)
        ORDER BY received_at DESC, id DESC
        LIMIT :limit
    ) AS later
    ORDER BY received_at, id
""").columns(*_SEEN, Event.customer_id)

_FEW = 50
"""Customers whose events are read at once: each may have as many as the limit."""


async def received_since(
    session: ReadSession, since: Mapping[UUID, datetime], limit: int
) -> dict[UUID, list[Happening]]:
    """The latest routed events of customers that were received since a moment of each, the oldest first."""
    found: dict[UUID, list[Happening]] = {id_: [] for id_ in since}
    ids = list(since)
    for start in range(0, len(ids), _FEW):
        few = ids[start : start + _FEW]
        given = {"customers": few, "since": [since[id_] for id_ in few], "limit": limit}
        for row in await session.execute(_RECEIVED, given):
            found[row.customer_id].append(_happening(row))
    return found


async def joined_since(
    session: ReadSession, customer_id: UUID, anonymous_id: str, since: datetime, limit: int
) -> list[Happening]:
    """What an anonymous visitor did since a moment, before we knew that it was this customer; the oldest first."""
    joined = (Event.customer_id == customer_id, Event.number <= 0)  # merging.py numbers joined history so
    which = (*joined, Event.subject == f"a:{anonymous_id}", Event.received_at >= since)
    statement = select(*_SEEN).where(Event.status == "routed", ~Event.is_history | Event.enters, *which)
    latest = statement.order_by(Event.received_at.desc(), Event.id.desc()).limit(limit)
    return [_happening(row) for row in reversed((await session.execute(latest)).all())]


def _happening(event: Any) -> Happening:  # an event, or a row of _SEEN
    return Happening(
        event_id=event.id,
        number=event.number or 0,
        own=event.own,
        name=event.name,
        properties=event.properties,
        changed_traits=event.changed_traits,
        timestamp=event.timestamp.astimezone(UTC),
        received_at=event.received_at,
        trusted=event.trusted,
    )


def _fields(question: EntryQuestion) -> dict[str, Any]:
    return {
        "journey": question.journey,
        "customer_id": question.customer_id,
        "occasion": question.occasion,
        "since": question.since,
        "alone": question.alone,
        "trusted": question.trusted,
        "of_value": question.of_value,
        "tells": question.tells,
    }


def _json(rows: Any) -> str:  # an iterable of dicts or dataclasses of JSON values, ids and times
    return orjson.dumps(list(rows)).decode()
