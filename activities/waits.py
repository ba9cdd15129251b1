"""Standing at `wait` and `wait_for`: register under the customer's lock, look back, and settle by event or by time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from temporalio import activity

from activities.steps import OpenStep, open_step
from database.runs import Wait as WaitRow
from database.runs import event_number, happenings, has_pending_events
from database.session import Database, WriteSession
from database.shop_settings import shop_settings
from domain.conditions.scope import Scope
from domain.journeys.deadlines import CannotWait, EndsAt, Zones, end_of
from domain.journeys.library import DefinitionLibrary
from domain.journeys.steps import WaitForStep, WaitStep
from domain.journeys.waiting import Met, Standing, Watcher, compile_wait
from domain.local_time import resolve_zone
from domain.runs import StepInput, StepOutcome

_ROUTING_TIME = timedelta(milliseconds=200)
_MOST_PATIENCE = timedelta(minutes=1)


class WaitActivities:
    """Both waits are asked again and again until they are over: on a wake, and when their timer fires."""

    def __init__(self, database: Database, library: DefinitionLibrary) -> None:
        self._database = database
        self._library = library

    @activity.defn
    async def wait(self, at: StepInput) -> StepOutcome:
        """Whether the wait is over. Its end is derived anew each time, so a change of zone or trait counts."""
        async with self._database.transaction() as session:
            match await open_step(session, self._library, at):
                case OpenStep(step=WaitStep() as step) as opened:
                    return await _wait(session, opened, step)
                case StepOutcome() as settled:
                    return settled
                case OpenStep() as other:
                    raise other.unexpected()

    @activity.defn
    async def wait_for(self, at: StepInput) -> StepOutcome:
        """Whether the wait was met or has timed out. Its row decides, which the router settles and moves meanwhile."""
        async with self._database.transaction() as session:
            match await open_step(session, self._library, at):
                case OpenStep(step=WaitForStep() as step) as opened:
                    return await _wait_for(session, opened, step)
                case StepOutcome() as settled:
                    return settled
                case OpenStep() as other:
                    raise other.unexpected()


async def _wait(session: WriteSession, opened: OpenStep, step: WaitStep) -> StepOutcome:
    customer = opened.customer
    zones = Zones(customer.zone, (await shop_settings(session)).zone)
    match end_of(step.wait, opened.row.reached_at, customer.traits, zones):
        case CannotWait(reason):
            await _leave(session, opened, "timed_out")
            return opened.skipped(reason)
        case EndsAt(when, zone) if when > opened.at.as_of:
            row = await _wait_row(session, opened) or _register(session, opened)
            row.status, row.deadline, row.version = "waiting", when, opened.run.version
            return opened.waiting(when, zone)
        case EndsAt():
            await _leave(session, opened, "timed_out")
            return opened.done()


async def _wait_for(session: WriteSession, opened: OpenStep, step: WaitForStep) -> StepOutcome:
    zone = resolve_zone(opened.customer.zone, (await shop_settings(session)).zone)
    row = await _wait_row(session, opened)
    if row is None or row.status == "cancelled" or (row.status == "waiting" and row.version != opened.run.version):
        row = row or _register(session, opened)
        await _look_back(session, opened, step, row, zone)
    if row.status == "met":
        await _leave(session, opened, "met")
        return opened.done(arm=str(row.met_alternative), event_id=str(row.met_event_id))
    if row.deadline is None or row.deadline > opened.at.as_of:
        return opened.waiting(row.deadline, zone.key)
    if await has_pending_events(session, opened.customer.id, until=row.deadline):
        return opened.waiting(_a_little_later(row.deadline, opened.at.as_of), zone.key)
    await _leave(session, opened, "timed_out")
    return opened.done(reason="timed_out")


def _a_little_later(deadline: datetime, as_of: datetime) -> datetime:
    """An event in time may still meet the wait once it is routed: ask again, ever more rarely."""
    return as_of + min(max(_ROUTING_TIME, as_of - deadline), _MOST_PATIENCE)


async def _look_back(session: WriteSession, opened: OpenStep, step: WaitForStep, row: WaitRow, zone: ZoneInfo) -> None:
    """Settle or start the wait by what was routed since the run left its last wait.

    A run that was moved to another version looks back anew, and so does one that a reset in Temporal opened again.
    """
    run, customer = opened.run, opened.customer
    compiled = compile_wait(step.wait_for)
    names = None if compiled.watches_traits else compiled.names
    events = await happenings(session, customer.id, after=run.seen_number, upto=customer.last_number, names=names)
    scope = Scope(
        as_of=opened.at.as_of,
        zone=zone,
        entry=run.entry,
        customer={"id": customer.external_id, "traits": customer.traits},
        saved=run.saved,
    )
    row.version, row.status, row.settled_at = run.version, "waiting", None
    match compiled.look_back(events, Watcher(run.id, scope), row.registered_at):
        case Met(alternative, event):
            row.status, row.met_alternative, row.met_event_id = "met", alternative, event.event_id
        case Standing(deadline):
            row.deadline = deadline


async def _wait_row(session: WriteSession, opened: OpenStep) -> WaitRow | None:
    return await session.get(WaitRow, (opened.run.id, opened.at.step, opened.at.visit), populate_existing=True)


def _register(session: WriteSession, opened: OpenStep) -> WaitRow:
    row = WaitRow(
        run_id=opened.run.id,
        step=opened.at.step,
        visit=opened.at.visit,
        customer_id=opened.customer.id,
        version=opened.run.version,
        status="waiting",
        registered_at=opened.row.reached_at,
    )
    session.add(row)
    return row


async def _leave(session: WriteSession, opened: OpenStep, status: Literal["met", "timed_out"]) -> None:
    """Settle the wait's row; later waits look back to here."""
    row = await _wait_row(session, opened)
    if row is not None:
        row.status, row.settled_at = status, opened.at.as_of
    met_at = None if row is None else await event_number(session, row.met_event_id)
    opened.run.seen_number = opened.customer.last_number if met_at is None else met_at
