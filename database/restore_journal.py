"""What must outlive a restore of this database: noted where it happens, written to files outside it by the router."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Index, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Created, Json, Table
from database.session import ReadSession, WriteSession
from domain.ids import new_id
from domain.restore_journal import Entry, Line


class JournalEntry(Table):
    """One line; `written_at`: since when it stands in a file."""

    __tablename__ = "restore_journal"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    at: Mapped[Created]  # when it was noted, whenever it was done
    entry: Mapped[Json]  # domain.restore_journal.Entry
    written_at: Mapped[datetime | None]

    __table_args__ = (Index("ix_restore_journal_unwritten", "at", "id", postgresql_where=text("written_at IS NULL")),)


# By ix_restore_journal_unwritten, uq_consents_event_id.
_UNWRITTEN = text("""
    SELECT journal.id, journal.at, CASE
        WHEN address_hash IS NULL THEN entry
        ELSE jsonb_set(entry, '{address}', to_jsonb(encode(address_hash, 'hex')))
    END AS entry
    FROM restore_journal AS journal LEFT JOIN consents ON entry ->> 'kind' = 'withdrawn'
        AND event_id = CAST(entry ->> 'event' AS uuid) AND purpose = entry ->> 'purpose'
        AND channel = entry ->> 'channel' AND source <> 'moved'
    WHERE written_at IS NULL
    ORDER BY journal.at, journal.id LIMIT :limit
""")


async def note(session: WriteSession, entries: Sequence[Entry]) -> None:
    """Note it in the transaction that does it."""
    if entries:
        rows = [{"id": new_id(), "entry": each.model_dump(mode="json")} for each in entries]
        await session.execute(insert(JournalEntry), rows)


async def unwritten(session: ReadSession, limit: int) -> Sequence[Line]:
    """What stands in no file yet, the oldest first; withdrawals with the address that they were found to be for."""
    rows = await session.execute(_UNWRITTEN, {"limit": limit})
    return [_line(row.id, row.at, row.entry) for row in rows]


async def lines_of(session: ReadSession, ids: Collection[UUID]) -> list[Line]:
    """These lines, the oldest first."""
    rows = await session.scalars(select(JournalEntry).where(JournalEntry.id.in_(ids)))
    return sorted((_line(row.id, row.at, row.entry) for row in rows), key=lambda line: (line.at, line.id))


def _line(id_: UUID, at: datetime, entry: Mapping[str, Any]) -> Line:
    return Line.model_validate_json(orjson.dumps({"id": id_, "at": at, "entry": entry}))


async def mark_written(session: WriteSession, ids: Collection[UUID], as_of: datetime) -> None:
    """These stand in a file now."""
    statement = update(JournalEntry).where(JournalEntry.id.in_(ids), JournalEntry.written_at.is_(None))
    await session.execute(statement.values(written_at=as_of))


async def oldest_unwritten(session: ReadSession) -> datetime | None:
    """Since when something waits to be written; None when nothing does."""
    statement = select(JournalEntry.at).where(JournalEntry.written_at.is_(None)).order_by(JournalEntry.at).limit(1)
    return (await session.execute(statement)).scalar_one_or_none()


async def known(session: ReadSession, ids: Collection[UUID]) -> set[UUID]:
    """Those of these lines that this database has; the others were made after the backup that it was restored from."""
    return set((await session.scalars(select(JournalEntry.id).where(JournalEntry.id.in_(ids)))).all())


async def claim(session: WriteSession, lines: Sequence[Line], as_of: datetime) -> set[UUID]:
    """Take lines over from a file; answers those that nobody else has, whose doing again is the caller's."""
    rows = [
        {"id": each.id, "at": each.at, "entry": each.entry.model_dump(mode="json"), "written_at": as_of}
        for each in lines
    ]
    statement = insert(JournalEntry).values(rows).on_conflict_do_nothing().returning(JournalEntry.id)
    return set((await session.scalars(statement)).all())
