"""The leaves of conditions in SQL: each becomes an expression over the columns of one subject that is never null."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, assert_never

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Date,
    DateTime,
    FromClause,
    Numeric,
    Text,
    and_,
    case,
    cast,
    distinct,
    false,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import BIT, JSONB
from sqlalchemy.orm import aliased

from database.condition_amounts import is_in
from database.condition_carts import cart_holds
from database.condition_loyalty import points_hold, tier_holds
from database.condition_values import SCALARS, Ground, Sql, compared, figure_holds, local_day, shifted, spread
from database.consent import Consent
from database.events import Event
from database.messages import Message, MessageEvent
from database.vouching import is_vouched
from domain.conditions import buckets
from domain.conditions.amounts import holder_of, is_of_money
from domain.conditions.dates import moment_of
from domain.conditions.model import (
    AggregateIs,
    AllOf,
    AnyOf,
    CartIs,
    ConsentIs,
    Did,
    EventIs,
    InBucket,
    MessageWas,
    NotOf,
    PointsAre,
    Predicate,
    PropertyIs,
    SavedIs,
    ScoreIs,
    SegmentIs,
    TierIs,
    TimeBounded,
    TraitIs,
    VariantIs,
)
from domain.conditions.paths import steps_of
from domain.conditions.subject import ShopDefaults
from domain.consent import EVERY_CHANNEL, GIVEN_AT, MARKETING, ConsentSource
from domain.durations import parse_duration
from domain.errors import NotAvailableYet

Compare = Callable[[Sql, Any], ColumnElement[bool]]  # an operator of SQLAlchemy expressions and plain values


@dataclass(frozen=True, slots=True)
class Frame(Ground):
    """All columns that a condition may refer to. Null: the subject has none of it."""

    customer_id: Sql
    traits: Sql
    number: Sql
    until_time: Sql
    until_sent: Sql
    until_id: Sql
    variants: Sql
    entered_at: Sql
    entry_number: Sql
    shop: ShopDefaults
    trusted: bool = False  # events and acts of consent that a browser told do not count


Leaf = (
    TraitIs
    | EventIs
    | Did
    | AggregateIs
    | MessageWas
    | ConsentIs
    | SavedIs
    | VariantIs
    | InBucket
    | SegmentIs
    | PointsAre
    | TierIs
    | CartIs
    | ScoreIs
)


def leaf_holds(condition: Leaf, frame: Frame) -> ColumnElement[bool]:
    """Whether a form that is no logic holds. Raises NotAvailableYet for those of a later release."""
    match condition:
        case Did():
            return _did(condition, frame)
        case AggregateIs():
            return _aggregate(condition, frame)
        case MessageWas():
            return _message(condition, frame)
        case ConsentIs():
            return _consent(condition, frame)
        case PointsAre():
            return points_hold(condition, frame.customer_id, frame)
        case TierIs():
            return tier_holds(condition, frame.customer_id, frame)
        case CartIs():
            currency = frame.shop.currency
            return cart_holds(condition, frame.customer_id, frame, currency=currency, trusted=frame.trusted)
        case _:
            return _without_rows(condition, frame)


_WithoutRows = TraitIs | EventIs | SavedIs | VariantIs | InBucket | SegmentIs | ScoreIs


def _without_rows(condition: _WithoutRows, frame: Frame) -> ColumnElement[bool]:
    """The forms that need no other rows than the subject's own."""
    match condition:
        case TraitIs():
            return compared(frame.traits, condition.trait, condition.comparison, frame)
        case EventIs():
            return compared(frame.entry, condition.event, condition.comparison, frame)
        case SavedIs():
            return compared(frame.saved, condition.saved, condition.comparison, frame)
        case VariantIs(variant=step, eq=arm):
            assigned = frame.variants.op("->>", return_type=Text())(literal(step, Text))
            return func.coalesce(assigned == literal(arm, Text), false())
        case InBucket(bucket=bucket, salt=salt):
            low, high = buckets.positions(bucket)
            return _position(frame.customer_id, salt).between(low, high - 1)
        case SegmentIs() | ScoreIs():
            raise NotAvailableYet(f"Conditions like {condition!r} come with a later release.")
        case _:
            assert_never(condition)


def _position(customer_id: Sql, salt: str) -> Sql:
    """`buckets.position` in SQL."""
    digest = func.sha256(func.convert_to(cast(customer_id, Text) + literal(f":{salt}", Text), "UTF8"))
    hexadecimal = func.encode(func.substring(digest, 1, buckets.HASHED_BYTES), "hex")
    bits = cast(literal("x", Text) + hexadecimal, BIT(buckets.HASHED_BYTES * 8))
    return cast(bits, BigInteger) % buckets.SIZE


# Events --------------------------------------------------------------------------------------------


def _did(condition: Did, frame: Frame) -> ColumnElement[bool]:
    event = aliased(Event)
    low, high = condition.bounds
    count = func.count()
    enough = count >= low if high is None else count.between(low, high)
    # One customer's events of one name, by time: ix_events_customer_name.
    counted = select(enough).select_from(event).where(*_counting(event, condition, condition.did, frame))
    return counted.correlate_except(event).scalar_subquery()


def _aggregate(condition: AggregateIs, frame: Frame) -> ColumnElement[bool]:
    event = aliased(Event)
    elements: list[FromClause] = []
    value = _value(event, condition, frame, elements)
    figure, scale = _figure(condition.aggregate, value)
    # One customer's events of one name, by time: ix_events_customer_name.
    figured = (
        select(figure.label("figure"), scale.label("scale"))
        .select_from(event, *elements)
        .where(*_counting(event, condition, condition.over, frame))
        .correlate_except(event, *elements)
        .subquery()
    )
    holds = func.coalesce(figure_holds(figured.c.figure, figured.c.scale, condition.comparison, frame), false())
    return select(holds).select_from(figured).correlate_except(figured).scalar_subquery()


def _value(event: type[Event], condition: AggregateIs, frame: Frame, elements: list[FromClause]) -> Sql:
    """What the figure is made of, once for each value; null where it is an amount in another currency."""
    if condition.of is None:
        return literal("event", JSONB)
    if not is_of_money(condition):
        return _payload(event, condition.of, elements)
    wanted, properties = condition.currency or frame.shop.currency, event.properties.expression
    value: Sql
    beside: Sql
    if (holder := holder_of(condition.of)) is None:
        value, beside = _payload(event, condition.of, elements), cast(null(), JSONB)
    else:
        each = _payload(event, holder[0], elements)
        value, beside = spread(each, (holder[1],), elements), spread(each, ("currency",), elements)
    return case((is_in(wanted, beside, properties, frame.shop.currency), value))


def _payload(event: type[Event], path: str, elements: list[FromClause]) -> Sql:
    """The values at a path into the event; each array that it goes into joins `elements`, the FROM list."""
    root, *steps = steps_of(path)
    columns = {"properties": event.properties.expression, "context": event.context.expression}
    return spread(columns.get(str(root), literal(None, JSONB)), tuple(steps), elements)


def _figure(aggregate: str, value: Sql) -> tuple[Sql, Sql]:
    """The aggregate as a fraction: an average needs no rounding. Sums and counts of nothing are 0, others null."""
    number = case((func.jsonb_typeof(value) == "number", cast(value, Numeric)))
    one = literal(1, Numeric)
    match aggregate:
        case "sum":
            return func.coalesce(func.sum(number), 0), one
        case "avg":
            return func.sum(number), func.count(number)
        case "min":
            return func.min(number), one
        case "max":
            return func.max(number), one
        case "count":
            return func.count(case((func.jsonb_typeof(value) != "null", 1))), one
        case _:
            scalar = func.jsonb_typeof(value).in_(SCALARS)
            return func.count(distinct(case((scalar, value)))), one


def _counting(event: type[Event], bounds: Did | AggregateIs, name: str, frame: Frame) -> list[ColumnElement[bool]]:
    """Which events count: the subject's, of this name, routed in its past, in the time asked for, with this payload."""
    return [
        event.customer_id == frame.customer_id,
        event.name == literal(name, Text),
        event.number <= func.coalesce(frame.number, event.number),
        _not_after(event, frame),
        *([is_vouched(event)] if frame.trusted else []),
        *_in_time(event, bounds, frame),
        *(_predicate(predicate, event, frame) for predicate in bounds.where),
    ]


def _not_after(event: type[Event], frame: Frame) -> ColumnElement[bool]:
    """Whether it happened up to the last event that counts, by the order of events: (time, sent, id)."""
    last = tuple_(frame.until_time, frame.until_sent, frame.until_id)
    return or_(frame.until_id.is_(None), tuple_(event.timestamp, event.sent, event.id) <= last)


def _in_time(event: type[Event], bounds: TimeBounded, frame: Frame) -> Iterator[ColumnElement[bool]]:
    if bounds.within is not None:
        yield event.timestamp >= shifted(frame, parse_duration(bounds.within), -1)
    if bounds.since is not None:
        yield _beside(event.timestamp.expression, bounds.since, operator.ge, frame)
    if bounds.until is not None:
        yield _beside(event.timestamp.expression, bounds.until, operator.le, frame)
    if bounds.since_entry:
        by_number = event.number > frame.entry_number
        yield case((frame.entry_number.is_not(None), by_number), else_=event.timestamp > frame.entered_at)


def _beside(timestamp: Sql, text: str, holds: Compare, frame: Frame) -> ColumnElement[bool]:
    """Compare an instant with the one that the condition writes, or its local day with the day written."""
    match moment_of(text):
        case datetime() as instant:
            return holds(timestamp, literal(instant, DateTime(timezone=True)))
        case day:
            return holds(local_day(timestamp, frame), literal(day, Date))


def _predicate(predicate: Predicate, event: type[Event], frame: Frame) -> ColumnElement[bool]:
    match predicate:
        case AllOf(all=inner):
            return and_(true(), *(_predicate(one, event, frame) for one in inner))
        case AnyOf(any=inner):
            return or_(false(), *(_predicate(one, event, frame) for one in inner))
        case NotOf(not_=one):
            return not_(_predicate(one, event, frame))
        case PropertyIs():
            return compared(event.properties.expression, predicate.property, predicate.comparison, frame)
        case _:
            assert_never(predicate)


# Messages and consent ------------------------------------------------------------------------------


def _message(condition: MessageWas, frame: Frame) -> ColumnElement[bool]:
    message, report = aliased(Message), aliased(MessageEvent)
    filters = [
        getattr(message, name) == literal(wanted, Text)
        for name in ("template", "journey", "campaign", "channel")
        if (wanted := getattr(condition, name)) is not None
    ]
    # One customer's messages: ix_messages_customer; what became of each: ix_message_events_message.
    of_customer = select(1).where(message.customer_id == frame.customer_id, *filters)
    if condition.message == "sent":
        at: Sql = message.accepted_at.expression
        happened = of_customer.where(at.is_not(None))
    else:
        at = report.at.expression
        by_person = [report.actor == "human"] if condition.message in ("opened", "clicked") else []
        kind = literal(condition.message, Text)
        happened = of_customer.where(report.message_id == message.id, report.kind == kind, *by_person)
    if condition.within is not None:
        happened = happened.where(at >= shifted(frame, parse_duration(condition.within), -1))
    return happened.correlate_except(message, report).exists()


def _consent(condition: ConsentIs, frame: Frame) -> ColumnElement[bool]:
    consent, other = aliased(Consent), aliased(Consent)
    channel = literal(condition.channel, Text)
    # Somebody else who reads the mailbox took the consent back: ix_consents_withdrawn.
    taken_back = (
        select(1)
        .where(
            other.address_hash == consent.address_hash,
            other.state == "unsubscribed",
            other.customer_id != consent.customer_id,
            other.purpose.in_([condition.consent, MARKETING]),
            or_(other.channel == channel, other.channel == EVERY_CHANNEL),
            or_(
                tuple_(other.at, other.sent, other.event_id) > tuple_(consent.at, consent.sent, consent.event_id),
                and_(consent.source == ConsentSource.IMPORT, not_(consent.evidence.has_key(GIVEN_AT))),
            ),
            *([not_(_told_by_browser(other.event_id))] if frame.trusted else []),
        )
        .correlate_except(other)
        .exists()
    )
    # The latest record that counts at the present address: ix_consents_customer.
    latest = (
        select(case((and_(consent.state == "subscribed", taken_back), "unsubscribed"), else_=consent.state))
        .where(
            consent.customer_id == frame.customer_id,
            consent.purpose == literal(condition.consent, Text),
            consent.channel == channel,
            consent.counts,
            *([not_(_told_by_browser(consent.event_id))] if frame.trusted else []),
        )
        .order_by(consent.at.desc(), consent.sent.desc(), consent.event_id.desc())
        .limit(1)
        .correlate_except(consent)
        .scalar_subquery()
    )
    default = frame.shop.consent.get(condition.consent, "none")
    return func.coalesce(latest, literal(default, Text)) == literal(condition.eq, Text)


def _told_by_browser(event_id: Any) -> ColumnElement[bool]:  # a column
    event = aliased(Event)
    told = select(1).where(event.id == event_id, not_(event.trusted))
    return told.correlate_except(event).exists()
