"""Commands for Temporal, written in the transaction of the state that they follow from; the relay sends them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Identity as Serial
from sqlalchemy import Index, SmallInteger, insert, text
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Created, Json, Table
from database.session import WriteSession

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


async def add_commands(session: WriteSession, commands: Sequence[NewCommand]) -> None:
    """Write commands, in order, and wake the relays when this transaction commits."""
    if not commands:
        return
    rows = [{"kind": each.kind, "workflow_id": each.workflow_id, "payload": dict(each.payload)} for each in commands]
    await session.execute(insert(Command), rows)
    await session.execute(text(f"NOTIFY {CHANNEL}"))
