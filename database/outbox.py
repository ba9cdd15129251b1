"""Commands for Temporal, written in the transaction of the state that they follow from; the relay sends them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Identity as Serial
from sqlalchemy import Index, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Created, Json, Table


class Command(Table):
    """One command; those of one workflow are sent in the order of `id`."""

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(Serial(always=True), primary_key=True)
    kind: Mapped[str]  # start | wake | cancel | terminate
    workflow_id: Mapped[str]
    payload: Mapped[Json]
    created_at: Mapped[Created]
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    not_before: Mapped[datetime | None]
    error: Mapped[str | None]

    __table_args__ = (Index("ix_outbox_workflow", "workflow_id", "id"),)
