"""The mark: the last workflow by which we recognise the Temporal that we know, and whose turn it is to look for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, func, select, text, update
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Json, Table
from database.session import ReadSession, WriteSession

_LOCK = 7_233_001
"""Advisory lock under which routers take turns."""


class Mark(Table):
    """One row. Whoever looks holds a lease, so that no connection waits while Temporal is asked."""

    __tablename__ = "temporal_mark"

    id: Mapped[int] = mapped_column(primary_key=True)
    workflow_id: Mapped[str | None]
    execution_id: Mapped[str | None]  # Temporal's run id of the mark
    marked_at: Mapped[datetime | None]
    looked_at: Mapped[datetime | None]  # when Temporal last answered
    leased_by: Mapped[UUID | None]
    leased_until: Mapped[datetime | None]
    lost_at: Mapped[datetime | None]  # when the mark was last found to be missing
    schedules_since: Mapped[datetime | None]  # since when times of schedules without a row were entered by nobody
    recovered: Mapped[Json] = mapped_column(server_default=text("'{}'"))  # what the last recovery did

    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)


@dataclass(frozen=True, slots=True)
class KnownMark:
    """The last mark; `execution_id` None: there has never been one."""

    workflow_id: str | None = None
    execution_id: str | None = None
    marked_at: datetime | None = None
    schedules_since: datetime | None = None


async def take_turn(
    session: WriteSession, mine: UUID, as_of: datetime, *, every: timedelta, lease: timedelta
) -> KnownMark | None:
    """The mark, if it is this router's turn to look for it: nobody else is at it, nor was since `every`."""
    if not await session.scalar(select(func.pg_try_advisory_xact_lock(_LOCK))):
        return None
    row = await session.get(Mark, 1)
    if row is None:
        session.add(row := Mark(id=1))
    is_held = row.leased_until is not None and row.leased_until > as_of and row.leased_by != mine
    is_fresh = row.looked_at is not None and row.leased_by != mine and row.looked_at > as_of - every
    if is_held or is_fresh:
        return None
    row.leased_by, row.leased_until = mine, as_of + lease
    row.schedules_since = row.schedules_since or as_of
    return KnownMark(row.workflow_id, row.execution_id, row.marked_at, row.schedules_since)


async def keep_turn(session: WriteSession, mine: UUID, until: datetime) -> bool:
    """Go on for longer; False when somebody else has taken over."""
    kept = update(Mark).where(Mark.leased_by == mine).values(leased_until=until).returning(Mark.id)
    return (await session.execute(kept)).first() is not None


async def end_turn(session: WriteSession, mine: UUID, **values: Any) -> None:
    """Let go, and write what was seen: any columns of the row."""
    await session.execute(update(Mark).where(Mark.leased_by == mine).values(leased_until=None, **values))


async def note_loss(session: WriteSession, as_of: datetime) -> None:
    """The mark is missing where Temporal answers."""
    await session.execute(update(Mark).values(lost_at=as_of))


async def last_mark(session: ReadSession) -> Mark | None:
    """The row, or None before any router has looked."""
    return await session.get(Mark, 1, populate_existing=True)
