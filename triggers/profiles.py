"""The first reaction: numbers events, folds profiles, and writes both, so that later reactions can ask the database."""

from __future__ import annotations

from database import customers, routing
from database.routing import RoutedEvent
from domain.customers import fold_traits, observe
from domain.events import EventKind
from triggers.batch import BatchEvent, Wave


async def fold_profiles(wave: Wave) -> None:
    """Give each event its routing number, and each customer what its events told."""
    for event in wave.events:
        _take(event)
    await customers.write(wave.session, [customer.write() for customer in wave.customers()])
    for customer in wave.customers():
        customer.told = False
    routed = [_routed(event) for event in wave.events]
    await routing.mark_routed(wave.session, routed, wave.as_of)


def _routed(event: BatchEvent) -> RoutedEvent:
    return RoutedEvent(event.event.id, event.customer.id, event.number, event.changed_traits, event.ignored_untrusted)


def _take(event: BatchEvent) -> None:
    customer, told = event.customer, event.event
    customer.last_number += 1
    event.number = customer.last_number
    customer.seen_at(told.timestamp)
    before = customer.profile
    if told.kind == EventKind.IDENTIFY and told.traits:
        fold = fold_traits(before, told.traits, told.stamp, trusted=told.trusted and event.link_trusted)
        customer.profile, event.changed_traits = fold.profile, dict(fold.changed) or None
        event.ignored_untrusted = list(fold.ignored) or None
    if told.context:
        customer.profile = observe(customer.profile, told.context, told.stamp, trusted=told.trusted)
    if customer.profile is not before:
        customer.told = True
        event.zone_changed = before.zone != customer.profile.zone
