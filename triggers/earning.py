"""The reaction of the programme: events earn points by its rules. What refunds take back again: refunds.py.

What is decided is `domain/earning.py`; here its decisions are stored and paid.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from database import earnings, guest_earnings
from database.earnings import Stored
from domain.earning import Decision, EarningEvent, Occasion
from domain.identities import Stamp
from domain.ids import new_id
from domain.lateness import counts_at, returned_at
from domain.shares import VERIFIED_BY
from domain.unpaid import Unpaid
from triggers.batch import BatchEvent, Wave
from triggers.earning_facts import Grounds, Person, counted_events, first_of, programmes_for
from triggers.earning_together import decide_together
from triggers.maturing import mature_decided
from triggers.order_edits import amend_decisions, told_again
from triggers.paying import Due, pay
from triggers.refunds import is_revision, revised_at, take_back, tells_of_orders

_FORGOTTEN = frozenset({Unpaid.WHERE, Unpaid.UNTRUSTED, Unpaid.HISTORY})
"""What is not worth a row: the event was not meant."""


async def earn_points(wave: Wave) -> None:
    """Decide what the wave's events earn, store the decisions and post the points."""
    if wave.programme is None:
        return
    may_earn = earners(wave)
    told = [event for event in wave.events if may_earn(event)]
    known = await earnings.decided_events(wave.session, wave.programme.key, [event.event.id for event in told])
    fresh = [_earning_event(wave, event) for event in told if event.event.id not in known]
    claimed = await _claimed(wave)
    decided = await _decide(wave, [*fresh, *claimed], {event.id for event in claimed})
    again = await told_again(wave, decided)
    if again.since:
        await _settle(wave, [], again.since, unweighed=again.since)
    if again.orders:
        await amend_decisions(wave, again.orders)


def earners(wave: Wave) -> Callable[[BatchEvent], bool]:
    """Whether any version of the programme that may count has a rule for an event. A browser's word earns nothing."""
    rules = [rule for each in wave.programmes for rule in each.definition.earn]
    told = frozenset(rule.on.event for rule in rules)
    imported = _imported(wave)
    return lambda event: event.event.trusted and event.event.name in (imported if event.is_history else told)


def _imported(wave: Wave) -> frozenset[str]:
    """The events that earn also where they are imported history."""
    return frozenset(
        rule.on.event
        for each in wave.programmes
        for rule in each.definition.earn
        if each.definition.takes_imports(rule)
    )


# The events ----------------------------------------------------------------------------------------------


def _counts_at(wave: Wave, timestamp: datetime, *, is_history: bool) -> tuple[datetime, bool]:
    """When an event counts, and whether it comes too late to count when it happened."""
    since = wave.programme.history_since if is_history and wave.programme is not None else None
    return counts_at(timestamp, wave.as_of, history_since=since)


def _earning_event(wave: Wave, event: BatchEvent) -> EarningEvent:
    told = event.event
    at, is_late = _counts_at(wave, told.timestamp, is_history=event.is_history)
    return EarningEvent(
        *(told.id, told.message_id, event.customer.id, told.name, told.properties),
        at=at,
        trusted=told.trusted,
        is_history=event.is_history,
        is_late=is_late,
        sent=wave.as_of if is_late else told.sent,  # what counts now counts after all that counted before
        is_guest=event.customer.external_id is None or not event.link_trusted,
        verified_by=told.properties.get(VERIFIED_BY) if event.is_own else None,
    )


async def _claimed(wave: Wave) -> list[EarningEvent]:
    """What customers did as guests and earns now, because a trusted source says now who they are."""
    programme = wave.programme
    named = {event.customer.id for event in wave.events if event.vouches and event.customer.external_id is not None}
    if programme is None or not named or programme.definition.guests == "forfeit":
        return []
    found = []
    for customer_id, row in await guest_earnings.claim_guests(wave.session, programme.key, named):
        is_history = row.is_history
        at, is_late = _counts_at(wave, row.timestamp, is_history=is_history)
        found.append(
            EarningEvent(
                *(row.id, row.message_id, customer_id, row.name, row.properties, at),
                is_history=is_history,
                is_late=is_late,
                sent=wave.as_of if is_late else row.sent,
            )
        )
    return found


async def decide_again(wave: Wave, since: Mapping[UUID, datetime]) -> None:
    """Decide what these customers of the wave did after a moment once more, for they were joined or parted since.

    It ends as if each had been who they are now from the start; what is older stays decided.
    """
    programme = wave.programme
    if programme is None or not since:
        return
    rules = [rule for each in wave.programmes for rule in each.definition.earn]
    imported = _imported(wave)
    names = {rule.on.event for rule in rules}
    missed = await earnings.undecided_events(wave.session, programme.key, names, since)
    events = [
        EarningEvent(
            *(row.id, row.message_id, row.customer_id, row.name, row.properties, row.timestamp),
            is_history=row.is_history,
            sent=row.sent,
            verified_by=row.properties.get(VERIFIED_BY) if row.own else None,
        )
        for row in missed
        if row.customer_id is not None and (row.name in imported or not row.is_history)
    ]
    await _settle(wave, events, {id_: Stamp.before(moment) for id_, moment in since.items()}, unweighed=since)


# The decisions -------------------------------------------------------------------------------------------


async def _decide(wave: Wave, events: Sequence[EarningEvent], claimed: Collection[UUID]) -> list[Decision]:
    """Decide events, and what happened after them once more: limits, occasions and tiers may be others now."""
    moving = _moving_tiers(wave, {event.id for event in events})
    since = _earlier(first_of(events), _earlier(moving, _counted_late(wave)))
    decided = await _settle(wave, events, since, unweighed=moving)
    orders = {decision.order_id for decision in decided if decision.event.id in claimed}
    await take_back(wave, {order_id for order_id in orders if order_id is not None})
    return decided


def _moving_tiers(wave: Wave, decided: Collection[UUID]) -> dict[UUID, Stamp]:
    """The customers whose orders or returns may have changed their tiers, and since when.

    `decided`: events that are about to be decided; what those move is carried along.
    """
    assert wave.programme is not None  # noqa: S101  the caller has asked
    if wave.programme.definition.tiers is None:
        return {}
    moments: dict[UUID, Stamp] = {}
    for event in wave.events:
        if tells_of_orders(event) and event.event.id not in decided:
            moments = _earlier(moments, {event.customer.id: Stamp.before(_told_at(wave, event))})
    return moments


def _told_at(wave: Wave, event: BatchEvent) -> datetime:
    """From when on a word about an order may change what was decided; history as far back as it earns."""
    told = event.event
    if is_revision(event):
        return revised_at(event)
    if event.is_history:
        return _counts_at(wave, told.timestamp, is_history=True)[0]
    return returned_at(told.timestamp, told.received_at, is_history=False)


def _counted_late(wave: Wave) -> dict[UUID, Stamp]:
    """The customers of whom something that conditions count comes after what followed it, and since when."""
    names = frozenset(name for each in wave.programmes for name in counted_events(each))
    late = [
        event
        for event in wave.events
        if event.counts_for_value and event.event.name in names and event.event.timestamp < event.customer.last_seen
    ]
    return _first_moments(wave, late)


def _first_moments(wave: Wave, events: Sequence[BatchEvent]) -> dict[UUID, Stamp]:
    first: dict[UUID, Stamp] = {}
    for event in events:
        at, is_late = _counts_at(wave, event.event.timestamp, is_history=event.is_history)
        sent = wave.as_of if is_late else event.event.sent
        first = _earlier(first, {event.customer.id: Stamp(at, sent, event.event.id)})
    return first


def _earlier(one: Mapping[UUID, Stamp], other: Mapping[UUID, Stamp]) -> dict[UUID, Stamp]:
    return {id_: min(each[id_] for each in (one, other) if id_ in each) for id_ in one.keys() | other.keys()}


async def _settle(
    wave: Wave, fresh: Sequence[EarningEvent], since: Mapping[UUID, Stamp], *, unweighed: Collection[UUID]
) -> list[Decision]:
    """Decide fresh events, and once more what was decided after a moment; store both, and post the difference."""
    assert wave.programme is not None  # noqa: S101  the caller has asked
    key = wave.programme.key
    stored = await earnings.decided_after(wave.session, key, since) if since else []
    again = await earnings.events_by_id(wave.session, stored)
    known = {event.id for event in again}
    later = [row for row in stored if row.event_id in known]  # an event that is gone keeps its decision
    decided = await _decisions(wave, [*fresh, *again], later, unweighed)
    outcome = _Outcome.of(decided, later)
    await _store(wave, key, outcome)
    await take_back(wave, {order_id for order_id in outcome.changed_orders if order_id is not None})
    return decided


async def _decisions(
    wave: Wave, sequence: Sequence[EarningEvent], later: Sequence[Stored], unweighed: Collection[UUID]
) -> list[Decision]:
    if not sequence:
        return []
    programmes = programmes_for(wave.programmes, wave.shop, sequence)
    grounds = Grounds(wave.session, wave.shop, wave.programmes, programmes, _people(wave), later)
    found = await decide_together(grounds, sequence, unweighed=unweighed)
    return [decision for decision in found if decision.reason not in _FORGOTTEN]


def _people(wave: Wave) -> dict[UUID, Person]:
    return {each.id: Person(*wave.ground_of(each, trusted=True)) for each in wave.customers()}


# What is stored and posted -------------------------------------------------------------------------------


@dataclass(slots=True)
class _Outcome:
    """New decisions, those that take the place of stored ones, and stored ones that nothing is left of."""

    new: dict[UUID, Decision] = field(default_factory=dict)
    changed: dict[UUID, Decision] = field(default_factory=dict)
    stored: dict[UUID, Stored] = field(default_factory=dict)
    withdrawn: list[Stored] = field(default_factory=list)
    removed: list[Stored] = field(default_factory=list)

    @classmethod
    def of(cls, decided: Iterable[Decision], later: Sequence[Stored]) -> _Outcome:
        """Give each decision its event's row if that was final or paid, else its occasion's, else its event's or a new
        one. Two customers who are one now may both have had an occasion: then each event keeps its own row.
        """
        outcome = cls(stored={row.id: row for row in later})
        holders: dict[Occasion, Stored] = {}
        for each in sorted(later, key=lambda row: row.stamp):
            if each.is_final:
                holders.setdefault(each.occasion, each)
        by_event = {(row.rule, row.event_id): row for row in later}
        for decision in decided:
            own = by_event.get((decision.rule, decision.event.id))
            keeps_own = own is not None and (own.is_final or own.credits)
            holder = holders.get(decision.occasion) if decision.is_final and not keeps_own else None
            row = holder or own
            if row is None or row.id in outcome.changed:
                outcome.new[new_id()] = decision
                continue
            outcome.changed[row.id] = decision
            if own is not None and own is not row:
                outcome.removed.append(own)
        gone = outcome.changed.keys() | {row.id for row in outcome.removed}
        outcome.withdrawn = [row for row in later if row.id not in gone]
        return outcome

    @property
    def changed_orders(self) -> set[str | None]:
        """The orders of decisions that were made once more."""
        return {decision.order_id for decision in self.changed.values()}


async def _store(wave: Wave, programme: str, outcome: _Outcome) -> None:
    """Store decisions and post what they pay. A new one whose occasion another router has just taken pays nothing."""
    await earnings.withdraw(wave.session, [row.id for row in outcome.withdrawn])
    await earnings.remove(wave.session, [row.id for row in outcome.removed])
    await earnings.change(wave.session, programme, outcome.changed, wave.as_of)
    new = {id_: Due.of(id_, decision) for id_, decision in outcome.new.items()}
    posted = {id_: due.adjustment().credits for id_, due in new.items()}
    added = await earnings.add(wave.session, programme, outcome.new, posted, wave.as_of)
    beaten = {
        id_: replace(decision, points=0, reason=Unpaid.ONCE, changes=())
        for id_, decision in outcome.new.items()
        if id_ not in added
    }
    await earnings.add(wave.session, programme, beaten, dict.fromkeys(beaten, ()), wave.as_of)
    dues = [
        *(due for id_, due in new.items() if id_ in added),
        *(Due.of(id_, decision, outcome.stored[id_]) for id_, decision in outcome.changed.items()),
        *(Due.withdrawn(row) for row in outcome.withdrawn),
    ]
    await pay(wave.session, programme, dues, wave.as_of, kept=added)
    await mature_decided(wave, {*added, *outcome.changed})
