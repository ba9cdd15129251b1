"""Erasure jobs, their progress and their proof."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Mapped, mapped_column

from database.base import Json, Table


class Erasure(Table):
    """One erasure: what was removed where. It names the customer by our own uuid only."""

    __tablename__ = "erasures"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    customer_id: Mapped[UUID]
    state: Mapped[str]  # requested | running | completed
    requested_at: Mapped[datetime]
    requested_by: Mapped[str]
    completed_at: Mapped[datetime | None]
    proof: Mapped[Json]  # table -> rows removed; workflows deleted; canary searches that found nothing
