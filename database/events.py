"""Events as they were taken in, and the lifetime de-duplication of (source, messageId).

`append` is the one way in, for HTTP, imports, the product's own events and whatever providers report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Computed, Index, LargeBinary, PrimaryKeyConstraint, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Json, Table
from database.session import WriteSession
from domain.events import NewEvent, fingerprint

CHANNEL = "events"
"""The NOTIFY channel on which routers hear that there is something to do."""


class Event(Table):
    """One event, append-only but for its routing columns. `subject` is `u:<userId>` or `a:<anonymousId>`."""

    __tablename__ = "events"

    id: Mapped[UUID] = mapped_column(primary_key=True)  # uuid7: sorts by receipt
    source: Mapped[str]
    message_id: Mapped[str]
    kind: Mapped[str]  # domain.events.EventKind
    name: Mapped[str]  # a track's event; for the others their kind's own name (domain.events.KIND_NAMES)
    subject: Mapped[str]
    user_id: Mapped[str | None]
    anonymous_id: Mapped[str | None]
    previous_id: Mapped[str | None]
    timestamp: Mapped[datetime]  # when it happened, corrected for clock skew
    sent_timestamp: Mapped[str | None]  # the sender's own word about the time, where we corrected it
    sent: Mapped[datetime] = mapped_column(server_default=text("now()"))  # when it left the client, at most the receipt
    received_at: Mapped[datetime]
    properties: Mapped[Json]
    traits: Mapped[Json]
    context: Mapped[Json]
    trusted: Mapped[bool]  # from a secret key: may create revenue and points; a browser's may not
    depth: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))  # loop guard of emitted events
    own_mark: Mapped[bool | None]  # null: recorded by a release that went by the source
    history_mark: Mapped[bool | None]  # likewise
    own: Mapped[bool] = mapped_column(  # the product itself recorded it
        Computed("coalesce(own_mark, source = 'perennial' AND trusted)", persisted=False), nullable=True
    )
    is_history: Mapped[bool] = mapped_column(  # imported: it happened long ago, whenever it came in
        Computed("coalesce(history_mark, source = 'import')", persisted=False), nullable=True
    )
    enters: Mapped[bool] = mapped_column(server_default=text("false"))  # history that may start journeys all the same

    status: Mapped[str] = mapped_column(server_default=text("'pending'"))  # pending | routed | quarantined
    customer_id: Mapped[UUID | None]
    number: Mapped[int | None]  # routing order within the customer
    routed_at: Mapped[datetime | None]
    zone: Mapped[str | None]  # the customer's, by trusted sources, when it was routed; null: by a release before that
    changed_traits: Mapped[dict[str, Any] | None]  # any JSON: what this event changed on the profile
    ignored_untrusted: Mapped[list[Any] | None]  # what was not taken: trusted traits, or of consent (triggers/consent)
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    not_before: Mapped[datetime | None]
    error: Mapped[str | None]

    __table_args__ = (
        # The router's claim: pending subjects in order of receipt.
        Index("ix_events_pending", "id", postgresql_where=text("status = 'pending'")),
        Index("ix_events_live", "id", postgresql_where=text("status = 'pending' AND history_mark IS NOT TRUE")),
        Index("ix_events_waiting", "id", postgresql_where=text("status = 'pending' AND history_mark")),
        # "Has this customer events that are stored and not yet routed?", asked by every message claim.
        Index("ix_events_pending_subject", "subject", "id", postgresql_where=text("status = 'pending'")),
        # Conditions and look-backs: one customer's events of one name, by time.
        Index("ix_events_customer_name", "customer_id", "name", "timestamp"),
        # Look-back of waits and the customer's own list, in routing order.
        Index("ix_events_customer_number", "customer_id", "number"),
        Index("ix_events_quarantined", "id", postgresql_where=text("status = 'quarantined'")),
        # Simulation: recorded events of a period.
        Index("ix_events_name_timestamp", "name", "timestamp"),
    )


class EventKey(Table):
    """Every (source, messageId) ever taken, kept apart so that events can be dropped by month.

    Hash partitioned by the migration.
    """

    __tablename__ = "event_keys"

    source: Mapped[str]
    message_id: Mapped[str]
    event_id: Mapped[UUID]
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)  # of the body: another body under the same id is reported

    __table_args__ = (
        PrimaryKeyConstraint("source", "message_id"),
        {"postgresql_partition_by": "HASH (source, message_id)"},
    )


@dataclass(frozen=True, slots=True)
class AppendResult:
    """What became of each event of an `append`, as positions in the given sequence."""

    accepted: tuple[int, ...]
    duplicates: tuple[int, ...]
    conflicts: tuple[int, ...]  # another body under a (source, messageId) that was taken before; the first is kept


# Takes the keys, stores the events whose key was new, and answers for the others whether they are retries (same
# fingerprint) or conflicts. Rows come in sorted by key, so that overlapping batches take the keys' index entries in one
# order and never deadlock. Relies on pk_event_keys. One JSON parameter rather than an array a column: it costs this
# process half as much to write, and the whole statement takes a third less time. The known fingerprint comes from a
# scalar subquery and not from a join, so that no plan can choose to read the whole of event_keys.
_APPEND = text("""
    WITH incoming AS MATERIALIZED (
        SELECT *
        FROM json_to_recordset(CAST(:rows AS json)) AS event (
            id uuid, source text, message_id text, fingerprint bytea, kind text, name text, subject text, user_id text,
            anonymous_id text, previous_id text, timestamp timestamptz, sent_timestamp text, received_at timestamptz,
            sent timestamptz, properties jsonb, traits jsonb, context jsonb, trusted boolean, depth smallint,
            own boolean, is_history boolean, enters boolean
        )
    ), taken AS (
        INSERT INTO event_keys (source, message_id, event_id, fingerprint)
        SELECT source, message_id, id, fingerprint FROM incoming
        ON CONFLICT DO NOTHING
        RETURNING event_id
    ), stored AS (
        INSERT INTO events (
            id, source, message_id, kind, name, subject, user_id, anonymous_id, previous_id, timestamp,
            sent_timestamp, received_at, sent, properties, traits, context, trusted, depth,
            own_mark, history_mark, enters
        )
        SELECT
            id, source, message_id, kind, name, subject, user_id, anonymous_id, previous_id, timestamp,
            sent_timestamp, received_at, sent, properties, traits, context, trusted, depth,
            own, is_history, enters
        FROM incoming
        WHERE id IN (SELECT event_id FROM taken)
    )
    SELECT incoming.id, (
        SELECT known.fingerprint FROM event_keys AS known
        WHERE known.source = incoming.source AND known.message_id = incoming.message_id
    ) AS fingerprint
    FROM incoming
    WHERE incoming.id NOT IN (SELECT event_id FROM taken)
""")

# The fingerprints of keys whose owner committed while _APPEND was waiting for it, which its snapshot cannot see.
_KNOWN = text("""
    SELECT incoming.id, known.fingerprint
    FROM unnest(CAST(:id AS uuid[]), CAST(:source AS text[]), CAST(:message_id AS text[]))
        AS incoming (id, source, message_id)
    JOIN event_keys AS known USING (source, message_id)
""")


async def append(session: WriteSession, events: Sequence[NewEvent], *, announce: bool = True) -> AppendResult:
    """Store the events whose (source, messageId) was never seen, in one round trip, and say what became of each.

    Routers hear of it when the transaction commits, unless `announce` is False: notifying transactions commit one
    after the other, so whoever appends at a high rate rings `api/bell.py` after its commit instead. Values must be what
    `jsonb` takes (no NUL, no lone surrogates, finite numbers); `domain.payload` tells.
    """
    prints = [fingerprint(event) for event in events]
    first: dict[tuple[str, str], int] = {}
    for position, event in enumerate(events):
        first.setdefault((event.source, event.message_id), position)
    known = await _insert(session, [(events[i], prints[i]) for _, i in sorted(first.items())]) if first else {}
    accepted: list[int] = []
    duplicates: list[int] = []
    conflicts: list[int] = []
    for position, event in enumerate(events):
        leader = first[event.source, event.message_id]
        kept = known.get(events[leader].id, prints[leader])
        if position == leader and event.id not in known:
            accepted.append(position)
        else:
            (duplicates if prints[position] == kept else conflicts).append(position)
    if announce and accepted:
        await session.execute(text(f"NOTIFY {CHANNEL}"))
    return AppendResult(tuple(accepted), tuple(duplicates), tuple(conflicts))


async def _insert(session: WriteSession, rows: Sequence[tuple[NewEvent, bytes]]) -> dict[UUID, bytes]:
    """Insert distinct rows sorted by key; for those whose key was taken before, the fingerprint that was kept."""
    written = orjson.dumps([_row(event, printed) for event, printed in rows]).decode()
    known = {row.id: row.fingerprint for row in await session.execute(_APPEND, {"rows": written})}
    unseen = [event for event, _ in rows if event.id in known and known[event.id] is None]
    if unseen:
        keys = {name: [getattr(event, name) for event in unseen] for name in ("id", "source", "message_id")}
        known |= {row.id: row.fingerprint for row in await session.execute(_KNOWN, keys)}
    return known


def _row(event: NewEvent, printed: bytes) -> dict[str, object]:
    return {
        "id": event.id,
        "source": event.source,
        "message_id": event.message_id,
        "fingerprint": "\\x" + printed.hex(),
        "kind": event.kind,
        "name": event.name,
        "subject": event.subject,
        "user_id": event.user_id,
        "anonymous_id": event.anonymous_id,
        "previous_id": event.previous_id,
        "timestamp": event.timestamp,
        "sent_timestamp": event.sent_timestamp,
        "received_at": event.received_at,
        "properties": event.properties,
        "traits": event.traits,
        "context": event.context,
        "trusted": event.trusted,
        "depth": event.depth,
        "sent": min(event.sent or event.received_at, event.received_at),
        "own": event.own,
        "is_history": event.is_history,
        "enters": event.enters,
    }
