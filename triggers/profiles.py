"""The first reaction: numbers events, folds profiles, and writes both, so that later reactions can ask the database."""

from __future__ import annotations

from uuid import UUID

from database import customers, routing
from database.routing import RoutedEvent
from domain.customers import fold_traits, observe
from domain.events import EventKind
from triggers.batch import BatchEvent, Wave


async def fold_profiles(wave: Wave) -> None:
    """Give each event its routing number, and each customer what its events told."""
    moved: dict[UUID, str] = {}  # from which zone
    zones: list[str] = []
    for event in wave.events:
        before = wave.trusted_zone_of(event.customer).key
        _take(event)
        zones.append(wave.trusted_zone_of(event.customer).key)
        if zones[-1] != before:
            moved.setdefault(event.customer.id, before)
    await routing.keep_zones(wave.session, moved)
    await customers.write(wave.session, [customer.write() for customer in wave.customers()])
    for customer in wave.customers():
        customer.told = False
    routed = [_routed(event, zone) for event, zone in zip(wave.events, zones, strict=True)]
    await routing.mark_routed(wave.session, routed, wave.as_of)


def _routed(event: BatchEvent, zone: str) -> RoutedEvent:
    where = (event.event.id, event.customer.id, event.number, zone)
    return RoutedEvent(*where, event.changed_traits, event.ignored_untrusted)


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
