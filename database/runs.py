"""Runs: one customer's way through one version of a journey. The rows are the truth; Temporal carries the time."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, PrimaryKeyConstraint, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Json, JsonList, Table


class Run(Table):
    """One run. `seen_number` is the customer's routing number up to which its waits have looked."""

    __tablename__ = "runs"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    journey: Mapped[str]
    version: Mapped[int]
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    occasion: Mapped[str]
    state: Mapped[str]  # active | completed | exited | failed
    reason: Mapped[str | None]
    shadow: Mapped[bool]  # a member of the holdout: walks and logs, without effect
    held: Mapped[bool] = mapped_column(server_default=text("false"))  # an effect waits for resume
    step: Mapped[str | None]  # where it stands
    waiting_for: Mapped[dict[str, Any] | None]  # what it waits for, readable
    seen_number: Mapped[int]
    entry: Mapped[Json]  # {"event": name, "properties": {...}, "timestamp": ..., "event_id": ...}
    saved: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    variants: Mapped[Json] = mapped_column(server_default=text("'{}'"))  # split step -> arm
    depth: Mapped[int] = mapped_column(server_default=text("0"))
    entered_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    converted_at: Mapped[datetime | None]
    conversion: Mapped[dict[str, Any] | None]  # event_id, value
    workflow_id: Mapped[str]
    first_run_id: Mapped[str | None]  # Temporal's first_execution_run_id, bound by the first activity
    moves: Mapped[JsonList] = mapped_column(server_default=text("'[]'"))  # [from version, to version, at], by confirmed plans

    __table_args__ = (
        UniqueConstraint("journey", "customer_id", "occasion"),  # exactly one run per customer and occasion
        UniqueConstraint("workflow_id"),
        # The router: active runs of the customers of a batch.
        Index("ix_runs_active", "customer_id", postgresql_where=text("state = 'active'")),
        # Funnel, publish plan, lists.
        Index("ix_runs_journey", "journey", "version", "state", "step"),
        Index("ix_runs_customer", "customer_id", "entered_at"),
        Index("ix_runs_entered_at", "entered_at", "id"),
    )


class RunStep(Table):
    """The run log: one row per step and visit, written in the transaction of its effect."""

    __tablename__ = "run_steps"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"))
    step: Mapped[str]
    visit: Mapped[int]
    kind: Mapped[str]
    reached_at: Mapped[datetime]
    at: Mapped[datetime | None]  # when it was done
    outcome: Mapped[str]  # waiting | done | skipped | failed | held
    reason: Mapped[str | None]
    detail: Mapped[Json] = mapped_column(server_default=text("'{}'"))

    __table_args__ = (PrimaryKeyConstraint("run_id", "step", "visit"),)


class Wait(Table):
    """What a run waits for. This row, not a timer or a signal, decides between event and timer."""

    __tablename__ = "waits"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"))
    step: Mapped[str]
    visit: Mapped[int]
    customer_id: Mapped[UUID]
    status: Mapped[str]  # waiting | met | timed_out | cancelled
    registered_at: Mapped[datetime]
    deadline: Mapped[datetime | None]
    met_alternative: Mapped[int | None]
    met_event_id: Mapped[UUID | None]
    settled_at: Mapped[datetime | None]

    __table_args__ = (
        PrimaryKeyConstraint("run_id", "step", "visit"),
        Index("ix_waits_waiting", "customer_id", postgresql_where=text("status = 'waiting'")),
    )
