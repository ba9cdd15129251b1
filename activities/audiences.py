"""Enters customers whose date or schedule has come: page by page, each page one transaction, by events of our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from temporalio import activity

from database import audiences, customers, dates, documents
from database.dates import Due
from database.events import append
from database.schedule_fires import take_fire
from database.session import Database, ReadSession, WriteSession
from database.shop_settings import shop_settings
from database.undertakings import conclude
from domain.audiences import (
    DATE_PREFIX,
    SCHEDULE_PREFIX,
    AudiencePage,
    BackfillPage,
    DueDatesInput,
    Reached,
    entry_due,
)
from domain.conditions.paths import reader
from domain.documents import DocumentState
from domain.journeys.dates import due_of
from domain.journeys.definition import DateEntry, JourneyDefinition, ScheduleEntry
from domain.local_time import resolve_zone
from domain.published import read_published

PAGE = 500
PAGES_AT_ONCE = 20
_MOMENT = timedelta(microseconds=1)


class AudienceActivities:
    """What the workflows of workflows/audiences.py do."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @activity.defn
    async def enter_due_dates(self, asked: DueDatesInput) -> int:
        """Enter those whose date has come; answers how many: the workflow asks again until there are none."""
        async with self._database.transaction() as session:
            await session.take_long()
            taken = await dates.take_due(session, asked.as_of, PAGE)
            people = await audiences.people(session, [due.customer_id for due in taken])
            definitions = {key: await _definition(session, key) for key in {due.journey for due in taken}}
            events = [
                entry_due(
                    journey=due.journey,
                    user_id=person.external_id,
                    message_id=f"{DATE_PREFIX}{due.journey}/{due.entry}/{due.customer_id}/{due.occasion}",
                    properties={"date": due.occasion},
                    as_of=asked.as_of,
                    trusted=_is_trusted(due, definitions[due.journey], person),
                )
                for due in taken
                if (person := people.get(due.customer_id)) and person.external_id
            ]
            await append(session, events)
            await dates.advance(session, taken, await _following(session, taken, people, definitions))
        return len(taken)

    @activity.defn
    async def enter_audience(self, page: AudiencePage) -> Reached:
        """Enter the next stretch of an audience. A journey that is live no more has nobody left to enter."""
        for _ in range(PAGES_AT_ONCE):
            async with self._database.transaction() as session:
                await session.take_long()
                last = await _enter_page(session, page, activity.info().started_time)
            if last is None:
                return Reached()
            page = page.model_copy(update={"after": last})
            activity.heartbeat(str(last))
        return Reached(after=page.after)

    @activity.defn
    async def backfill_dates(self, page: BackfillPage) -> Reached:
        """Work out what falls due for the next stretch of customers. Whoever changes meanwhile is the router's."""
        for _ in range(PAGES_AT_ONCE):
            async with self._database.transaction() as session:
                await session.take_long()
                last = await _backfill_page(session, page)
                if last is None:
                    await conclude(session, [activity.info().workflow_id or ""], activity.info().started_time)
            if last is None:
                return Reached()
            page = page.model_copy(update={"after": last})
            activity.heartbeat(str(last))
        return Reached(after=page.after)


async def _definition(session: ReadSession, journey: str) -> JourneyDefinition | None:
    """The live version, also of a paused journey; None for any other."""
    row = await documents.load(session, "journey", journey)
    if row is None or row.live_version is None or row.state not in (DocumentState.LIVE, DocumentState.PAUSED):
        return None
    version = await documents.version_of(session, "journey", journey, row.live_version)
    return None if version is None else read_published(JourneyDefinition, version.document)


async def _enter_page(session: WriteSession, page: AudiencePage, now: datetime) -> UUID | None:
    """The row of this time says what is next, whoever asks: the workflow, or another one after Temporal was lost."""
    fire = await take_fire(session, page.journey, page.entry, page.fired)
    if fire.done_at is not None:
        return None
    fire.next_customer = await _enter_next(session, page, fire.next_customer or page.after)
    if fire.next_customer is None:
        fire.done_at = now
    return fire.next_customer


async def _enter_next(session: WriteSession, page: AudiencePage, after: UUID | None) -> UUID | None:
    definition = await _definition(session, page.journey)
    entries = definition.enter.entries if definition else []
    entry = entries[page.entry] if page.entry < len(entries) else None
    if not isinstance(entry, ScheduleEntry):
        return None
    shop = (await shop_settings(session)).defaults
    people = await audiences.audience(session, entry.audience, page.fired, shop, after=after, limit=PAGE)
    events = [
        entry_due(
            journey=page.journey,
            user_id=person.user_id,
            message_id=f"{SCHEDULE_PREFIX}{page.journey}/{page.entry}/{page.fired.isoformat()}/{person.id}",
            properties={"scheduled_for": page.fired.isoformat()},
            as_of=page.fired,
            trusted=person.is_trusted,
        )
        for person in people
    ]
    await append(session, events)
    return people[-1].id if len(people) == PAGE else None


async def _backfill_page(session: WriteSession, page: BackfillPage) -> UUID | None:
    definition = await _definition(session, page.journey)
    if definition is None:
        return None
    entries = {n: each for n, each in enumerate(definition.enter.entries) if isinstance(each, DateEntry)}
    ids = await dates.holders(session, [each.date.trait for each in entries.values()], page.after, PAGE)
    states = await customers.lock(session, ids, skip_locked=False)
    zone = (await shop_settings(session)).zone
    dues = [
        Due(page.journey, position, state.id, due.at, due.day.isoformat())
        for state in states.values()
        for position, entry in entries.items()
        if (due := due_of(entry.date, state.profile.traits, resolve_zone(state.profile.zone, zone), page.as_of))
    ]
    await dates.replace_for(session, page.journey, list(states), dues)
    return ids[-1] if len(ids) == PAGE else None


def _date_entry(due: Due, definition: JourneyDefinition | None) -> DateEntry | None:
    entries = definition.enter.entries if definition else []
    entry = entries[due.entry] if due.entry < len(entries) else None
    return entry if isinstance(entry, DateEntry) else None


def _is_trusted(due: Due, definition: JourneyDefinition | None, person: customers.Customer) -> bool:
    """Whether a trusted source told the date."""
    entry = _date_entry(due, definition)
    if entry is None:
        return False
    read = reader(entry.date.trait)
    return read(customers.trusted_profile(person).traits) == read(person.traits)


async def _following(
    session: ReadSession,
    taken: Sequence[Due],
    people: Mapping[UUID, customers.Customer],
    definitions: Mapping[str, JourneyDefinition | None],
) -> list[Due]:
    """The next time of each date that was taken: the next anniversary, for those that have one."""
    zone = (await shop_settings(session)).zone
    following = []
    for due in taken:
        entry, person = _date_entry(due, definitions[due.journey]), people.get(due.customer_id)
        if person is None or entry is None:
            continue
        upcoming = due_of(entry.date, person.traits, resolve_zone(person.zone, zone), due.due_at + _MOMENT)
        if upcoming is not None and upcoming.day.isoformat() != due.occasion:
            following.append(Due(due.journey, due.entry, due.customer_id, upcoming.at, upcoming.day.isoformat()))
    return following
