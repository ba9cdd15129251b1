"""What enters somebody in a simulation besides recorded events, as events of our own: dates, schedules, thresholds."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from domain.journeys.reentry import ITEM, Item
from domain.journeys.waiting import Happening
from domain.simulations import RecordedCustomer
from domain.thresholds import EVENT_OF, Threshold

DUE = "Journey Entry Due"
"""The name of the event by which a date or a schedule enters somebody."""

TOLD = frozenset(EVENT_OF.values())
"""Crossings are worked out anew: those that were told are of the thresholds that journeys had then."""


def crossings(record: RecordedCustomer, thresholds: Collection[Threshold]) -> Iterator[Happening]:
    """The recorded moves that crossed a threshold of the journey, as events of our own."""
    if record.loyalty is None:
        return
    for position, move, threshold, before, after in record.loyalty.crossings(thresholds):
        properties = {"figure": threshold.figure, "threshold": threshold.points, "from": before, "points": after}
        occasion = f"{position}/{'/'.join(map(str, threshold))}"
        yield own_event(record.id, occasion, move.at, name=EVENT_OF[threshold.change], properties=properties)


def own_event(
    customer_id: UUID,
    occasion: str,
    at: datetime,
    *,
    name: str = DUE,
    properties: Mapping[str, Any] | None = None,
    trusted: bool = True,
) -> Happening:
    digest = hashlib.sha256(f"{customer_id}/{occasion}".encode()).digest()[:16]
    return Happening(
        event_id=UUID(bytes=digest), number=0, own=True, name=name,
        properties={"occasion": occasion} if properties is None else properties,
        changed_traits=None, timestamp=at, received_at=at, trusted=trusted,
    )  # fmt: skip


def entry_of(event: Happening, item: Item | None) -> dict[str, Any]:
    """The event as conditions and the run see it."""
    entry = {
        "event": event.name,
        "properties": event.properties,
        "timestamp": event.timestamp.isoformat(),
        "event_id": str(event.event_id),
    }
    return entry if item is None else {**entry, ITEM: item.value}
