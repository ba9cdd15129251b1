"""Undertakings: workflows that the database knows should be under way, until their last effect. Runs are their own.

Temporal may lose what was started there; `triggers/recovery.py` starts again whatever is open here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Index, delete, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Json, Table
from database.outbox import Command, CommandKind, NewCommand, add_commands
from database.session import ReadSession, WriteSession

KEPT_FOR: Final = timedelta(days=30)
"""How long an undertaking that is done is remembered."""


class Undertaking(Table):
    """One workflow that was, or will be, started through the outbox."""

    __tablename__ = "undertakings"

    workflow_id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]  # the workflow's type
    input: Mapped[Json]
    shown: Mapped[Json]  # what ops see of it: attributes, summary
    undertaken_at: Mapped[datetime]
    due_at: Mapped[datetime]  # by when it should be done
    done_at: Mapped[datetime | None]

    __table_args__ = (
        Index("ix_undertakings_open", "workflow_id", postgresql_where=text("done_at IS NULL")),
        Index("ix_undertakings_done_at", "done_at", postgresql_where=text("done_at IS NOT NULL")),
    )


@dataclass(frozen=True, slots=True)
class NewUndertaking:
    """What to start, and by when it should be done. Ids and times only, no personal data."""

    workflow_id: str
    kind: str
    input: Mapping[str, Any]
    due_at: datetime
    shown: Mapping[str, Any] = field(default_factory=dict)  # "attributes", "summary": as the relay's `start` takes them

    @property
    def command(self) -> NewCommand:
        """What the relay is told."""
        return NewCommand(
            CommandKind.START, self.workflow_id, {"workflow": self.kind, "input": self.input, **self.shown}
        )


async def undertake(session: WriteSession, new: Sequence[NewUndertaking], as_of: datetime) -> None:
    """Write the undertakings and have their workflows started, in the transaction of what causes them."""
    if not new:
        return
    rows = [
        {
            "workflow_id": each.workflow_id,
            "kind": each.kind,
            "input": dict(each.input),
            "shown": dict(each.shown),
            "undertaken_at": as_of,
            "due_at": each.due_at,
        }
        for each in new
    ]
    await session.execute(insert(Undertaking).on_conflict_do_nothing(), rows)
    await add_commands(session, [each.command for each in new])


async def conclude(session: WriteSession, workflow_ids: Collection[str], as_of: datetime) -> None:
    """These are done: call it in the transaction of their last effect."""
    mine = (Undertaking.workflow_id.in_(workflow_ids), Undertaking.done_at.is_(None))
    await session.execute(update(Undertaking).where(*mine).values(done_at=as_of))


async def open_undertakings(
    session: ReadSession, *, after: str = "", limit: int, before: datetime | None = None, since: datetime | None = None
) -> list[NewUndertaking]:
    """Undertakings that are not done, by workflow id; only those undertaken by `before`, or from `since` on."""
    statement = select(Undertaking).where(Undertaking.done_at.is_(None), Undertaking.workflow_id > after)
    if before is not None:
        statement = statement.where(Undertaking.undertaken_at <= before)
    if since is not None:
        statement = statement.where(Undertaking.undertaken_at >= since)
    rows = (await session.execute(statement.order_by(Undertaking.workflow_id).limit(limit))).scalars()
    return [NewUndertaking(row.workflow_id, row.kind, row.input, row.due_at, row.shown) for row in rows]


async def known_as_open(session: ReadSession, workflow_ids: Collection[str]) -> set[str]:
    """Those of these workflows whose undertaking is not done."""
    statement = select(Undertaking.workflow_id).where(
        Undertaking.workflow_id.in_(workflow_ids), Undertaking.done_at.is_(None)
    )
    return set((await session.execute(statement)).scalars())


async def awaiting_start(session: ReadSession, workflow_ids: Collection[str]) -> set[str]:
    """Those of these workflows whose start the relay has yet to send. By ix_outbox_workflow."""
    statement = select(Command.workflow_id).where(
        Command.workflow_id.in_(workflow_ids), Command.kind == CommandKind.START
    )
    return set((await session.execute(statement)).scalars())


async def awaiting_schedule(session: ReadSession, schedules: Collection[str]) -> set[str]:
    """Those of these schedules about which the relay has yet to tell Temporal. By ix_outbox_workflow."""
    kinds = (CommandKind.SCHEDULE, CommandKind.UNSCHEDULE)
    statement = select(Command.workflow_id).where(Command.workflow_id.in_(schedules), Command.kind.in_(kinds))
    return set((await session.execute(statement)).scalars())


async def forget_done(session: WriteSession, as_of: datetime, *, limit: int = 1_000) -> None:
    """Forget undertakings that have been done for long."""
    old = select(Undertaking.workflow_id).where(Undertaking.done_at < as_of - KEPT_FOR).limit(limit)
    await session.execute(delete(Undertaking).where(Undertaking.workflow_id.in_(old)))


async def overdue(session: ReadSession, as_of: datetime, *, grace: timedelta, limit: int = 5) -> Sequence[str]:
    """Open undertakings that should have been done by now, the oldest first."""
    late = (Undertaking.done_at.is_(None), Undertaking.due_at < as_of - grace)
    statement = select(Undertaking.workflow_id).where(*late).order_by(Undertaking.due_at).limit(limit)
    return (await session.execute(statement)).scalars().all()


# What processes of an older release began, who write no undertakings: erasures, holds, redemptions that nobody has yet
# asked the shop for. By uq_erasures_open, ix_referrals_due and ix_redemptions_due.
_ADOPT = (
    """
    INSERT INTO undertakings (workflow_id, kind, input, shown, undertaken_at, due_at)
    SELECT 'erasure/' || id, 'Erasure', jsonb_build_object('erasure_id', id),
           '{"summary": "Erase a customer"}', requested_at, requested_at + interval '1 day'
    FROM erasures WHERE state <> 'completed'
    ON CONFLICT DO NOTHING
    """,
    """
    INSERT INTO undertakings (workflow_id, kind, input, shown, undertaken_at, due_at)
    SELECT 'referral/' || id || '/' || rounds, 'ReferralHold', jsonb_build_object('referral_id', id, 'due_at', due_at),
           '{"summary": "A referral''s hold: both sides are rewarded when it ends"}', qualified_at, due_at
    FROM referrals WHERE state = 'held' AND due_at IS NOT NULL AND qualified_at IS NOT NULL
    ON CONFLICT DO NOTHING
    """,
    """
    INSERT INTO undertakings (workflow_id, kind, input, shown, undertaken_at, due_at)
    SELECT 'redemption/' || id, 'Redemption', jsonb_build_object('redemption_id', id),
           jsonb_build_object('attributes', jsonb_build_object('CustomerId', customer_id),
                              'summary', 'Redemption of ' || reward),
           requested_at, requested_at + interval '1 day'
    FROM redemptions WHERE state = 'reserved'
    ON CONFLICT DO NOTHING
    """,
)


async def adopt(session: WriteSession) -> None:
    """Write the undertakings of what is under way without one."""
    for statement in _ADOPT:
        await session.execute(text(statement))
