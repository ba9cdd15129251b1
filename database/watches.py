"""Runs as the router sees them: which runs watch the events of a batch's customers, and what became of those runs.

The tables and the life of a run: runs.py. How runs begin: entries.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text

from database.runs import STEPS_THAT_GAVE, Wait, cancel_waits
from database.session import ReadSession, WriteSession
from domain.runs import Doubt


@dataclass(slots=True)
class WatchedWait:
    """A `wait_for` at which a run stands."""

    step: str
    visit: int
    deadline: datetime | None


@dataclass(slots=True)
class WatchedRun:
    """A run whose exits, waits or goal an event may match. Ended runs stay watched until their goal's time is over."""

    id: UUID
    customer_id: UUID
    journey: str
    version: int
    state: str
    reason: str | None
    entry: Mapping[str, Any]
    saved: Mapping[str, Any]
    entered_at: datetime
    workflow_id: str
    converted: bool
    waits: list[WatchedWait]
    occasion: str
    untrusted: Mapping[str, Any] | None = None
    silenced: Mapping[str, Any] | None = None
    has_given: bool = False  # points or a reward, by a step of its own

    @property
    def trusted(self) -> bool:
        """Whether trusted facts alone would have led it here; as Run.trusted."""
        return self.untrusted is None and bool(self.entry.get("trusted", True))


@dataclass(frozen=True, slots=True)
class Exited:
    """An exit rule ended the run."""

    run_id: UUID
    reason: str


@dataclass(frozen=True, slots=True)
class Silenced:
    """A browser's word would have ended the run: no message of it leaves until it has given, and it goes on."""

    run_id: UUID
    silenced: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Converted:
    """The run reached its goal. `value` is in minor units of `currency`, where the journey says what it is worth."""

    run_id: UUID
    event_id: UUID
    at: datetime
    value: int | None
    currency: str | None


@dataclass(frozen=True, slots=True)
class WaitMet:
    """An alternative of the wait was matched."""

    run_id: UUID
    step: str
    visit: int
    alternative: int
    event_id: UUID


@dataclass(frozen=True, slots=True)
class WaitMoved:
    """The wait's timeout started again."""

    run_id: UUID
    step: str
    visit: int
    deadline: datetime


# Active runs by ix_runs_active with the wait at which each stands, and runs of late whose goal may still come by
# ix_runs_customer. The customers are locked by the caller, so nobody else decides about these rows meanwhile.
_WATCHED = text(f"""
    SELECT
        runs.id, runs.customer_id, runs.journey, runs.version, runs.state, runs.reason, runs.entry, runs.saved,
        runs.entered_at, runs.workflow_id, runs.occasion, runs.untrusted,
        runs.silenced, runs.converted_at IS NOT NULL AS converted,
        coalesce((
            SELECT jsonb_agg(jsonb_build_object('step', step, 'visit', visit, 'deadline', deadline))
            FROM waits WHERE waits.run_id = runs.id AND waits.status = 'waiting'
        ), '[]') AS waits,
        runs.state = 'active' AND EXISTS ({STEPS_THAT_GAVE} = runs.id) AS has_given
    FROM runs
    WHERE runs.customer_id = ANY(CAST(:customers AS uuid[]))
      AND (runs.state = 'active' OR (runs.converted_at IS NULL AND runs.entered_at > :goals_since))
    ORDER BY runs.entered_at, runs.id
""")  # noqa: S608  a constant of ours

# By the unique key (run, step, visit) of messages.
_SENT = text("""
    SELECT DISTINCT run_id FROM messages WHERE run_id = ANY(CAST(:runs AS uuid[])) AND accepted_at IS NOT NULL
""")

_EXIT = text("""
    UPDATE runs SET state = 'exited', reason = r.reason, ended_at = :as_of, held = false, waiting_for = NULL
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (id uuid, reason text)
    WHERE runs.id = r.id AND runs.state = 'active'
""")

_DOUBT = text("""
    UPDATE runs SET untrusted = jsonb_build_object('by', CAST(:doubt AS text), 'step', step, 'at', CAST(:at AS text))
    WHERE id = ANY(CAST(:ids AS uuid[])) AND untrusted IS NULL
""")

_SILENCE = text("""
    UPDATE runs SET silenced = r.silenced
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (run_id uuid, silenced jsonb)
    WHERE runs.id = r.run_id AND runs.state = 'active' AND runs.silenced IS NULL
""")

_CONVERT = text("""
    UPDATE runs SET converted_at = r.at, conversion = r.conversion
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (id uuid, at timestamptz, conversion jsonb)
    WHERE runs.id = r.id AND runs.converted_at IS NULL
""")

_MEET = text("""
    UPDATE waits SET status = 'met', met_alternative = r.alternative, met_event_id = r.event_id, settled_at = :as_of
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
        run_id uuid, step text, visit bigint, alternative bigint, event_id uuid
    )
    WHERE waits.run_id = r.run_id AND waits.step = r.step AND waits.visit = r.visit AND waits.status = 'waiting'
""")

_MOVE = text("""
    UPDATE waits SET deadline = greatest(waits.deadline, r.deadline)
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (run_id uuid, step text, visit bigint, deadline timestamptz)
    WHERE waits.run_id = r.run_id AND waits.step = r.step AND waits.visit = r.visit AND waits.status = 'waiting'
""")


async def watched_runs(
    session: ReadSession, customer_ids: Collection[UUID], goals_since: datetime
) -> dict[UUID, list[WatchedRun]]:
    """The runs of these customers that an event may match, oldest first. No goal reaches back beyond `goals_since`."""
    given = {"customers": list(customer_ids), "goals_since": goals_since}
    found: dict[UUID, list[WatchedRun]] = {}
    for row in (await session.execute(_WATCHED, given)).mappings():
        waits = [WatchedWait(each["step"], each["visit"], _moment(each["deadline"])) for each in row["waits"]]
        found.setdefault(row["customer_id"], []).append(WatchedRun(**{**row, "waits": waits}))
    return found


async def runs_that_sent(session: ReadSession, run_ids: Collection[UUID]) -> set[UUID]:
    """Those of the runs that have handed a message to a provider."""
    return set((await session.execute(_SENT, {"runs": list(run_ids)})).scalars())


async def exit_runs(session: WriteSession, exits: Collection[Exited], as_of: datetime) -> None:
    """End runs and cancel what they wait for. The caller has locked the customers and wakes the workflows."""
    if exits:
        await session.execute(
            _EXIT, {"rows": _json({"id": e.run_id, "reason": e.reason} for e in exits), "as_of": as_of}
        )
        await cancel_waits(session, Wait.run_id.in_([each.run_id for each in exits]), as_of=as_of)


async def silence_runs(session: WriteSession, silenced: Collection[Silenced]) -> None:
    """Let no message of these runs leave until they have given something; the first word stays."""
    if silenced:
        await session.execute(_SILENCE, {"rows": _json(silenced)})


async def doubt_runs(session: WriteSession, run_ids: Collection[UUID], as_of: datetime) -> None:
    """By trusted facts alone an event would have ended these runs, which go on: they are untrusted from here on."""
    if run_ids:
        await session.execute(_DOUBT, {"ids": list(run_ids), "doubt": Doubt.EVENT, "at": as_of.isoformat()})


async def convert_runs(session: WriteSession, goals: Collection[Converted]) -> None:
    """Count conversions: the first of a run stays."""
    rows = [
        {
            "id": goal.run_id,
            "at": goal.at,
            "conversion": {"event_id": goal.event_id, "value": goal.value, "currency": goal.currency},
        }
        for goal in goals
    ]
    if rows:
        await session.execute(_CONVERT, {"rows": _json(rows)})


async def settle_waits(
    session: WriteSession, met: Collection[WaitMet], moved: Collection[WaitMoved], as_of: datetime
) -> None:
    """Write which waits were met and which deadlines moved. A wait that was settled otherwise stays as it is."""
    if moved:
        await session.execute(_MOVE, {"rows": _json(moved)})
    if met:
        await session.execute(_MEET, {"rows": _json(met), "as_of": as_of})


def _json(rows: Iterable[Any]) -> str:  # dicts or dataclasses of JSON values, ids and times
    return orjson.dumps(list(rows)).decode()


def _moment(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)
