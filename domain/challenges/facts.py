"""What one recorded event contributes to a challenge: an amount or an item, at an instant, on a local date."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson

from domain.challenges.definition import ChallengeDefinition, Distinct, Sum
from domain.conditions.dates import moment_of, order
from domain.conditions.memory import Scope, compile_where
from domain.conditions.paths import reader
from domain.local_time import resolve_zone
from domain.money import amount_of, currency_of, minor_units

COMPLETED = "Challenge Completed"
"""The event that we append when a member reaches a level."""

_STEP = Decimal("0.001")


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """One event of a member. `kept`: the share of its order that was not given back, 1 for what is no order.

    Of an event about an order, `order_id` names it and `properties` are the order's as it stands now. `is_first`: no
    earlier event told about the same order. `zone`: the member's when the event was routed, None if nobody kept it.
    """

    id: UUID
    name: str
    timestamp: datetime
    properties: Mapping[str, Any]
    context: Mapping[str, Any]
    kept: Fraction = Fraction(1)
    is_first: bool = True
    order_id: str | None = None
    zone: str | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    """A contribution. `items` are what distinct values are told apart by; `key` is the fact's own, whoever tells it."""

    event_id: UUID
    at: datetime
    day: date
    value: Decimal
    items: tuple[str, ...] = ()
    order_id: str | None = None

    @property
    def key(self) -> str | UUID:
        """By which it counts once: an order's number, else the event."""
        return self.order_id or self.event_id


ReadFact = Callable[[RecordedEvent, ZoneInfo], Fact | None]
"""From an event and the member's zone to what it contributes, None if nothing."""


def fact_reader(definition: ChallengeDefinition, since: datetime) -> ReadFact:
    """A function that reads the facts of a challenge; `since` is when events begin to count if it does not say so."""
    fits = compile_where(definition.metric.where)
    amount = _amount_reader(definition)

    def read(event: RecordedEvent, zone: ZoneInfo) -> Fact | None:
        zone = _zone_of(definition, event, zone)
        scope = Scope(as_of=event.timestamp, zone=zone)
        if event.name not in definition.event_names or not _in_time(definition, event, since, zone):
            return None
        if _is_its_own(definition, event) or not fits(event.properties, scope):
            return None
        told = amount(event)
        if told is None:
            return None
        day = event.timestamp.astimezone(zone).date()
        return Fact(event.id, event.timestamp, day, *told, order_id=event.order_id)

    return read


def _zone_of(definition: ChallengeDefinition, event: RecordedEvent, zone: ZoneInfo) -> ZoneInfo:
    """Whoever travels or moves keeps the dates of where they were: the event's own zone, else the member's then."""
    if definition.zone is not None:
        return ZoneInfo(definition.zone)
    own = event.context.get("timezone")
    then = event.zone or zone.key
    return zone if definition.is_shared else resolve_zone(own if isinstance(own, str) else None, then)


def _in_time(definition: ChallengeDefinition, event: RecordedEvent, since: datetime, zone: ZoneInfo) -> bool:
    start = moment_of(definition.from_) or since
    end = moment_of(definition.until)
    return order(event.timestamp, start, zone) >= 0 and (end is None or order(event.timestamp, end, zone) <= 0)


def _is_its_own(definition: ChallengeDefinition, event: RecordedEvent) -> bool:
    """A challenge that counts completions does not count its own."""
    return event.name == COMPLETED and event.properties.get("challenge") == definition.challenge


_Told = tuple[Decimal, tuple[str, ...]]


def _amount_reader(definition: ChallengeDefinition) -> Callable[[RecordedEvent], _Told | None]:
    metric, is_whole = definition.metric, definition.refunds == "ignore"
    read_item = reader(metric.distinct) if isinstance(metric, Distinct) else None
    read_sum = reader(metric.sum) if isinstance(metric, Sum) else None

    def amount(event: RecordedEvent) -> _Told | None:
        kept = Fraction(1) if is_whole else event.kept
        if kept == 0:
            return None
        if read_sum is not None and isinstance(metric, Sum):
            total = _summed(read_sum(_payload(event)), metric.currency, event.properties)
            if event.order_id is not None:  # no order is worth less than nothing
                total = max(total, Decimal())
            return (_share(total, kept), ()) if total else None
        if read_item is not None:
            items = {orjson.dumps(each, option=orjson.OPT_SORT_KEYS).decode() for each in read_item(_payload(event))}
            return (Decimal(1), tuple(sorted(items))) if items else None
        return Decimal(1), ()  # counts and streaks

    return amount


def _payload(event: RecordedEvent) -> dict[str, Any]:
    return {"properties": event.properties, "context": event.context}


def _summed(values: list[Any], currency: str | None, properties: Mapping[str, Any]) -> Decimal:
    """Numbers to a thousandth, half-even; money to the minor unit. What is no number, or is absurd, adds nothing.

    A number in a text is one, as everywhere where shops send amounts and quantities.
    """
    if currency is None:
        numbers = [number for value in values if (number := amount_of(value)) is not None]
        return sum((number.quantize(_STEP, ROUND_HALF_EVEN) for number in numbers), Decimal())
    if currency_of(properties.get("currency"), currency) != currency:
        return Decimal()
    amounts = [minor_units(value, currency) for value in values]
    return Decimal(sum(amount for amount in amounts if amount is not None))


def _share(total: Decimal, kept: Fraction) -> Decimal:
    """What is left after a partial refund, rounded down: half-returned orders never round up to a level."""
    if kept == 1:
        return total
    left = Fraction(total) * kept
    step = Decimal(1) if total == total.to_integral_value() else _STEP
    return (Decimal(left.numerator) / Decimal(left.denominator)).quantize(step, ROUND_FLOOR)
