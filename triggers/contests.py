"""The reaction of contests: what customers do enters them, what they return takes entries out, winners get prizes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from database.announcements import announce
from database.contest_draws import WON
from database.contests import LiveContest, NewEntry, enter, opened_at, remove_entries, remove_moved, taking_entries
from database.orders import orders_given_back
from database.won_prizes import contest_prizes
from domain.commerce import ORDER_CANCELLED, ORDER_EVENTS, ORDER_REFUNDED, text_id
from domain.conditions.scope import Scope
from domain.contests.entries import counted_in, order_source
from domain.identity_resolution import Move
from domain.ids import new_id
from triggers.batch import BatchEvent, Wave
from triggers.guests import told_as_guests, told_since
from triggers.prizes import Grant, grant
from triggers.refunds import is_revision, order_told_by, revision_of, tells_of_orders

_RETURNS = frozenset({ORDER_CANCELLED, ORDER_REFUNDED})


async def follow_contests(wave: Wave) -> None:
    """Only what known customers do enters, and never on the word of a browser."""
    won = [event for event in wave.events if event.is_own and event.event.name == WON]
    if won:
        await _give(wave, won)
    counting = [event for event in wave.events if event.counts_for_value and event.customer.external_id is not None]
    returned = [event for event in wave.events if _returns(event)]  # whoever's customer it comes under
    live = wave.published.contests if counting or returned else {}
    guests = await told_as_guests(wave, _names(live.values()))
    running = [contest for contest in live.values() if not contest.is_paused]
    entries = [entry for contest in running for event in counting for entry in _entries(wave, contest, event)]
    if guests:
        opened = await opened_at(wave.session, {each.key for each in running})
        entries = [*_entered_since(wave, running, guests, opened), *entries]
    returned += [event for event in guests if _returns(event)]
    revised = {event.customer.id for event in counting if is_revision(event)}
    losing = [each.key for each in live.values() if (returned or revised) and each.definition.refunds == "remove"]
    if entries or losing:
        is_taking = await taking_entries(wave.session, {*(entry.contest for entry in entries), *losing})
        entries = [entry for entry in entries if entry.contest in is_taking]
        await enter(wave.session, entries)
        left = await _take_out(wave, is_taking.intersection(losing), returned)
        room = {*left, *((id_, contest) for id_ in revised for contest in is_taking.intersection(losing))}
        await _fill(wave, room, entries)


async def leave_contests(wave: Wave, moves: Sequence[Move], since: Mapping[UUID, datetime]) -> None:
    """What a moved history entered since a moment is not the entry of who loses it; the room goes to what is theirs."""
    live = wave.published.contests
    is_taking = await taking_entries(wave.session, live.keys())
    for move in moves:
        id_ = move.from_customer
        left = await remove_moved(wave.session, is_taking, move, since[id_])
        running = [live[key] for key in sorted(left) if not live[key].is_paused]
        own = await told_since(wave, {id_: since[id_]}, _names(running))
        await enter(wave.session, [entry for each in running for event in own for entry in _entries(wave, each, event)])
        returned = [event for event in own if _returns(event)]
        losing = [each.key for each in running if each.definition.refunds == "remove"]
        await _fill(wave, await _take_out(wave, losing, returned), [])


def _names(contests: Iterable[LiveContest]) -> set[str]:
    """The events that enter, and those that may take out again."""
    found = {name for contest in contests for name in contest.rules}
    return found | _RETURNS if found else found


def _entries(wave: Wave, contest: LiveContest, event: BatchEvent) -> list[NewEntry]:
    """One entry a rule that the event fits."""
    told, zone = event.event, contest.definition.zone_in(wave.shop.zone)
    must_stand = told.name in ORDER_EVENTS and contest.definition.refunds == "remove"
    fitting = contest.rules.get(told.name, [])
    if not fitting or not contest.definition.is_open(told.timestamp, zone):
        return []
    scope = Scope(as_of=told.timestamp, zone=zone, customer=event.customer.trusted_facts())
    return [
        NewEntry(
            contest=contest.key,
            rule=rule.rule,
            source=_source(event),
            customer_id=event.customer.id,
            entries=rule.entries,
            period=counted_in(rule, told.timestamp, zone),
            limit=rule.limit,
            at=told.timestamp,
            id=new_id(),
            order_id=order_told_by(event) if must_stand else None,
        )
        for rule, fits in fitting
        if fits(told.properties, scope)
    ]


def _source(event: BatchEvent) -> str:
    """An order enters once, however many events tell about it."""
    order_id = text_id(event.event.properties.get("order_id")) if event.event.name in ORDER_EVENTS else None
    return f"event/{event.event.id}" if order_id is None else order_source(order_id)


def _returns(event: BatchEvent) -> bool:
    return event.event.name in _RETURNS and tells_of_orders(event)


async def _take_out(wave: Wave, contests: Collection[str], returned: Sequence[BatchEvent]) -> set[tuple[UUID, str]]:
    """The entries of orders of which nothing is left. Answers whose room in which contest is free by it; who is not
    locked here hears of it and takes the room then.
    """
    told: dict[str, list[BatchEvent]] = {}
    for event in returned:
        if (order_id := order_told_by(event)) is not None:
            told.setdefault(order_id, []).append(event)
    gone = await orders_given_back(wave.session, told.keys()) if contests else set()
    if not gone:
        return set()
    orders = {order_source(order_id): order_id for order_id in gone}
    left = await remove_entries(wave.session, contests, list(orders))
    here = {customer.id for customer in wave.customers()}
    away = sorted({(orders[source], owner) for owner, _, source in left if owner not in here})
    revised = [revision_of(told[order_id], order_id, owner) for order_id, owner in away]
    await announce(wave.session, [each for each in revised if each is not None], wave.as_of)
    return {(owner, contest) for owner, contest, _ in left if owner in here}


async def _fill(wave: Wave, room: Collection[tuple[UUID, str]], wanted: Sequence[NewEntry]) -> None:
    """What a limit had no room for, while an order that came back had taken it, enters now: the earliest first."""
    live = wave.published.contests
    running = [live[key] for key in sorted({key for _, key in room}) if not live[key].is_paused]
    opened = await opened_at(wave.session, {each.key for each in running}) if running else {}
    if opened:
        before = min(opened.values()) - timedelta(microseconds=1)  # `told_since` leaves out the moment itself
        own = await told_since(wave, dict.fromkeys((id_ for id_, _ in room), before), _names(running))
        again = [*_entered_since(wave, running, own, opened), *wanted]
        await enter(wave.session, [each for each in again if (each.customer_id, each.contest) in room])


def _entered_since(
    wave: Wave, contests: Sequence[LiveContest], events: Sequence[BatchEvent], opened: Mapping[str, datetime]
) -> list[NewEntry]:
    """The entries of events from before: what was done before a contest was first published never entered it."""
    found = [entry for each in contests for event in events for entry in _entries(wave, each, event)]
    return [entry for entry in found if entry.contest in opened and entry.at >= opened[entry.contest]]


async def _give(wave: Wave, won: Sequence[BatchEvent]) -> None:
    """The prize of the place that was drawn, once; what an event says of a prize is for journeys to tell."""
    prizes = await contest_prizes(wave.session, {str(event.event.properties.get("contest")) for event in won})
    grants = [
        Grant(
            event.customer.id,
            event.event.message_id,
            prizes[event.event.message_id],
            f"contest/{event.event.properties['contest']}",
            event.event.timestamp,
        )
        for event in won
        if event.event.message_id in prizes
    ]
    await grant(wave, grants)
