"""Orders that are told of again: an `Order Updated`, or an order that was cancelled and is completed once more.

Within a day of the order everything since is decided again. After that an edit changes what its own order earned, until
the programme's `edits` are over; what comes later still leaves a row among the earnings and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from database import earnings
from database.earnings import Stored
from database.order_edits import OrderOf, OrderWords, amend, decisions_of_orders, words_about
from database.session import ReadSession
from domain.commerce import ORDER_CANCELLED, ORDER_COMPLETED, ORDER_UPDATED
from domain.durations import parse_duration
from domain.earned_amounts import sale_of
from domain.earned_edits import Amended, Terms, amended
from domain.earning import Decision, EarningEvent, Programme, order_of
from domain.identities import Stamp
from domain.ids import new_id
from domain.lateness import LATE, returned_at
from domain.order_statements import Edit, Edited, Statement, edited
from domain.programmes.rules import EarnRule
from domain.unpaid import Unpaid
from triggers.batch import BatchEvent, Wave
from triggers.earning_facts import Person, Programmes, as_programme, scope_of
from triggers.paying import Due, pay
from triggers.refunds import is_revision, order_told_by, revised_at


async def restated(session: ReadSession, events: Sequence[EarningEvent], programmes: Programmes) -> list[EarningEvent]:
    """These events, those of orders as edits have left them and in their order's currency."""
    orders = {event.id: (order_id, event.customer_id) for event in events if (order_id := order_of(event)) is not None}
    words = await words_about(session, set(orders.values()))
    return [
        _restated(event, programmes[event.id], words[orders[event.id]])
        if event.id in orders and event.id in programmes
        else event
        for event in events
    ]


def _restated(event: EarningEvent, programme: Programme, told: OrderWords) -> EarningEvent:
    stands = _edited(event, programme, told)
    return replace(event, properties=stands.first, later=stands.later, currency=told.currency)


def _edited(event: EarningEvent, programme: Programme, told: OrderWords) -> Edited:
    own = told.words.get(event.id)
    said = own.edit.said if own is not None else Statement(event.stamp, event.properties)
    open_for = parse_duration(programme.definition.edits)
    return edited(said, event.at, told.besides(event), open_for.after(event.at.astimezone(programme.zone)))


# What is told of again in a wave -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ToldAgain:
    """`orders` that something was said of besides. `since`: from when on their customers' decisions are made again."""

    orders: frozenset[OrderOf] = frozenset()
    since: Mapping[UUID, Stamp] | None = None


async def told_again(wave: Wave, decided: Sequence[Decision]) -> ToldAgain:
    """Which orders with decisions the wave's events tell of again. `decided`: what was decided about those just now."""
    assert wave.programme is not None  # noqa: S101  the caller has asked
    told = _told_again(wave, decided)
    rows = await decisions_of_orders(wave.session, wave.programme.key, told.keys())
    words = await words_about(wave.session, _orders_of(rows))
    since: dict[UUID, Stamp] = {}
    for row in rows:
        order = (row.order_id or "", row.customer_id)
        for moment in _moments(wave, row, words[order], told[order]):
            since[row.customer_id] = min(moment, since.get(row.customer_id, moment))
    return ToldAgain(frozenset(_orders_of(rows)), since)


def _told_again(wave: Wave, decided: Sequence[Decision]) -> dict[OrderOf, list[BatchEvent]]:
    repeated = {each.event.id for each in decided if each.reason is Unpaid.ONCE and each.event.name == ORDER_COMPLETED}
    found: dict[OrderOf, list[BatchEvent]] = {}
    for event in wave.events:
        order_id = order_told_by(event)
        counts = event.event.id in repeated or _says(event) in (ORDER_UPDATED, ORDER_CANCELLED)
        if order_id is not None and counts and (event.counts_for_value or is_revision(event)):
            found.setdefault((order_id, event.customer.id), []).append(event)
    return found


def _says(event: BatchEvent) -> str:
    """The name of what is said of an order; what somebody else said comes as our own word."""
    return str(event.event.properties.get("by")) if is_revision(event) else event.event.name


def _moments(wave: Wave, row: Stored, told: OrderWords, events: Iterable[BatchEvent]) -> Iterator[Stamp]:
    """From when on a customer's decisions may be others by what is said of an order: from the order on where an edit
    came within a day of it; where a cancellation ends or is said anew, from the first one on.
    """
    for event in events:
        if event.event.id == row.event_id:
            continue
        at = _counts_at(event)
        if _says(event) == ORDER_UPDATED and at - row.stamp.timestamp <= LATE:
            yield Stamp(row.stamp.timestamp, row.stamp.sent, UUID(int=0))
        if _says(event) in (ORDER_COMPLETED, ORDER_CANCELLED) and told.cancelled_at is not None:
            yield Stamp.before(max(told.cancelled_at, row.stamp.timestamp))


def _counts_at(event: BatchEvent) -> datetime:
    told = event.event
    if is_revision(event):
        return revised_at(event)
    return returned_at(told.timestamp, told.received_at, is_history=event.is_history)


def _orders_of(rows: Iterable[Stored]) -> set[OrderOf]:
    return {(row.order_id, row.customer_id) for row in rows if row.order_id is not None}


# Later edits ---------------------------------------------------------------------------------------------


async def amend_decisions(wave: Wave, orders: frozenset[OrderOf]) -> None:
    """Bring what was decided about these orders to what later edits made of them, and keep those that came too late."""
    assert wave.programme is not None  # noqa: S101  the caller has asked
    key = wave.programme.key
    rows = await decisions_of_orders(wave.session, key, orders)
    words = await words_about(wave.session, _orders_of(rows))
    events = {event.id: event for event in await earnings.events_by_id(wave.session, rows)}
    after: dict[UUID, Amended] = {}
    over: dict[UUID, Decision] = {}
    dues: list[Due] = []
    for row in rows:
        event, told = events.get(row.event_id), words[row.order_id or "", row.customer_id]
        case = None if event is None else _case(wave, row, event, told)
        if case is None:
            continue
        over |= {new_id(): _too_late(row, told, edit) for edit in case.stands.over}
        found = case.amended()
        if found is not None:
            after[row.id] = found
            dues.append(Due.edited(row, found.points))
    await amend(wave.session, after, wave.as_of)
    await pay(wave.session, key, dues, wave.as_of)
    await earnings.add(wave.session, key, over, dict.fromkeys(over, ()), wave.as_of)


@dataclass(frozen=True, slots=True)
class _Case:
    """A decision, with what was said of its order."""

    row: Stored
    rule: EarnRule
    event: EarningEvent
    stands: Edited
    person: Person
    currency: str

    def amended(self) -> Amended | None:
        """What later edits make of it; None: nothing."""
        first = self.row.frozen.first_points
        if not self.stands.later:
            return None
        sales = [(at, sale_of(properties, self.currency)) for at, properties in self.stands.later]
        return amended(Terms(self.rule, self.row.factor, self._room), first, sales, scope_of(self.person, self.event))

    @property
    def _room(self) -> int | None:
        """An earlier release kept none: what it decided under a limit pays no more than it did."""
        is_limited = self.rule.limit is not None and not self.rule.counts_times
        return self.row.frozen.first_points if is_limited and self.row.room is None else self.row.room


def _case(wave: Wave, row: Stored, event: EarningEvent, told: OrderWords) -> _Case | None:
    live = next((each for each in wave.programmes if each.version == row.version), None)
    rule = live.definition.rule(row.rule) if live is not None else None
    if live is None or rule is None:
        return None
    programme = as_programme(live, wave.shop)
    customer = next(each for each in wave.customers() if each.id == row.customer_id)
    person = Person(*wave.ground_of(customer, trusted=True))
    currency = told.currency or programme.currency
    return _Case(row, rule, event, _edited(event, programme, told), person, currency)


def _too_late(row: Stored, told: OrderWords, edit: Edit) -> Decision:
    """The row that an edit leaves which came too late."""
    event = replace(told.words[edit.said.stamp.event_id].event, customer_id=row.customer_id)
    about: dict[str, Any] = {"tier": row.tier, "order_id": row.order_id}
    return Decision(row.rule, row.version, event, row.occasion, reason=Unpaid.EDITED_LATE, **about)
