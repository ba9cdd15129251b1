"""The Temporal Schedules of journeys that time enters, kept as journeys are published, paused, resumed and archived.

The commands are written in the transaction of the publish, so a schedule exists just when its journey is live.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from database import dates, documents
from database.definitions import JOURNEY
from database.outbox import CommandKind, NewCommand, add_commands
from database.schedule_changes import in_force_since, zone_since
from database.session import ReadSession, WriteSession
from database.shop_settings import shop_settings
from database.undertakings import NewUndertaking, undertake
from domain.audiences import BACKFILL_DATES, DUE_DATES, ENTER_AUDIENCE, AudienceInput, BackfillInput, schedule_id
from domain.documents import DocumentState
from domain.journeys.definition import DateEntry, JourneyDefinition, ScheduleEntry
from domain.published import UnreadableDocument, read_published
from triggers.standing_schedules import STANDING

DATES_SCHEDULE = "perennial-dates"
EVERY_MINUTE = "* * * * *"
_BACKFILLED_WITHIN = timedelta(hours=1)


async def follow_publish(
    session: WriteSession,
    definition: JourneyDefinition,
    previous: JourneyDefinition | None,
    *,
    is_paused: bool,
    as_of: datetime,
) -> None:
    """A version goes live: its schedules replace those of the one before, dates are worked out for all customers."""
    zone = (await shop_settings(session)).zone
    before = _scheduled(previous) if previous else {}
    wanted = _scheduled(definition)
    commands = [_unschedule(definition.journey, entry) for entry in before if entry not in wanted]
    commands += [_schedule(definition.journey, n, entry, zone, is_paused=is_paused) for n, entry in wanted.items()]
    await add_commands(session, commands)
    await _follow_dates(session, definition, as_of)


async def follow_pause(session: WriteSession, definition: JourneyDefinition | None, *, is_paused: bool) -> None:
    """A journey was paused or resumed: its schedules stand still or go on."""
    if definition is None:
        return
    zone = (await shop_settings(session)).zone
    wanted = _scheduled(definition)
    await add_commands(
        session, [_schedule(definition.journey, n, entry, zone, is_paused=is_paused) for n, entry in wanted.items()]
    )


async def follow_archive(session: WriteSession, definition: JourneyDefinition | None) -> None:
    """A journey was archived: nothing of it comes round any more."""
    if definition is None:
        return
    await add_commands(session, [_unschedule(definition.journey, entry) for entry in _scheduled(definition)])
    await dates.forget(session, definition.journey)


async def _follow_dates(session: WriteSession, definition: JourneyDefinition, as_of: datetime) -> None:
    await dates.forget(session, definition.journey)
    if not any(isinstance(entry, DateEntry) for entry in definition.enter.entries):
        return
    await add_commands(session, [NewCommand(CommandKind.SCHEDULE, DATES_SCHEDULE, _every_minute())])
    given = BackfillInput(journey=definition.journey).model_dump()
    shown, due = {"summary": f"Dates of {definition.journey}"}, as_of + _BACKFILLED_WITHIN
    workflow_id = f"dates/{definition.journey}/{as_of.isoformat()}"
    backfill = NewUndertaking(workflow_id, BACKFILL_DATES, given, due, shown)
    await undertake(session, [backfill], as_of)


@dataclass(frozen=True, slots=True)
class RunningEntry:
    """A schedule entry of a journey that is live and not paused."""

    journey: str
    version: int
    position: int
    has_own_zone: bool


@dataclass(frozen=True, slots=True)
class WantedSchedules:
    """Every schedule that Temporal should have, by id, and the live journeys that this release cannot read."""

    by_id: Mapping[str, Mapping[str, Any]]
    unread: frozenset[str]
    running: Sequence[RunningEntry] = ()

    def is_unwanted(self, schedule: str) -> bool:
        """Whether a schedule of this id is one of journeys' that nobody wants any more."""
        kind, _, rest = schedule.partition("/")
        is_journeys = kind == "entry" and rest.rpartition("/")[0] not in self.unread
        return schedule not in self.by_id and (is_journeys or (schedule == DATES_SCHEDULE and not self.unread))


async def wanted_schedules(session: ReadSession) -> WantedSchedules:
    """Computed from the live journeys, and our own."""
    zone, wanted, unread = (await shop_settings(session)).zone, dict(STANDING), set()
    running = []
    for live in await documents.live_documents(session, JOURNEY):
        try:
            definition = read_published(JourneyDefinition, live.document)
        except UnreadableDocument:
            unread.add(live.key)
            continue
        for position, entry in _scheduled(definition).items():
            command = _schedule(live.key, position, entry, zone, is_paused=live.state is DocumentState.PAUSED)
            wanted[command.workflow_id] = command.payload
            if live.state is not DocumentState.PAUSED:
                running.append(RunningEntry(live.key, live.version, position, entry.zone is not None))
        if any(isinstance(entry, DateEntry) for entry in definition.enter.entries):
            wanted[DATES_SCHEDULE] = _every_minute()
    return WantedSchedules(wanted, frozenset(unread), running)


async def times_in_force(
    session: ReadSession, wanted: WantedSchedules, *, at_least: datetime
) -> Mapping[str, datetime]:
    """Since when the times of each running entry count as they do now, by schedule; `at_least` where that was before:
    what was due under another calendar, or while the journey was paused, is not made up for.
    """
    found: dict[str, datetime] = {}
    zone_set = (await zone_since(session)) if wanted.running else None
    for entry in wanted.running:
        since = await in_force_since(session, entry.journey, entry.version, entry.position, at_least=at_least)
        in_zone = zone_set if zone_set is not None and not entry.has_own_zone else since
        found[schedule_id(entry.journey, entry.position)] = max(since, in_zone)
    return found


def _scheduled(definition: JourneyDefinition) -> dict[int, ScheduleEntry]:
    entries = enumerate(definition.enter.entries)
    return {position: entry for position, entry in entries if isinstance(entry, ScheduleEntry)}


def _schedule(journey: str, position: int, entry: ScheduleEntry, zone: str, *, is_paused: bool) -> NewCommand:
    payload = {
        "workflow": ENTER_AUDIENCE,
        "input": AudienceInput(journey=journey, entry=position).model_dump(),
        "cron": entry.schedule,
        "zone": entry.zone or zone,
        "paused": is_paused,
        "summary": f"Enters the audience of {journey}",
    }
    return NewCommand(CommandKind.SCHEDULE, schedule_id(journey, position), payload)


def _unschedule(journey: str, position: int) -> NewCommand:
    return NewCommand(CommandKind.UNSCHEDULE, schedule_id(journey, position))


def _every_minute() -> dict[str, object]:
    return {
        "workflow": DUE_DATES,
        "input": None,
        "cron": EVERY_MINUTE,
        "zone": "UTC",
        "paused": False,
        "summary": "Enters customers whose date has come",
    }
