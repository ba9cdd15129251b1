"""The reaction of the programme: events earn points by its rules, and refunds take back what orders earned.

What is decided is `domain/earning.py`; here it gets its facts, and its decisions are stored and posted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from database import earnings, points
from database.conditions import ShopDefaults, Subject, judge
from database.earnings import Limit, Stored
from database.orders import refunds_of
from database.programmes import version_at
from database.session import WriteSession
from database.tiers import tiers_before
from domain.commerce import MAKES_ORDERS, text_id
from domain.conditions.memory import Scope
from domain.conditions.model import Condition
from domain.earned_credits import Posted, adjusted
from domain.earning import (
    Circumstances,
    Decision,
    EarningEvent,
    Programme,
    Unpaid,
    conditions_of,
    decide_in_order,
    limits_of,
    occasion_of,
)
from domain.identities import Stamp
from domain.ids import new_id
from domain.points import Clawback, Credit, CreditKind, Move
from domain.refunds import taken_back
from triggers.batch import IMPORT_SOURCE, BatchCustomer, BatchEvent, Wave

LATE = timedelta(hours=24)
"""Events that come later than this after they happened are decided as if they happened when they came."""

_FORGOTTEN = frozenset({Unpaid.WHERE, Unpaid.ONCE, Unpaid.UNTRUSTED, Unpaid.HISTORY})
"""What is not worth a row: the event was not meant, or has been decided already."""


async def earn_points(wave: Wave) -> None:
    """Decide what the wave's events earn, store the decisions and post the points."""
    if wave.programme is None:
        return
    told = [event for event in wave.events if may_earn(wave, event)]
    known = await earnings.decided_events(wave.session, wave.programme.key, [event.event.id for event in told])
    fresh = [_earning_event(wave, event) for event in told if event.event.id not in known]
    claimed = await _claimed(wave)
    if events := [*fresh, *claimed]:
        await _decide(wave, events, {event.id for event in claimed})


async def follow_refunds(wave: Wave) -> None:
    """Take back what refunded and cancelled orders earned; a refund that came first takes back at once."""
    told = (event.event for event in wave.events if event.event.trusted and event.event.name in MAKES_ORDERS)
    ids = {order_id for event in told if (order_id := text_id(event.properties.get("order_id")))}
    await _take_back(wave, ids)


def may_earn(wave: Wave, event: BatchEvent) -> bool:
    """Whether any version of the programme that may count has a rule for the event. A browser's word earns nothing."""
    return event.event.trusted and event.event.name in wave.earning_events


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
        is_guest=event.customer.external_id is None,
    )


def _counts_at(timestamp: datetime, as_of: datetime) -> tuple[datetime, bool]:
    is_late = as_of - timestamp > LATE
    return (as_of if is_late else timestamp), is_late


async def _claimed(wave: Wave) -> list[EarningEvent]:
    """What customers did as guests and earns now, because we know now who they are."""
    programme = wave.programme
    named = {event.customer.id for event in wave.events if event.identifies and event.customer.external_id is not None}
    if programme is None or not named or programme.definition.guests == "forfeit":
        return []
    found = []
    for customer_id, row in await earnings.claim_guests(wave.session, programme.key, named):
        at, is_late = _counts_at(row.timestamp, wave.as_of)
        is_history = row.source == IMPORT_SOURCE
        found.append(
            EarningEvent(
                *(row.id, row.message_id, customer_id, row.name, row.properties, at),
                is_history=is_history,
                is_late=is_late,
            )
        )
    return found


# The decisions -------------------------------------------------------------------------------------------


async def _decide(wave: Wave, events: Sequence[EarningEvent], claimed: Collection[UUID]) -> None:
    """Decide events, and once more what happened after them; store both, and post the difference."""
    assert wave.programme is not None  # noqa: S101  the caller has asked
    key = wave.programme.key
    first = _first_of(events)
    later = await earnings.decided_after(wave.session, key, first)
    sequence = [*events, *await earnings.events_by_id(wave.session, later)]
    decided = await _decisions(wave, sequence, first, later)
    outcome = _Outcome.of(decided, later)
    await _store(wave, key, outcome)
    orders = {decision.order_id for decision in decided if decision.event.id in claimed}
    await _take_back(wave, {order_id for order_id in orders | outcome.changed_orders if order_id is not None})


def _first_of(events: Iterable[EarningEvent]) -> dict[UUID, Stamp]:
    first: dict[UUID, Stamp] = {}
    for event in events:
        first[event.customer_id] = min(first.get(event.customer_id, event.stamp), event.stamp)
    return first


async def _decisions(
    wave: Wave, sequence: Sequence[EarningEvent], first: Mapping[UUID, Stamp], later: Sequence[Stored]
) -> list[Decision]:
    programmes = {event.id: _programme_for(wave, event) for event in sequence}
    limits = {
        Limit(event.customer_id, rule, period, first[event.customer_id])
        for event in sequence
        for rule, period in limits_of(programmes[event.id], event)
    }
    occasions = {
        occasion_of(rule, event)
        for event in sequence
        for rule in programmes[event.id].definition.earn
        if rule.on.event == event.name
    }
    again = {stored.id for stored in later}
    assert wave.programme is not None  # noqa: S101  the caller has asked
    usage = await earnings.usage_of(wave.session, wave.programme.key, list(limits), occasions, again)
    about = await _circumstances(wave, sequence, programmes)
    found = decide_in_order(sequence, lambda event: programmes[event.id], lambda event: about[event.id], usage)
    return [decision for decision in found if decision.reason not in _FORGOTTEN]


def _programme_for(wave: Wave, event: EarningEvent) -> Programme:
    """The version that was live when the event happened."""
    live = version_at(wave.programmes, event.at)
    assert live is not None  # noqa: S101  one is live
    return Programme(live.key, live.version, live.definition, live.zone, wave.shop.currency)


async def _circumstances(
    wave: Wave, sequence: Sequence[EarningEvent], programmes: Mapping[UUID, Programme]
) -> dict[UUID, Circumstances]:
    """Each event's customer as before it."""
    tiers = await _tiers(wave, sequence, programmes)
    truths = await _truths(wave, sequence, programmes)
    since = min(event.at for event in sequence)
    boosts = await earnings.boosts_of(wave.session, {event.customer_id for event in sequence}, since)
    customers = {customer.id: customer for customer in wave.customers()}
    return {
        event.id: Circumstances(
            _scope(wave, customers[event.customer_id], event),
            tiers.get(event.id),
            truths.get(event.id, {}),
            boosts.get(event.customer_id, ()),
        )
        for event in sequence
    }


def _scope(wave: Wave, customer: BatchCustomer, event: EarningEvent) -> Scope:
    return Scope(as_of=event.at, zone=wave.zone_of(customer), customer=customer.facts(), entry=_entry(event))


def _entry(event: EarningEvent) -> dict[str, Any]:
    """The event as conditions see it."""
    return {
        "event": event.name,
        "properties": dict(event.properties),
        "timestamp": event.at.isoformat(),
        "event_id": str(event.id),
        "message_id": event.message_id,
    }


async def _tiers(
    wave: Wave, sequence: Sequence[EarningEvent], programmes: Mapping[UUID, Programme]
) -> dict[UUID, str | None]:
    """The tier before each event. One question for the first event of every customer, one for the second, ..."""
    found: dict[UUID, str | None] = {}
    waiting = [event for event in sequence if programmes[event.id].definition.tiers is not None]
    while waiting:
        asked = {event.customer_id: event for event in waiting}
        tiers = await tiers_before(wave.session, {id_: event.at for id_, event in asked.items()})
        found |= {event.id: tiers.get(id_) for id_, event in asked.items()}
        waiting = [event for event in waiting if event.id not in found]
    return found


async def _truths(
    wave: Wave, sequence: Sequence[EarningEvent], programmes: Mapping[UUID, Programme]
) -> dict[UUID, dict[str, bool]]:
    """Whether each condition held, by its pointer: one question for each condition, about all its events."""
    asked: dict[tuple[int, str], tuple[Condition, list[EarningEvent]]] = {}
    for event in sequence:
        programme = programmes[event.id]
        for pointer, condition in conditions_of(programme.definition, event.name):
            asked.setdefault((programme.version, pointer), (condition, []))[1].append(event)
    numbers = {event.customer.id: event.number for event in wave.events}
    defaults = ShopDefaults(zone=wave.shop.zone, consent=wave.shop.consent_defaults)
    found: dict[UUID, dict[str, bool]] = {}
    for (_, pointer), (condition, events) in asked.items():
        subjects = [
            Subject(customer_id=each.customer_id, as_of=each.at, number=numbers[each.customer_id], entry=_entry(each))
            for each in events
        ]
        verdicts = await judge(wave.session, condition, subjects, shop=defaults)
        for event, verdict in zip(events, verdicts, strict=True):
            found.setdefault(event.id, {})[pointer] = verdict.holds
    return found


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


@dataclass(frozen=True, slots=True)
class _Due:
    """What a decision must have paid in the end: `net` points, after `taken_back` by refunds."""

    id: UUID
    account: UUID
    rule: str
    earned_at: datetime
    activates_at: datetime | None
    expires_at: datetime | None
    order_id: str | None
    net: int
    credits: Sequence[Posted] = ()
    taken_back: int = 0

    @classmethod
    def of(cls, id_: UUID, decision: Decision, before: Stored | None = None) -> _Due:
        """By a decision that is new, or takes the place of a stored one."""
        back = min(before.taken_back, decision.points) if before else 0
        return cls(
            *(id_, decision.event.customer_id, decision.rule, decision.event.at),
            *(decision.activates_at, decision.expires_at, decision.order_id, decision.points - back),
            credits=before.credits if before else (),
            taken_back=back,
        )

    @classmethod
    def again(cls, row: Stored, net: int, back: int) -> _Due:
        """By a stored decision."""
        return cls(
            *(row.id, row.customer_id, row.rule, row.stamp.timestamp),
            *(row.activates_at, row.expires_at, row.order_id, net),
            credits=row.credits,
            taken_back=back,
        )


async def _store(wave: Wave, programme: str, outcome: _Outcome) -> None:
    """Store decisions and post what they pay. A new one whose occasion another router has just taken is left out."""
    await earnings.withdraw(wave.session, [row.id for row in outcome.withdrawn])
    await earnings.change(wave.session, programme, outcome.changed, wave.as_of)
    added = await earnings.add(wave.session, programme, outcome.new, wave.as_of)
    dues = [
        *(_Due.of(id_, decision) for id_, decision in outcome.new.items() if id_ in added),
        *(_Due.of(id_, decision, outcome.stored[id_]) for id_, decision in outcome.changed.items()),
        *(_Due.again(row, 0, 0) for row in outcome.withdrawn),
    ]
    await _pay(wave.session, programme, dues, wave.as_of)


async def _take_back(wave: Wave, order_ids: Collection[str]) -> None:
    """Work out what all refunds of these orders take back together, and move the difference."""
    if wave.programme is None or not order_ids:
        return
    rows = await earnings.of_orders(wave.session, wave.programme.key, order_ids)
    if not rows:
        return
    ids = {row.order_id for row in rows if row.order_id is not None}
    refunds = await refunds_of(wave.session, ids)
    cancelled = await earnings.cancelled_orders(wave.session, ids)
    dues = []
    for row in rows:
        order_id = row.order_id or ""
        target = taken_back(row.frozen, refunds[order_id], is_cancelled=order_id in cancelled)
        if _is_kept(wave, row):
            target = 0
        if target != row.taken_back:
            dues.append(_Due.again(row, row.frozen.points - target, target))
    await _pay(wave.session, wave.programme.key, dues, wave.as_of)


def _is_kept(wave: Wave, row: Stored) -> bool:
    """Whether the version that decided lets customers keep what refunded orders earned."""
    programme = next((each for each in wave.programmes if each.version == row.version), wave.programme)
    rule = programme.definition.rule(row.rule) if programme else None
    policy = (rule and rule.clawback) or (programme and programme.definition.clawback)
    return policy == "keep"


async def _pay(session: WriteSession, programme: str, dues: Iterable[_Due], as_of: datetime) -> None:
    """Bring what each decision has posted to what it must come to."""
    moves: list[Move] = []
    changed: dict[UUID, tuple[Sequence[Posted], int]] = {}
    for due in dues:
        adjustment = adjusted(due.credits, due.net, f"earn/{due.rule}/{due.id}")
        if adjustment.added is not None:
            moves.append(_credit(due, adjustment.added))
        moves += [_clawback(due, lowered) for lowered in adjustment.lowered]
        changed[due.id] = (adjustment.credits, due.taken_back)
    await points.post(session, programme, moves, as_of)
    await earnings.write_credits(session, changed)


def _credit(due: _Due, credit: Posted) -> Credit:
    return Credit(
        *(due.account, credit.key, credit.points, CreditKind.EARN),
        earned_at=due.earned_at,
        source=due.rule,
        activates_at=due.activates_at,
        expires_at=due.expires_at,
        reference=due.order_id,
    )


def _clawback(due: _Due, credit: Posted) -> Clawback:
    return Clawback(due.account, f"{credit.key}/taken/{credit.taken}", of=credit.key, target=credit.taken)
