"""Items of providers' webhooks that could not be read: how many, why and when last; nothing of what they said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from prometheus_client import Counter
from sqlalchemy import PrimaryKeyConstraint, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped

from database.base import Table
from database.session import Database, ReadSession

_UNREAD = Counter("perennial_hook_items_unread", "Webhook items that could not be read", ["provider", "reason"])


class UnreadReport(Table):
    """How many items of a provider could not be read for one reason."""

    __tablename__ = "unread_reports"

    provider: Mapped[str]
    reason: Mapped[str]  # malformed_json, not_an_object, event_unknown, event_id, ...
    items: Mapped[int]
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]

    __table_args__ = (PrimaryKeyConstraint("provider", "reason"),)


async def note_unread(database: Database, provider: str, unread: Mapping[str, int], as_of: datetime) -> None:
    """Count them, in a transaction of its own, so that nothing else waits for a counter that all share."""
    for reason, items in unread.items():
        _UNREAD.labels(provider, reason).inc(items)
    rows = [
        {"provider": provider, "reason": reason, "items": unread[reason], "first_at": as_of, "last_at": as_of}
        for reason in sorted(unread)  # sorted, so that two requests never deadlock
    ]
    if not rows:
        return
    added = insert(UnreadReport)
    counted = added.on_conflict_do_update(
        index_elements=[UnreadReport.provider, UnreadReport.reason],
        set_={"items": UnreadReport.items + added.excluded["items"], "last_at": added.excluded["last_at"]},
    )
    async with database.transaction() as session:
        await session.execute(counted.values(rows))


async def unread_since(session: ReadSession, since: datetime) -> Sequence[UnreadReport]:
    """Those with an item since then, by provider and reason."""
    statement = select(UnreadReport).where(UnreadReport.last_at >= since)
    return (await session.scalars(statement.order_by(UnreadReport.provider, UnreadReport.reason))).all()
