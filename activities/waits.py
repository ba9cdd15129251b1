"""Standing at `wait` and `wait_for`: register under the customer's lock, look back, and settle by event or by time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from temporalio import activity

from activities.steps import OpenStep, open_step
from database.conditions import ShopDefaults, judge
from database.runs import Wait as WaitRow
from database.runs import find_happening, happenings, has_pending_events, subject_of
from database.session import Database, WriteSession
from database.shop_settings import shop_settings
from domain.conditions.scope import Scope
from domain.journeys.deadlines import CannotWait, EndsAt, Facts, Zones, end_of
from domain.journeys.library import DefinitionLibrary
from domain.journeys.looks import wait_conditions
from domain.journeys.steps import WaitForStep, WaitStep
from domain.journeys.waiting import CompiledWait, Happening, Met, Standing, Watcher, compile_wait
from domain.local_time import resolve_zone
from domain.runs import DATE_MISSING, Doubt, StepInput, StepOutcome

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

    def end_by(traits: Mapping[str, Any]) -> EndsAt | CannotWait:
        facts = Facts(traits, opened.run.entry)
        return end_of(step.wait, opened.row.reached_at, facts, zones, max_days=opened.definition.max_days)

    end = end_by(customer.traits)
    if step.wait.trait is not None and opened.is_in_doubt and end_by(opened.profile.trusted_traits) != end:
        opened.doubt(Doubt.DATE)
    match end:
        case CannotWait(reason):
            await _leave(session, opened, "timed_out")
            return opened.skipped(DATE_MISSING, date=reason)
        case EndsAt(when, zone) if when > opened.at.as_of:
            row = await _wait_row(session, opened) or _register(session, opened)
            row.status, row.deadline, row.version = "waiting", when, opened.run.version
            return opened.waiting(when, zone)
        case EndsAt():
            await _leave(session, opened, "timed_out")
            return opened.done()


async def _wait_for(session: WriteSession, opened: OpenStep, step: WaitForStep) -> StepOutcome:
    shop = (await shop_settings(session)).defaults
    zone = resolve_zone(opened.customer.zone, shop.zone)
    row = await _wait_row(session, opened)
    if row is None or row.status == "cancelled" or (row.status == "waiting" and row.version != opened.run.version):
        row = row or _register(session, opened)
        await _look_back(session, opened, step, row, shop)
    if row.status == "waiting":
        await _meet_conditions(session, opened, row, shop)
    if row.status == "met" and row.met_event_id is None and row.met_alternative is not None:
        await _leave(session, opened, "met")
        return opened.done(arm=str(row.met_alternative))
    if row.status == "met":
        event = None if row.met_event_id is None else await find_happening(session, row.met_event_id)
        await _doubt_what_met(session, opened, step, row, shop, event=event)
        await _leave(session, opened, "met", event)
        return opened.done(arm=str(row.met_alternative), event_id=str(row.met_event_id))
    if row.deadline is None or row.deadline > opened.at.as_of:
        return opened.waiting(row.deadline, zone.key)
    if await has_pending_events(session, opened.run, opened.customer.id, until=row.deadline):
        return opened.waiting(_a_little_later(row.deadline, opened.at.as_of), zone.key)
    await _doubt_what_met(session, opened, step, row, shop)
    await _leave(session, opened, "timed_out")
    return opened.done(reason="timed_out")


async def _meet_conditions(session: WriteSession, opened: OpenStep, row: WaitRow, shop: ShopDefaults) -> None:
    """The first condition among the alternatives that holds now meets the wait."""
    subject = subject_of(opened.run, opened.customer, opened.at.as_of)
    for position, condition in wait_conditions(opened.step):
        [verdict] = await judge(session, condition, [subject], shop=shop, compare=opened.run.trusted)
        if not verdict.is_trusted:
            opened.doubt(Doubt.CONDITION)
        if verdict.holds:
            row.status, row.met_alternative, row.met_event_id = "met", position, None
            return


async def _doubt_what_met(
    session: WriteSession,
    opened: OpenStep,
    step: WaitForStep,
    row: WaitRow,
    shop: ShopDefaults,
    *,
    event: Happening | None = None,
) -> None:
    """Would trusted facts alone have ended the wait so? `event`: what met it; None: it timed out."""
    compiled = compile_wait(step.wait_for)
    if not opened.run.trusted or not (event or opened.is_in_doubt):
        return
    if row.status == "met" and (event is None or not event.trusted or event.number <= 0):
        opened.doubt(Doubt.EVENT)  # a history that joined may have been joined by a browser
    elif opened.is_in_doubt or compiled.restarts:
        upto = opened.customer.last_number if event is None else event.number
        found = await _since_the_last_wait(session, opened, compiled, upto)
        watcher = _watcher(opened, shop, trusted=True)
        ended = compiled.replay([each for each in found if each.trusted], watcher, row.registered_at)
        if ended != (None if event is None else (row.met_alternative, event.event_id)):
            opened.doubt(Doubt.EVENT)


def _a_little_later(deadline: datetime, as_of: datetime) -> datetime:
    """An event in time may still meet the wait once it is routed: ask again, ever more rarely."""
    return as_of + min(max(_ROUTING_TIME, as_of - deadline), _MOST_PATIENCE)


async def _look_back(
    session: WriteSession, opened: OpenStep, step: WaitForStep, row: WaitRow, shop: ShopDefaults
) -> None:
    """Settle or start the wait by what was routed since the run left its last wait.

    A run that was moved to another version looks back anew, and so does one that a reset in Temporal opened again.
    """
    compiled = compile_wait(step.wait_for)
    events = await _since_the_last_wait(session, opened, compiled, opened.customer.last_number)
    row.version, row.status, row.settled_at = opened.run.version, "waiting", None
    match compiled.look_back(events, _watcher(opened, shop), row.registered_at):
        case Met(alternative, event):
            row.status, row.met_alternative, row.met_event_id = "met", alternative, event.event_id
        case Standing(deadline):
            row.deadline = deadline


async def _since_the_last_wait(
    session: WriteSession, opened: OpenStep, compiled: CompiledWait, upto: int
) -> Sequence[Happening]:
    names = None if compiled.watches_traits else compiled.names
    return await happenings(session, opened.run, opened.customer.id, upto=upto, names=names)


def _watcher(opened: OpenStep, shop: ShopDefaults, *, trusted: bool = False) -> Watcher:
    """The run as predicates see it; `trusted`: by what trusted sources reported about its customer."""
    context = opened.trusted_context if trusted else opened.context
    zone = resolve_zone(opened.profile.trusted_zone if trusted else opened.customer.zone, shop.zone)
    return Watcher(opened.run.id, Scope(as_of=opened.at.as_of, zone=zone, **context))


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


async def _leave(
    session: WriteSession, opened: OpenStep, status: Literal["met", "timed_out"], event: Happening | None = None
) -> None:
    """Settle the wait's row; later waits look back to here, or to what met it."""
    row = await _wait_row(session, opened)
    if row is not None:
        row.status, row.settled_at = status, opened.at.as_of
    opened.run.seen_number = opened.customer.last_number if event is None else event.number
