"""The reaction of the programme: events earn points by its rules. What refunds take back again: refunds.py.

What is decided is `domain/earning.py`; here its decisions are stored and paid.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from database import earnings, guest_earnings
from database.earnings import Stored
from database.tiers import Ladder, ladder_by
from domain.commerce import MAKES_ORDERS
from domain.earning import Decision, EarningEvent, Unpaid, decide_in_order
from domain.identities import Stamp
from domain.ids import new_id
from domain.programmes.definition import PointsMeasure
from domain.shares import VERIFIED_BY
from triggers.batch import BatchEvent, Wave
from triggers.earning_facts import (
    Person,
    circumstances,
    first_of,
    programmes_for,
    tiers_before_each,
    usage_before,
)
from triggers.maturing import mature_decided
from triggers.paying import Due, pay
from triggers.refunds import take_back

LATE = timedelta(hours=24)
"""Events that come later than this after they happened are decided as if they happened when they came."""

_FORGOTTEN = frozenset({Unpaid.WHERE, Unpaid.ONCE, Unpaid.UNTRUSTED, Unpaid.HISTORY})
"""What is not worth a row: the event was not meant, or has been decided already."""


async def earn_points(wave: Wave) -> None:
    """Decide what the wave's events earn, store the decisions and post the points."""
    if wave.programme is None:
        return
    may_earn = earners(wave)
    told = [event for event in wave.events if may_earn(event)]
    known = await earnings.decided_events(wave.session, wave.programme.key, [event.event.id for event in told])
    fresh = [_earning_event(wave, event) for event in told if event.event.id not in known]
    claimed = await _claimed(wave)
    await _decide(wave, [*fresh, *claimed], {event.id for event in claimed})


def earners(wave: Wave) -> Callable[[BatchEvent], bool]:
    """Whether any version of the programme that may count has a rule for an event. A browser's word earns nothing."""
    rules = [rule for each in wave.programmes for rule in each.definition.earn]
    told = frozenset(rule.on.event for rule in rules)
    imported = frozenset(rule.on.event for rule in rules if rule.imports)
    return lambda event: event.event.trusted and event.event.name in (imported if event.is_history else told)


# The events ----------------------------------------------------------------------------------------------


def _earning_event(wave: Wave, event: BatchEvent) -> EarningEvent:
    told = event.event
    at, is_late = _counts_at(told.timestamp, wave.as_of)
    return EarningEvent(
        *(told.id, told.message_id, event.customer.id, told.name, told.properties),
        at=at,
        trusted=told.trusted,
        is_history=event.is_history,
        is_late=is_late,
        sent=wave.as_of if is_late else told.sent,  # what counts now counts after all that counted before
        is_guest=event.customer.external_id is None or not event.link_trusted,
        verified_by=told.properties.get(VERIFIED_BY) if event.is_own else None,
        number=event.number,
    )


def _counts_at(timestamp: datetime, as_of: datetime) -> tuple[datetime, bool]:
    is_late = as_of - timestamp > LATE
    return (as_of if is_late else timestamp), is_late


async def _claimed(wave: Wave) -> list[EarningEvent]:
    """What customers did as guests and earns now, because a trusted source says now who they are."""
    programme = wave.programme
    named = {event.customer.id for event in wave.events if event.vouches and event.customer.external_id is not None}
    if programme is None or not named or programme.definition.guests == "forfeit":
        return []
    found = []
    for customer_id, row in await guest_earnings.claim_guests(wave.session, programme.key, named):
        at, is_late = _counts_at(row.timestamp, wave.as_of)
        is_history = row.is_history
        found.append(
            EarningEvent(
                *(row.id, row.message_id, customer_id, row.name, row.properties, at),
                is_history=is_history,
                is_late=is_late,
                sent=wave.as_of if is_late else row.sent,
            )
        )
    return found


# The decisions -------------------------------------------------------------------------------------------


async def _decide(wave: Wave, events: Sequence[EarningEvent], claimed: Collection[UUID]) -> None:
    """Decide events, and what happened after them once more: limits, occasions and tiers may be others now.

    What is paid for one event may lift the tier before the next one, so this goes on from the first event whose tier
    turns out to be another one. Each round leaves at least one more event of a customer as it is.
    """
    decided = await _settle(wave, events, _earlier(first_of(events), _moving_tiers(wave)))
    orders = {decision.order_id for decision in decided if decision.event.id in claimed}
    await take_back(wave, {order_id for order_id in orders if order_id is not None})
    for _ in {decision.event.id for decision in decided}:
        moved = await _with_another_tier(wave, decided)
        if not moved:
            return
        decided = await _settle(wave, (), moved)


def _moving_tiers(wave: Wave) -> dict[UUID, Stamp]:
    """The customers whose orders may have changed their tiers, and since when."""
    assert wave.programme is not None  # noqa: S101  the caller has asked
    first: dict[UUID, Stamp] = {}
    tiers = wave.programme.definition.tiers
    if tiers is None or isinstance(tiers.measure, PointsMeasure):
        return first
    for event in wave.events:
        if event.event.trusted and event.event.name in MAKES_ORDERS:
            at, is_late = _counts_at(event.event.timestamp, wave.as_of)
            sent = wave.as_of if is_late else event.event.sent
            first = _earlier(first, {event.customer.id: Stamp(at, sent, event.event.id)})
    return first


def _earlier(one: Mapping[UUID, Stamp], other: Mapping[UUID, Stamp]) -> dict[UUID, Stamp]:
    return {id_: min(each[id_] for each in (one, other) if id_ in each) for id_ in one.keys() | other.keys()}


async def _settle(wave: Wave, fresh: Sequence[EarningEvent], since: Mapping[UUID, Stamp]) -> list[Decision]:
    """Decide fresh events, and once more what was decided after a moment; store both, and post the difference."""
    assert wave.programme is not None  # noqa: S101  the caller has asked
    key = wave.programme.key
    stored = await earnings.decided_after(wave.session, key, since) if since else []
    again = await earnings.events_by_id(wave.session, stored)
    known = {event.id for event in again}
    later = [row for row in stored if row.event_id in known]  # an event that is gone keeps its decision
    decided = await _decisions(wave, [*fresh, *again], later)
    outcome = _Outcome.of(decided, later)
    await _store(wave, key, outcome)
    await take_back(wave, {order_id for order_id in outcome.changed_orders if order_id is not None})
    return decided


async def _with_another_tier(wave: Wave, decided: Sequence[Decision]) -> dict[UUID, Stamp]:
    """Where each customer's decisions begin to have another tier than they were made by."""
    events = list({decision.event.id: decision.event for decision in decided}.values())
    several = {id_ for id_, count in Counter(event.customer_id for event in events).items() if count > 1}
    events = [event for event in events if event.customer_id in several]
    if not events:
        return {}
    tiers = await tiers_before_each(
        wave.session, events, programmes_for(wave.programmes, wave.shop, events), _ladder(wave)
    )
    moved = (each.event for each in decided if each.event.id in tiers and each.tier != tiers[each.event.id])
    return {id_: Stamp.before(stamp.timestamp) for id_, stamp in first_of(moved).items()}


async def _decisions(wave: Wave, sequence: Sequence[EarningEvent], later: Sequence[Stored]) -> list[Decision]:
    assert wave.programme is not None  # noqa: S101  the caller has asked
    if not sequence:
        return []
    programmes = programmes_for(wave.programmes, wave.shop, sequence)
    again = {stored.id for stored in later}
    usage = await usage_before(wave.session, wave.programme.key, sequence, programmes, but=again)
    changed = {stored.customer_id for stored in later}
    about = await circumstances(
        wave.session, wave.shop, sequence, programmes, _people(wave), ladder=_ladder(wave), unweighed=changed
    )
    found = decide_in_order(sequence, lambda event: programmes[event.id], lambda event: about[event.id], usage)
    return [decision for decision in found if decision.reason not in _FORGOTTEN]


def _ladder(wave: Wave) -> Ladder | None:
    return ladder_by(wave.programmes, wave.shop.currency)


def _people(wave: Wave) -> dict[UUID, Person]:
    return {event.customer.id: Person(*wave.ground_of(event.customer, trusted=True)) for event in wave.events}


# What is stored and posted -------------------------------------------------------------------------------


@dataclass(slots=True)
class _Outcome:
    """New decisions, those that take the place of stored ones, and stored ones that nothing is left of."""

    new: dict[UUID, Decision] = field(default_factory=dict)
    changed: dict[UUID, Decision] = field(default_factory=dict)
    stored: dict[UUID, Stored] = field(default_factory=dict)
    withdrawn: list[Stored] = field(default_factory=list)

    @classmethod
    def of(cls, decided: Iterable[Decision], later: Sequence[Stored]) -> _Outcome:
        """Give each decision the row of its occasion, else of its event, else a new one."""
        outcome = cls(stored={row.id: row for row in later})
        by_occasion = {row.occasion: row for row in later if row.is_final}
        by_event = {(row.rule, row.event_id): row for row in later}
        for decision in decided:
            own = by_event.get((decision.rule, decision.event.id))
            row = by_occasion.get(decision.occasion) if decision.is_final else None
            row = row or own
            if row is None or row.id in outcome.changed:
                outcome.new[new_id()] = decision
            else:
                outcome.changed[row.id] = decision
        outcome.withdrawn = [row for row in later if row.id not in outcome.changed]
        return outcome

    @property
    def changed_orders(self) -> set[str | None]:
        """The orders of decisions that were made once more."""
        return {decision.order_id for decision in self.changed.values()}


async def _store(wave: Wave, programme: str, outcome: _Outcome) -> None:
    """Store decisions and post what they pay. A new one whose occasion another router has just taken is left out."""
    await earnings.withdraw(wave.session, [row.id for row in outcome.withdrawn])
    await earnings.change(wave.session, programme, outcome.changed, wave.as_of)
    new = {id_: Due.of(id_, decision) for id_, decision in outcome.new.items()}
    posted = {id_: due.adjustment().credits for id_, due in new.items()}
    added = await earnings.add(wave.session, programme, outcome.new, posted, wave.as_of)
    dues = [
        *(due for id_, due in new.items() if id_ in added),
        *(Due.of(id_, decision, outcome.stored[id_]) for id_, decision in outcome.changed.items()),
        *(Due.withdrawn(row) for row in outcome.withdrawn),
    ]
    await pay(wave.session, programme, dues, wave.as_of, kept=added)
    await mature_decided(wave, {*added, *outcome.changed})
