"""What was decided at the entry of journeys, and when date entries fall due. The documents: database/documents.py."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, PrimaryKeyConstraint
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Table


class EntryDecision(Table):
    """Why a customer entered a journey or did not, for `explain`. The latest outcome per event is kept."""

    __tablename__ = "entry_decisions"

    journey: Mapped[str]
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    event_id: Mapped[UUID]
    at: Mapped[datetime]
    version: Mapped[int]
    outcome: Mapped[str]  # entered | kept_out
    reason: Mapped[str | None]  # triggers/enrolment.py: KeptOut
    failed_leaf: Mapped[str | None]  # JSON pointer into the definition
    run_id: Mapped[UUID | None]

    __table_args__ = (
        PrimaryKeyConstraint("journey", "customer_id", "event_id"),
        Index("ix_entry_decisions_at", "journey", "customer_id", "at"),
        # Rows come in the order of their times, so a few pages of BRIN find the oldest.
        Index("ix_entry_decisions_age", "at", postgresql_using="brin", postgresql_with={"autosummarize": "on"}),
    )


class DateDue(Table):
    """The next instant at which a date entry falls due for a customer."""

    __tablename__ = "dates_due"

    journey: Mapped[str]
    entry: Mapped[int]  # position among the journey's entries
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    due_at: Mapped[datetime]
    occasion: Mapped[str]  # the local date, so that a date fires once

    __table_args__ = (PrimaryKeyConstraint("journey", "entry", "customer_id"), Index("ix_dates_due_due_at", "due_at"))
