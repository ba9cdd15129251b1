"""What the router reads and writes of events: what is pending, what became of it, what failed. The table: events.py."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import select, text, update

from database.base import among
from database.events import Event
from database.session import ReadSession, WriteSession
from domain.events import MERGE_ASKED, EventKind
from domain.identities import Naming, Stamp
from domain.placeholders import somebody


@dataclass(frozen=True, slots=True)
class PendingEvent:
    """One event that is not routed yet."""

    id: UUID
    source: str
    message_id: str
    kind: str
    name: str
    user_id: str | None
    anonymous_id: str | None
    previous_id: str | None
    timestamp: datetime
    received_at: datetime
    properties: Mapping[str, Any]
    traits: Mapping[str, Any]
    context: Mapping[str, Any]
    trusted: bool
    depth: int
    attempts: int
    sent: datetime
    own: bool
    is_history: bool
    enters: bool
    naming: Naming = field(init=False)
    """The ids that it names."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "naming", naming_of(self))

    @property
    def stamp(self) -> Stamp:
        """What orders the events of one customer."""
        return Stamp(self.timestamp, self.sent, self.id)


@dataclass(frozen=True, slots=True)
class RoutedEvent:
    """Where an event went. `changed_traits` is None where it changed none; `ignored_untrusted` likewise.

    `zone`: the customer's then, by which its local date stays what it is wherever the customer moves.
    """

    id: UUID
    customer_id: UUID
    number: int
    zone: str
    changed_traits: Mapping[str, Any] | None
    ignored_untrusted: list[str] | None = None


# The oldest events of a lane that may be routed now; no lock: customers are locked, not events.
_LANE = """
    SELECT id, kind, name, user_id, anonymous_id, previous_id, timestamp, sent, received_at, trusted
    FROM events
    WHERE status = 'pending' AND {lane} AND (not_before IS NULL OR not_before <= :as_of) AND id > :after {only_if}
    ORDER BY id
    LIMIT {limit}
"""
_LIVE = "history_mark IS NOT TRUE"  # relies on ix_events_live
_HISTORY = "history_mark"  # relies on ix_events_waiting
_LANES = {
    is_history: text(
        _LANE.format(lane=_HISTORY if is_history else _LIVE, limit=":limit", only_if="AND subject <> ALL(:busy)")
    )
    for is_history in (False, True)
}

# Both lanes in one statement: the second is only looked into where the first is empty.
_FIRST = {
    is_history: text(f"""
        WITH first AS MATERIALIZED ({_LANE.format(lane=first, limit=limits[0], only_if="")}), second AS MATERIALIZED (
            {_LANE.format(lane=second, limit=limits[1], only_if="AND NOT EXISTS (SELECT FROM first)")}
        )
        SELECT *, CAST(:first AS boolean) AS is_history FROM first
        UNION ALL SELECT *, NOT CAST(:first AS boolean) FROM second
        ORDER BY id
    """)  # noqa: S608  parts of statements, written above
    for is_history, first, second, limits in (
        (False, _LIVE, _HISTORY, (":limit", ":few")),
        (True, _HISTORY, _LIVE, (":few", ":limit")),
    )
}

MOST_HISTORY = 200
"""Events of a window of history: a live event that comes meanwhile waits for no more than those."""

loaded = select(
    *(Event.id, Event.source, Event.message_id, Event.kind, Event.name, Event.user_id, Event.anonymous_id),
    *(Event.previous_id, Event.timestamp, Event.received_at, Event.properties, Event.traits, Event.context),
    *(Event.trusted, Event.depth, Event.attempts, Event.sent, Event.own, Event.is_history, Event.enters),
)

_MARK = text("""
    UPDATE events SET
        status = 'routed', customer_id = r.customer_id, number = r.number, zone = r.zone, routed_at = :as_of,
        changed_traits = r.changed_traits, ignored_untrusted = r.ignored_untrusted, not_before = NULL, error = NULL
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
        id uuid, customer_id uuid, number bigint, zone text, changed_traits jsonb, ignored_untrusted jsonb
    )
    WHERE events.id = r.id
""")


# Events that a release before routed, which kept no zone. Relies on ix_events_customer_number.
_KEEP_ZONES = text("""
    UPDATE events SET zone = r.zone
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (customer_id uuid, zone text)
    WHERE events.customer_id = r.customer_id AND events.status = 'routed' AND events.zone IS NULL
""")

_IGNORED = text("""
    UPDATE events SET ignored_untrusted = coalesce(ignored_untrusted, '[]') || r.what
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (id uuid, what jsonb)
    WHERE events.id = r.id
""")


@dataclass(frozen=True, slots=True)
class Window:
    """The ids that some pending events name, in the order of receipt: of live ones, or of imported history."""

    namings: Sequence[Naming]
    is_history: bool
    limit: int

    @property
    def is_full(self) -> bool:
        """There may be more."""
        return len(self.namings) >= self.limit


async def window(session: ReadSession, as_of: datetime, limit: int, *, history_first: bool = False) -> Window:
    """The oldest pending live events; history where none waits, or before them if it has its turn."""
    few = min(limit, MOST_HISTORY)
    given = {"as_of": as_of, "after": UUID(int=0), "limit": limit, "few": few, "first": history_first}
    rows = (await session.execute(_FIRST[history_first], given)).all()
    is_history = bool(rows) and rows[0].is_history
    return Window([naming_of(row) for row in rows], is_history, few if is_history else limit)


async def window_after(session: ReadSession, as_of: datetime, seen: Window, busy: Collection[str]) -> Window:
    """The pending events that come after those of a window, of the same lane, but for those of busy subjects: one
    customer's thousands must not fill every window.
    """
    given = {"as_of": as_of, "after": seen.namings[-1].event_id, "limit": seen.limit, "busy": sorted(busy)}
    rows = await session.execute(_LANES[seen.is_history], given)
    return Window([naming_of(row) for row in rows], seen.is_history, seen.limit)


def naming_of(event: Any) -> Naming:  # a PendingEvent, or a row of _LANE
    """The ids that an event names. What a browser says of ids counts from its receipt, whatever time it claims."""
    user_id, anonymous_id = somebody(event.user_id, event.anonymous_id)
    is_alias = event.kind == EventKind.ALIAS
    return Naming(
        event.id,
        Stamp(event.timestamp if event.trusted else event.received_at, event.sent, event.id),
        user_id,
        anonymous_id,
        previous_id=event.previous_id if is_alias else None,
        trusted=event.trusted,
        asked=is_alias and event.trusted and event.name == MERGE_ASKED,
    )


async def still_pending(session: ReadSession, ids: Collection[UUID]) -> list[PendingEvent]:
    """Those of these events that nobody has routed meanwhile, in the order of receipt."""
    statement = loaded.where(among(Event.id, ids), Event.status == "pending").order_by(Event.received_at, Event.id)
    return [PendingEvent(*tuple(row)) for row in await session.execute(statement)]


async def mark_routed(session: WriteSession, events: Iterable[RoutedEvent], as_of: datetime) -> None:
    """Write where events went."""
    rows = list(events)  # named as the columns are
    if rows:
        await session.execute(_MARK, {"rows": orjson.dumps(rows).decode(), "as_of": as_of})


async def keep_zones(session: WriteSession, zones: Mapping[UUID, str]) -> None:
    """Customers are about to move: what they did so far was in these zones."""
    if zones:
        rows = [{"customer_id": customer_id, "zone": zone} for customer_id, zone in zones.items()]
        await session.execute(_KEEP_ZONES, {"rows": orjson.dumps(rows).decode()})


async def mark_ignored(session: WriteSession, ignored: Mapping[UUID, list[str]]) -> None:
    """Write what of routed events was not taken, after the traits that were not."""
    rows = [{"id": id_, "what": what} for id_, what in ignored.items()]
    await session.execute(_IGNORED, {"rows": orjson.dumps(rows).decode()})


async def hold(session: WriteSession, event_id: UUID, *, attempts: int, until: datetime, error: str) -> None:
    """An event failed: it is tried again, at `until` at the earliest."""
    failed = update(Event).where(Event.id == event_id)
    await session.execute(failed.values(attempts=attempts, not_before=until, error=error))


async def stand_behind(session: WriteSession, ids: Collection[UUID], until: datetime) -> None:
    """Events that must wait for an earlier one of their customer leave the window until then."""
    if ids:
        await session.execute(update(Event).where(among(Event.id, ids)).values(not_before=until))


async def quarantine(session: WriteSession, event_id: UUID, *, attempts: int, error: str) -> None:
    """An event failed for the last time: it is set aside with its error, and its customer goes on without it."""
    failed = update(Event).where(Event.id == event_id)
    await session.execute(failed.values(status="quarantined", attempts=attempts, not_before=None, error=error))


@dataclass(frozen=True, slots=True)
class QuarantinedEvent:
    """One event that was set aside."""

    id: UUID
    source: str
    message_id: str
    kind: str
    name: str
    received_at: datetime
    attempts: int
    error: str | None


async def quarantined(session: ReadSession, *, limit: int, after: UUID | None = None) -> Sequence[QuarantinedEvent]:
    """Events in quarantine, the oldest first, from the one after `after`. Relies on ix_events_quarantined."""
    statement = select(
        *(Event.id, Event.source, Event.message_id, Event.kind, Event.name, Event.received_at),
        *(Event.attempts, Event.error),
    ).where(Event.status == "quarantined")
    if after is not None:
        statement = statement.where(Event.id > after)
    rows = await session.execute(statement.order_by(Event.id).limit(limit))
    return [QuarantinedEvent(**row) for row in rows.mappings()]


async def retry_quarantined(session: WriteSession, ids: Collection[UUID] | None = None) -> int:
    """Give events in quarantine (all, or these) another round of tries. Answers how many."""
    statement = update(Event).where(Event.status == "quarantined")
    if ids is not None:
        statement = statement.where(among(Event.id, ids))
    retried = await session.execute(statement.values(status="pending", attempts=0, not_before=None).returning(Event.id))
    count = len(retried.all())
    if count:
        await session.execute(text("NOTIFY events"))
    return count
