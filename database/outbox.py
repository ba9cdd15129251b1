"""Commands for Temporal, written in the transaction of the state that they follow from; the relay sends them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Index, SmallInteger, delete, func, select, text, tuple_, update
from sqlalchemy import Identity as Serial
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Created, Json, Table
from database.session import ReadSession, WriteSession
from domain.runs import JourneyInput, RunState

CHANNEL = "outbox"
"""Notified when a transaction with commands commits; relays listen."""


class CommandKind(StrEnum):
    """What the relay tells Temporal."""

    START = "start"
    WAKE = "wake"
    CANCEL = "cancel"
    TERMINATE = "terminate"
    SCHEDULE = "schedule"  # create or replace the Temporal Schedule of that id
    UNSCHEDULE = "unschedule"


@dataclass(frozen=True, slots=True)
class NewCommand:
    """One command; `workflow_id` is the schedule's id for schedules. The payload never holds personal data."""

    kind: CommandKind
    workflow_id: str
    payload: Mapping[str, Any] = field(default_factory=dict)  # JSON; its shape per kind: triggers/relay.py


class Command(Table):
    """One command; those of one workflow are sent in the order of `id`."""

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(Serial(always=True), primary_key=True)
    kind: Mapped[str]  # CommandKind
    workflow_id: Mapped[str]
    payload: Mapped[Json]
    created_at: Mapped[Created]
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    not_before: Mapped[datetime | None]
    leased_until: Mapped[datetime | None]  # until when one relay alone asks Temporal for it
    error: Mapped[str | None]

    __table_args__ = (Index("ix_outbox_workflow", "workflow_id", "id"),)


def start_command(
    given: JourneyInput, workflow_id: str, *, title: str, details: str, is_transactional: bool = False
) -> NewCommand:
    """The command that starts a run's workflow, with what ops see of it in Temporal. Ids only, no personal data.

    Where tasks queue up, runs of transactional journeys overtake all others.
    """
    payload = {
        "workflow": given.journey,
        "input": given.model_dump(mode="json"),
        "attributes": {
            "CustomerId": str(given.customer_id),
            "Journey": given.journey,
            "JourneyVersion": given.version,
            "RunState": RunState.ACTIVE,
        },
        "summary": f"{title}, version {given.version}",
        "details": details,
        "is_first": is_transactional,
    }
    return NewCommand(CommandKind.START, workflow_id, payload)


# Identity values are handed out in the order of the rows that are inserted.
_ADD = text("""
    WITH written AS (
        INSERT INTO outbox (kind, workflow_id, payload)
        SELECT command.value ->> 'kind', command.value ->> 'workflow_id', command.value -> 'payload'
        FROM jsonb_array_elements(CAST(:rows AS jsonb)) WITH ORDINALITY AS command (value, position)
        ORDER BY command.position
    )
    SELECT pg_notify(:channel, '')
""")


async def add_commands(session: WriteSession, commands: Sequence[NewCommand]) -> None:
    """Write commands, in order, and wake the relays when this transaction commits: one statement."""
    if not commands:
        return
    rows = [{"kind": each.kind, "workflow_id": each.workflow_id, "payload": each.payload} for each in commands]
    await session.execute(_ADD, {"rows": orjson.dumps(rows).decode(), "channel": CHANNEL})


@dataclass(frozen=True, slots=True)
class PendingCommand:
    """One command that a relay holds."""

    id: int
    kind: CommandKind
    workflow_id: str
    payload: Mapping[str, Any]
    attempts: int
    leased_until: datetime


# All commands of the first workflows, whose first command nobody has leased: whoever holds it holds the workflow's
# others too, so their order is kept however many relays there are. Leases are timed by the database's clock, the one
# that all relays share. Relies on pk_outbox for the order, ix_outbox_workflow for "is there an earlier one?".
_LEASE = text("""
    WITH heads AS (
        SELECT workflow_id
        FROM outbox AS head
        WHERE (not_before IS NULL OR not_before <= :as_of)
          AND (leased_until IS NULL OR leased_until <= now())  -- looked at again once the row is locked
          AND NOT EXISTS (
              SELECT FROM outbox AS other
              WHERE other.workflow_id = head.workflow_id AND (other.id < head.id OR other.leased_until > now())
          )
        ORDER BY id
        LIMIT :limit
        FOR UPDATE OF head SKIP LOCKED
    )
    UPDATE outbox SET leased_until = now() + :lease
    FROM heads
    WHERE outbox.workflow_id = heads.workflow_id
    RETURNING outbox.id, outbox.kind, outbox.workflow_id, outbox.payload, outbox.attempts, outbox.leased_until
""")


async def lease_commands(
    session: WriteSession, as_of: datetime, limit: int, lease: timedelta
) -> dict[str, list[PendingCommand]]:
    """All commands of at most `limit` workflows, by workflow, in order: ours until the lease is over."""
    rows = await session.execute(_LEASE, {"as_of": as_of, "limit": limit, "lease": lease})
    leased: dict[str, list[PendingCommand]] = {}
    for row in sorted(rows, key=lambda row: row.id):
        leased.setdefault(row.workflow_id, []).append(_pending(row))
    return leased


def _ours(commands: Sequence[PendingCommand]) -> ColumnElement[bool]:
    """What nobody has leased after us: a relay that was frozen must not touch what another has taken up."""
    held = [(command.id, command.leased_until) for command in commands]
    return tuple_(Command.id, Command.leased_until).in_(held)


async def remove_commands(session: WriteSession, commands: Sequence[PendingCommand]) -> None:
    """These were carried out."""
    if commands:
        await session.execute(delete(Command).where(_ours(commands)))


async def release_commands(session: WriteSession, commands: Sequence[PendingCommand]) -> None:
    """These were not, and may be taken up at once."""
    if commands:
        await session.execute(update(Command).where(_ours(commands)).values(leased_until=None))


async def postpone_command(
    session: WriteSession, command: PendingCommand, *, attempts: int, until: datetime, error: str
) -> None:
    """This one was refused: it and the later ones of its workflow wait."""
    values = {"attempts": attempts, "not_before": until, "error": error}
    await session.execute(update(Command).where(_ours([command])).values(values))


async def backlog(session: ReadSession, *, count_up_to: int = 10_000) -> tuple[int, datetime | None]:
    """How many commands wait (counted up to a bound), and when the oldest was written."""
    some = select(Command.id).limit(count_up_to).subquery()
    depth = await session.scalar(select(func.count()).select_from(some)) or 0
    oldest = await session.scalar(select(Command.created_at).order_by(Command.id).limit(1))
    return depth, oldest


def _pending(row: Any) -> PendingCommand:  # a row of the statement
    return PendingCommand(row.id, CommandKind(row.kind), row.workflow_id, row.payload, row.attempts, row.leased_until)
