"""Commands for Temporal, written in the transaction of the state that they follow from; the relay sends them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Identity as Serial
from sqlalchemy import Index, SmallInteger, delete, func, insert, select, text, update
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


async def add_commands(session: WriteSession, commands: Sequence[NewCommand]) -> None:
    """Write commands, in order, and wake the relays when this transaction commits."""
    if not commands:
        return
    rows = [{"kind": each.kind, "workflow_id": each.workflow_id, "payload": dict(each.payload)} for each in commands]
    await session.execute(insert(Command), rows)
    await session.execute(text(f"NOTIFY {CHANNEL}"))


@dataclass(frozen=True, slots=True)
class PendingCommand:
    """One command that a relay holds."""

    id: int
    kind: CommandKind
    workflow_id: str
    payload: Mapping[str, Any]
    attempts: int


# The first command of each workflow, locked: whoever holds it holds the workflow's others too, so their order is kept
# however many relays there are. Relies on pk_outbox for the order, ix_outbox_workflow for "is there an earlier one?".
_HEADS = text("""
    SELECT id, kind, workflow_id, payload, attempts
    FROM outbox AS head
    WHERE (not_before IS NULL OR not_before <= :as_of)
      AND NOT EXISTS (
          SELECT FROM outbox AS earlier WHERE earlier.workflow_id = head.workflow_id AND earlier.id < head.id
      )
    ORDER BY id
    LIMIT :limit
    FOR UPDATE OF head SKIP LOCKED
""")


async def claim_commands(session: WriteSession, as_of: datetime, limit: int) -> dict[str, list[PendingCommand]]:
    """All commands of at most `limit` workflows, by workflow, in order. Held until the transaction ends."""
    heads = [_pending(row) for row in await session.execute(_HEADS, {"as_of": as_of, "limit": limit})]
    claimed = {head.workflow_id: [head] for head in heads}
    others = (
        select(Command.id, Command.kind, Command.workflow_id, Command.payload, Command.attempts)
        .where(Command.workflow_id.in_(claimed), Command.id.not_in([head.id for head in heads]))
        .order_by(Command.id)
    )
    for row in await session.execute(others) if heads else []:
        claimed[row.workflow_id].append(_pending(row))
    return claimed


async def remove_commands(session: WriteSession, ids: Collection[int]) -> None:
    """These were carried out."""
    if ids:
        await session.execute(delete(Command).where(Command.id.in_(ids)))


async def postpone_command(session: WriteSession, id_: int, *, attempts: int, until: datetime, error: str) -> None:
    """This one was refused: it and the later ones of its workflow wait."""
    values = {"attempts": attempts, "not_before": until, "error": error}
    await session.execute(update(Command).where(Command.id == id_).values(values))


async def backlog(session: ReadSession, *, count_up_to: int = 10_000) -> tuple[int, datetime | None]:
    """How many commands wait (counted up to a bound), and when the oldest was written."""
    some = select(Command.id).limit(count_up_to).subquery()
    depth = await session.scalar(select(func.count()).select_from(some)) or 0
    oldest = await session.scalar(select(Command.created_at).order_by(Command.id).limit(1))
    return depth, oldest


def _pending(row: Any) -> PendingCommand:  # a row of both statements
    return PendingCommand(row.id, CommandKind(row.kind), row.workflow_id, row.payload, row.attempts)
