"""Since when the times of a journey's schedule count as they do now: it was published, resumed or given a zone then."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select

from database.audit import AuditEntry
from database.definitions import JOURNEY
from database.documents import DocumentVersion, version_of
from database.session import ReadSession
from database.shop_settings import ShopSettingsRow
from domain.documents import Change
from domain.journeys.definition import JourneyDefinition, ScheduleEntry
from domain.published import UnreadableDocument, read_published


async def in_force_since(
    session: ReadSession, journey: str, version: int, position: int, *, at_least: datetime
) -> datetime:
    """When the present schedule of an entry began to count; `at_least` where that was before."""
    began = await _published(session, journey, version, position, at_least)
    resumed = select(func.max(AuditEntry.at)).where(
        *(AuditEntry.at > at_least, AuditEntry.target == f"{JOURNEY}/{journey}", AuditEntry.action == Change.RESUME)
    )  # by ix_audit_log_at
    times = [at_least, began, (await session.execute(resumed)).scalar()]
    return max(time for time in times if time is not None)


async def zone_since(session: ReadSession) -> datetime | None:
    """When the shop's settings were last saved, its zone among them."""
    return (await session.execute(select(ShopSettingsRow.updated_at))).scalar_one_or_none()


async def _published(
    session: ReadSession, journey: str, version: int, position: int, at_least: datetime
) -> datetime | None:
    """When the first was published of the latest versions that have the same schedule at this place."""
    began, latest = None, None
    for number in range(version, 0, -1):
        row = await version_of(session, JOURNEY, journey, number)
        entry = None if row is None else _entry(row, position)
        latest = latest or entry
        if row is None or entry is None or latest is None or _times(entry) != _times(latest):
            return began
        began = row.published_at
        if began <= at_least:
            return began
    return began


def _times(entry: ScheduleEntry) -> tuple[str, str | None]:
    return entry.schedule, entry.zone


def _entry(row: DocumentVersion, position: int) -> ScheduleEntry | None:
    try:
        entries = read_published(JourneyDefinition, row.document).enter.entries
    except UnreadableDocument:
        return None
    entry = entries[position] if position < len(entries) else None
    return entry if isinstance(entry, ScheduleEntry) else None
