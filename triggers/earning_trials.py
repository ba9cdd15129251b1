"""Decisions that are not stored: what an event would earn, and what a draft would have paid for what was recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from sqlalchemy import select, tuple_

from database.customers import Customer, trusted_profile
from database.events import Event
from database.session import ReadSession
from database.tiers import ladder_of
from database.vouching import is_vouched
from domain.earning import Decision, EarningEvent, Programme, Usage, decide, decide_in_order
from domain.local_time import resolve_zone
from domain.programmes.checks import events_of
from domain.shop_settings import ShopSettings
from domain.trials import Trial
from triggers.earning_facts import Person, circumstances, tiers_before_each, usage_before

MOST_TRIED = 20_000
"""Events of one dry run: it is asked for over HTTP and answered at once."""

_PAGE = 1_000


async def would_earn(
    session: ReadSession, shop: ShopSettings, programme: Programme, event: EarningEvent, customer: Customer | None
) -> list[Decision]:
    """What each rule that names the event would make of it now. Nothing is kept."""
    programmes = {event.id: programme}
    usage = await usage_before(session, programme.key, [event], programmes)
    people = {event.customer_id: _person(customer, shop)}
    tiers = await tiers_before_each(session, [event], programmes, await ladder_of(session))
    about = await circumstances(session, shop, [event], programmes, people, tiers=tiers)
    return decide(programme, event, about[event.id], usage)


async def try_on_history(
    session: ReadSession, shop: ShopSettings, programme: Programme, start: datetime, end: datetime
) -> tuple[Trial, bool]:
    """Decide the recorded events of a period by this programme, in order; and whether that were all of them."""
    trial, usage = Trial(), Usage()
    names = sorted(events_of(programme.definition))
    async for page in _recorded(session, names, start, end):
        if trial.events >= MOST_TRIED:
            return trial, False
        await _try_page(session, shop, programme, page, usage=usage, trial=trial)
    return trial, True


async def _try_page(
    session: ReadSession,
    shop: ShopSettings,
    programme: Programme,
    page: Sequence[tuple[EarningEvent, Customer]],
    *,
    usage: Usage,
    trial: Trial,
) -> None:
    events = [event for event, _ in page]
    people = {customer.id: _person(customer, shop) for _, customer in page}
    trial.names |= {customer.id: customer.external_id for _, customer in page}
    trial.count_events(events)
    programmes = {event.id: programme for event in events}
    tiers = await tiers_before_each(session, events, programmes, await ladder_of(session))
    about = await circumstances(session, shop, events, programmes, people, tiers=tiers)
    for decision in decide_in_order(events, lambda _: programme, lambda event: about[event.id], usage):
        trial.count(decision)


def _person(customer: Customer | None, shop: ShopSettings) -> Person:
    if customer is None:
        return Person(resolve_zone(None, shop.zone))
    profile = trusted_profile(customer)
    facts = {"id": customer.external_id, "traits": profile.traits}
    return Person(resolve_zone(profile.zone, shop.zone), facts)


async def _recorded(
    session: ReadSession, names: Sequence[str], start: datetime, end: datetime
) -> AsyncIterator[list[tuple[EarningEvent, Customer]]]:
    """Routed events of these names in pages, in the order they happened. Relies on ix_events_name_timestamp."""
    position = tuple_(Event.timestamp, Event.sent, Event.id)
    statement = (
        select(Event, Customer, is_vouched(Event))
        .join(Customer, Customer.id == Event.customer_id)
        .where(Event.name.in_(names), Event.timestamp >= start, Event.timestamp < end, Event.status == "routed")
        .order_by(Event.timestamp, Event.sent, Event.id)
        .limit(_PAGE)
    )
    after = None
    while True:
        rows = (await session.execute(statement if after is None else statement.where(position > after))).all()
        if not rows:
            return
        yield [(_as_earning(event, customer, is_theirs=told), customer) for event, customer, told in rows]
        last = rows[-1][0]
        after = tuple_(last.timestamp, last.sent, last.id)


def _as_earning(row: Event, customer: Customer, *, is_theirs: bool) -> EarningEvent:
    """`is_theirs`: a trusted source says what was done and that this customer did it."""
    return EarningEvent(
        *(row.id, row.message_id, customer.id, row.name, row.properties, row.timestamp),
        trusted=row.trusted,
        is_history=row.is_history,
        is_guest=customer.external_id is None or (row.trusted and not is_theirs),
        sent=row.sent,
    )
