"""Date entries: when the dates in customers' traits next fall due, kept beside the profile as it changes."""

from __future__ import annotations

from database import dates
from database.dates import Due
from domain.events import EventKind
from domain.journeys.dates import due_of
from triggers.batch import BatchCustomer, BatchEvent, Wave
from triggers.live import LiveJourney


async def keep_dates(wave: Wave) -> None:
    """Work out again what falls due for customers whose dates or zone changed, or whom we have just come to know."""
    if not wave.live.date_traits:
        return
    touched = {event.customer.id: event.customer for event in wave.events if _touches_dates(wave, event)}
    await replace_dues(wave, list(touched.values()))


async def replace_dues(wave: Wave, customers: list[BatchCustomer]) -> None:
    """Write the next due dates of these customers in place of those that were there."""
    if customers:
        dues = [
            due
            for customer in customers
            for journey in wave.live.journeys.values()
            for due in _dues(wave, customer, journey)
        ]
        await dates.replace(wave.session, [customer.id for customer in customers], dues)


def _touches_dates(wave: Wave, event: BatchEvent) -> bool:
    changed = event.changed_traits or {}
    is_joined = event.identifies or event.event.kind == EventKind.ALIAS
    return is_joined or event.zone_changed or not wave.live.date_traits.isdisjoint(changed)


def _dues(wave: Wave, customer: BatchCustomer, journey: LiveJourney) -> list[Due]:
    found = []
    for position, entry in journey.date_entries.items():
        due = due_of(entry.date, customer.profile.traits, wave.zone_of(customer), wave.as_of)
        if due is not None and customer.external_id is not None:
            found.append(Due(journey.key, position, customer.id, due.at, due.day.isoformat()))
    return found
