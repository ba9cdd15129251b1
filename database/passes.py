"""How far jobs have come that go on where the last pass ended, so that Temporal may forget it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Table
from database.session import ReadSession, WriteSession


class Pass(Table):
    """One job; what was due by `until` has been seen to."""

    __tablename__ = "passes"

    name: Mapped[str] = mapped_column(primary_key=True)
    until: Mapped[datetime]


async def passed_until(session: ReadSession, name: str) -> datetime | None:
    """Up to when the job has seen to everything; None before its first pass."""
    return (await session.execute(select(Pass.until).where(Pass.name == name))).scalar_one_or_none()


async def note_pass(session: WriteSession, name: str, until: datetime) -> None:
    """The job has come so far; it never steps back."""
    new = insert(Pass).values(name=name, until=until)
    latest = func.greatest(Pass.until, new.excluded.until)
    await session.execute(new.on_conflict_do_update(index_elements=["name"], set_={"until": latest}))
