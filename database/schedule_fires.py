"""Times at which a schedule entry came round, and how far its audience has entered: each counts once, forever."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import Index, PrimaryKeyConstraint, delete, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped

from database.base import Table
from database.session import ReadSession, WriteSession
from database.undertakings import NewUndertaking
from domain.audiences import ENTER_AUDIENCE, AudienceInput, schedule_id

KEPT_FOR: Final = timedelta(days=30)
_DUE_WITHIN = timedelta(hours=1)


class ScheduleFire(Table):
    """One nominal time of one schedule entry. Written by the first page, unique."""

    __tablename__ = "schedule_fires"

    journey: Mapped[str]
    entry: Mapped[int]  # position among the journey's entries
    nominal_at: Mapped[datetime]  # the time that the schedule names, however late it fired
    next_customer: Mapped[UUID | None]  # customers after this one have yet to enter
    done_at: Mapped[datetime | None]

    __table_args__ = (
        PrimaryKeyConstraint("journey", "entry", "nominal_at"),
        Index("ix_schedule_fires_open", "nominal_at", postgresql_where=text("done_at IS NULL")),
        Index("ix_schedule_fires_done_at", "done_at", postgresql_where=text("done_at IS NOT NULL")),
    )

    @property
    def workflow_id(self) -> str:
        """The id that Temporal gives to the workflow of this time."""
        return f"{schedule_id(self.journey, self.entry)}-{self.nominal_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


async def take_fire(session: WriteSession, journey: str, entry: int, nominal_at: datetime) -> ScheduleFire:
    """The row of this time, made if it is new, and locked until the transaction ends."""
    key = {"journey": journey, "entry": entry, "nominal_at": nominal_at}
    await session.execute(insert(ScheduleFire).values(key).on_conflict_do_nothing())
    found = await session.execute(
        select(ScheduleFire).filter_by(**key).with_for_update().execution_options(populate_existing=True)
    )
    return found.scalar_one()


async def open_fires(session: ReadSession, *, before: datetime, limit: int) -> list[NewUndertaking]:
    """Times whose audience has not entered whole, the oldest first, as workflows that go on with them."""
    statement = select(ScheduleFire).where(ScheduleFire.done_at.is_(None), ScheduleFire.nominal_at <= before)
    rows = (await session.execute(statement.order_by(ScheduleFire.nominal_at).limit(limit))).scalars()
    return [_undertaking(row) for row in rows]


async def known_as_open(session: ReadSession, workflow_ids: Sequence[str]) -> set[str]:
    """Those of these workflows whose time has not been entered whole, or has not begun."""
    fires = {id_: fire for id_ in workflow_ids if (fire := parse(id_)) is not None}
    key = tuple_(ScheduleFire.journey, ScheduleFire.entry, ScheduleFire.nominal_at)
    done = select(ScheduleFire).where(key.in_(list(fires.values())), ScheduleFire.done_at.is_not(None))
    over = {row.workflow_id for row in (await session.execute(done)).scalars()} if fires else set()
    return set(fires) - over


async def unknown(session: ReadSession, schedule: str, times: Sequence[datetime]) -> list[NewUndertaking]:
    """What enters those of these times of an entry's schedule that have no row."""
    journey, _, entry = schedule.removeprefix("entry/").rpartition("/")
    if not times:
        return []
    mine = (ScheduleFire.journey == journey, ScheduleFire.entry == int(entry), ScheduleFire.nominal_at.in_(times))
    known = set((await session.execute(select(ScheduleFire.nominal_at).where(*mine))).scalars())
    return [
        _undertaking(ScheduleFire(journey=journey, entry=int(entry), nominal_at=time))
        for time in times
        if time not in known
    ]


def parse(workflow_id: str) -> tuple[str, int, datetime] | None:
    """Journey, entry and nominal time of `entry/<journey>/<entry>-<time>`; None for any other id."""
    kind, _, rest = workflow_id.partition("/")
    journey, _, fired = rest.rpartition("/")
    entry, _, moment = fired.partition("-")
    if kind != "entry" or not entry.isdigit():
        return None
    try:
        return journey, int(entry), datetime.fromisoformat(moment)
    except ValueError:
        return None


async def forget_done(session: WriteSession, as_of: datetime) -> None:
    """Forget times that have been done for long."""
    await session.execute(delete(ScheduleFire).where(ScheduleFire.done_at < as_of - KEPT_FOR))


async def overdue(session: ReadSession, as_of: datetime, *, limit: int = 5) -> list[str]:
    """Times whose audience should have entered by now."""
    late = await open_fires(session, before=as_of - _DUE_WITHIN, limit=limit)
    return [each.workflow_id for each in late]


def _undertaking(row: ScheduleFire) -> NewUndertaking:
    asked = AudienceInput(journey=row.journey, entry=row.entry, fired=row.nominal_at)
    return NewUndertaking(
        row.workflow_id,
        ENTER_AUDIENCE,
        asked.model_dump(mode="json"),
        row.nominal_at + _DUE_WITHIN,
        {"summary": f"Enters the audience of {row.journey}"},
    )
