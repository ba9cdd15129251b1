"""What customers did before, once more as events of the wave: because a trusted source says now whose it was."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from uuid import UUID

from database.histories import vouched_events
from triggers.batch import BatchEvent, Wave

EVER = datetime.min.replace(tzinfo=UTC)
"""Since when, where all that a customer did is asked for."""


async def told_as_guests(wave: Wave, names: Collection[str]) -> list[BatchEvent]:
    """What those whom the wave's events vouch for did as guests, in order; no statement where there is nobody."""
    vouched = {event.customer.id for event in wave.events if event.vouches and event.customer.external_id is not None}
    return await _told(wave, dict.fromkeys(vouched, EVER), names, of_guests=True)


async def told_since(wave: Wave, since: Mapping[UUID, datetime], names: Collection[str]) -> list[BatchEvent]:
    """What customers of the wave did after a moment, in order, as far as it counts for value."""
    return await _told(wave, since, names)


async def _told(
    wave: Wave, since: Mapping[UUID, datetime], names: Collection[str], *, of_guests: bool = False
) -> list[BatchEvent]:
    found = await vouched_events(wave.session, since, names, of_guests=of_guests)
    customers = {customer.id: customer for customer in wave.customers()}
    return [BatchEvent(event, customers[id_], identified=True, identifies=False) for id_, event in found]
