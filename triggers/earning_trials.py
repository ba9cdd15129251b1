"""Decisions that are not stored: what an event would earn, and what a draft would have paid for what was recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, func, select

from database.base import among
from database.customers import Customer, trusted_profile
from database.earnings import decided_after
from database.events import Event
from database.programmes import LiveProgramme, live_versions
from database.session import ReadSession
from database.tiers import ladder_of
from database.vouching import is_vouched
from domain.earning import Decision, EarningEvent, Occasion, Programme, decide
from domain.identities import Stamp
from domain.lateness import counts_at
from domain.local_time import resolve_zone
from domain.programmes.checks import events_of
from domain.shares import VERIFIED_BY
from domain.shop_settings import ShopSettings
from domain.trials import Trial
from triggers.earning_facts import Grounds, Person, circumstances, tiers_before_each, usage_before
from triggers.earning_together import decide_together

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
    """Decide the recorded events of a period by this programme, customer by customer; and whether that were all.

    They are decided as routing decides them: when each counts, in order, by the tier and the points that those before
    it came to. What was decided before the period stands, what was decided since does not count.
    """
    before = [each for each in await live_versions(session) if each.key == programme.key and each.published_at < start]
    tried = LiveProgramme(programme.key, programme.version, programme.definition, programme.zone, published_at=start)
    trial, taken = Trial(), set[Occasion]()
    recorded = _Recorded(sorted(events_of(programme.definition)), start, end)
    customers = await recorded.customers(session)
    for ids in _pages(customers):
        rows = await recorded.of(session, ids, most=MOST_TRIED - trial.events)
        if not rows:
            break
        events = [_as_earning(row, tried) for row in rows]
        trial.names |= {row.customer.id: row.customer.external_id for row in rows}
        trial.count_events(events)
        people = {row.customer.id: _person(row.customer, shop) for row in rows}
        programmes = {event.id: programme for event in events}
        later = await decided_after(session, programme.key, dict.fromkeys(people, Stamp.before(start)), lock=False)
        grounds = Grounds(session, shop, [*before, tried], programmes, people, later, taken)
        for decision in await decide_together(grounds, events, unweighed=people):
            trial.count(decision)
            taken |= {decision.occasion} if decision.is_final else set()
    return trial, trial.events == sum(customers.values())


def _person(customer: Customer | None, shop: ShopSettings) -> Person:
    if customer is None:
        return Person(resolve_zone(None, shop.zone))
    profile = trusted_profile(customer)
    facts = {"id": customer.external_id, "traits": profile.traits}
    return Person(resolve_zone(profile.zone, shop.zone), facts)


@dataclass(frozen=True, slots=True)
class _Row:
    """A recorded event. `is_theirs`: a trusted source says what was done and that this customer did it."""

    event: Event
    customer: Customer
    is_theirs: bool


@dataclass(frozen=True, slots=True)
class _Recorded:
    """Routed events of some names and a period."""

    names: Sequence[str]
    start: datetime
    end: datetime

    @property
    def _wanted(self) -> Sequence[ColumnElement[bool]]:
        in_time = (Event.timestamp >= self.start, Event.timestamp < self.end)
        return (Event.name.in_(self.names), *in_time, Event.status == "routed", Event.customer_id.is_not(None))

    async def customers(self, session: ReadSession) -> dict[UUID, int]:
        """Whose they are, those we know longest first, and how many; no more customers than a dry run can take.

        Relies on ix_events_name_timestamp.
        """
        counted = select(Event.customer_id, func.count()).where(*self._wanted).group_by(Event.customer_id)
        rows = await session.execute(counted.order_by(Event.customer_id).limit(MOST_TRIED + 1))
        return {id_: count for id_, count in rows if id_ is not None}

    async def of(self, session: ReadSession, ids: Sequence[UUID], *, most: int) -> list[_Row]:
        """Those of some customers. Relies on ix_events_customer_name."""
        statement = (
            select(Event, Customer, is_vouched(Event))
            .join(Customer, Customer.id == Event.customer_id)
            .where(*self._wanted, among(Event.customer_id, ids))
            .order_by(Event.customer_id, Event.timestamp, Event.sent, Event.id)
            .limit(most)
        )
        return [
            _Row(event, customer, bool(is_theirs)) for event, customer, is_theirs in await session.execute(statement)
        ]


def _pages(customers: Mapping[UUID, int]) -> Iterator[list[UUID]]:
    """Customers whose events fill a page together; whoever has more than that is a page alone."""
    page: list[UUID] = []
    filled = 0
    for id_, count in customers.items():
        if page and filled + count > _PAGE:
            yield page
            page, filled = [], 0
        page.append(id_)
        filled += count
    if page:
        yield page


def _as_earning(row: _Row, tried: LiveProgramme) -> EarningEvent:
    """The event as routing would have taken it at its receipt, had the programme been live."""
    event = row.event
    since = tried.history_since if event.is_history else None
    at, is_late = counts_at(event.timestamp, event.received_at, history_since=since)
    return EarningEvent(
        *(event.id, event.message_id, row.customer.id, event.name, event.properties),
        at=at,
        trusted=event.trusted,
        is_history=event.is_history,
        is_late=is_late,
        is_guest=row.customer.external_id is None or (event.trusted and not row.is_theirs),
        sent=event.received_at if is_late else event.sent,
        verified_by=event.properties.get(VERIFIED_BY) if event.own else None,
    )
