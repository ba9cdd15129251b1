"""By whose calendar challenges count what happened without a zone of its own."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from database.challenges import LiveChallenge
from domain.local_time import resolve_zone
from triggers.batch import BatchCustomer, Wave


def zone_in(wave: Wave, customer: BatchCustomer, challenge: LiveChallenge) -> ZoneInfo:
    """The member's zone; the shop's where members are compared or added up."""
    return resolve_zone(None, wave.shop.zone) if challenge.definition.is_shared else wave.trusted_zone_of(customer)
