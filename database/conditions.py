"""The SQL evaluator of conditions: one statement for many subjects, or one for a whole audience.

The in-memory evaluator is domain/conditions/memory.py; tests/database/test_conditions_agree.py proves that they agree.
"""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, assert_never
from uuid import UUID

import orjson
from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Date,
    DateTime,
    FromClause,
    Numeric,
    Select,
    Text,
    Uuid,
    and_,
    any_,
    bindparam,
    case,
    cast,
    column,
    distinct,
    false,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import BIT, JSONB
from sqlalchemy.orm import aliased

from database.comparisons import SCALARS, Ground, Sql, compared, figure_holds, local_day, shifted, spread
from database.consent import Consent
from database.customers import Customer
from database.events import Event
from database.messages import Message, MessageEvent
from database.session import ReadSession
from domain.conditions import buckets
from domain.conditions.dates import moment_of
from domain.conditions.model import (
    AggregateIs,
    AllHold,
    AllOf,
    AnyHolds,
    AnyOf,
    Condition,
    ConsentIs,
    Did,
    EventIs,
    InBucket,
    MessageWas,
    NotHolds,
    NotOf,
    PointsAre,
    Predicate,
    PropertyIs,
    ScoreIs,
    SegmentIs,
    TierIs,
    TimeBounded,
    TraitIs,
    VariantIs,
)
from domain.conditions.paths import steps_of
from domain.conditions.subject import ShopDefaults, Subject, Verdict
from domain.conditions.walk import failed_leaf, leaves
from domain.durations import parse_duration
from domain.errors import NotAvailableYet
from domain.local_time import ZONES

Compare = Callable[[Sql, Any], ColumnElement[bool]]  # an operator of SQLAlchemy expressions and plain values

__all__ = ["ShopDefaults", "Subject", "Verdict", "judge", "matching"]

_NO_DEFAULTS = ShopDefaults()


@dataclass(frozen=True, slots=True)
class _Frame(Ground):
    """All columns that a condition may refer to. Null: the subject has none of it."""

    customer_id: Sql
    traits: Sql
    number: Sql
    variants: Sql
    entered_at: Sql
    entry_number: Sql
    shop: ShopDefaults


async def judge(
    session: ReadSession,
    condition: Condition,
    subjects: Sequence[Subject],
    *,
    shop: ShopDefaults = _NO_DEFAULTS,
    explain: bool = False,
) -> list[Verdict]:
    """Judge all subjects in one statement; the verdicts stand in the order of the subjects.

    A customer that does not exist has no traits, events or messages. Raises NotAvailableYet for the forms of a later
    release, which the checks refuse before anything is published.
    """
    if not subjects:
        return []
    statement = _kept_judgement(condition, shop, explain=explain)
    rows = await session.execute(statement, {"subjects": _document(subjects)})
    return [_verdict(condition, row, explain=explain) for row in rows]


def matching(condition: Condition, as_of: datetime, shop: ShopDefaults = _NO_DEFAULTS) -> Select[UUID]:
    """The ids of all customers for whom the condition holds; there is no run, so nothing of one is known."""
    nothing = cast(null(), JSONB)
    frame = _Frame(
        as_of=literal(as_of, DateTime(timezone=True)),
        zone=_zone(Customer.zone, shop),
        entry=nothing,
        customer=_profile(),
        saved=nothing,
        customer_id=Customer.__table__.c.id,
        traits=Customer.__table__.c.traits,
        number=cast(null(), BigInteger),
        variants=nothing,
        entered_at=cast(null(), DateTime(timezone=True)),
        entry_number=cast(null(), BigInteger),
        shop=shop,
    )
    alive = and_(Customer.merged_into.is_(None), Customer.erased_at.is_(None))
    return select(Customer.id).where(alive, _holds(condition, frame))


def _document(subjects: Sequence[Subject]) -> str:
    """The subjects as one JSON parameter, each with its position."""
    names = [field.name for field in fields(Subject)]
    rows = ({name: getattr(subject, name) for name in names} for subject in subjects)
    document = [{"ordinal": position, **row} for position, row in enumerate(rows)]
    return orjson.dumps(document, default=str).decode()  # ids read from PostgreSQL are asyncpg's own UUIDs


def _verdict(condition: Condition, row: Any, *, explain: bool) -> Verdict:  # a Row of booleans of no fixed number
    _, holds, *leaf_values = row
    if holds or not explain:
        return Verdict(holds)
    pointers = (pointer for pointer, _ in leaves(condition))
    return Verdict(holds, failed_leaf(condition, dict(zip(pointers, leaf_values, strict=True))))


_Asked = tuple[int, str, tuple[tuple[str, str], ...], bool]
_kept: OrderedDict[_Asked, tuple[Condition, Select[Any]]] = OrderedDict()
_MOST_KEPT = 1_000


def _kept_judgement(condition: Condition, shop: ShopDefaults, *, explain: bool) -> Select[Any]:
    """The statement for this very object of a condition: the router asks about few conditions very often."""
    asked = (id(condition), shop.zone, tuple(sorted(shop.consent.items())), explain)
    if asked not in _kept:
        _kept[asked] = condition, _judgement(condition, shop, explain=explain)  # keeps the condition, and so its id
    _kept.move_to_end(asked)
    while len(_kept) > _MOST_KEPT:
        _kept.popitem(last=False)
    return _kept[asked][1]


def _judgement(condition: Condition, shop: ShopDefaults, *, explain: bool) -> Select[Any]:
    """One row per subject: its position, whether the condition holds and, to explain, what each leaf came to."""
    instant = DateTime(timezone=True)
    given = (
        func.jsonb_to_recordset(bindparam("subjects", type_=Text).cast(JSONB))
        .table_valued(
            column("ordinal", BigInteger),
            column("customer_id", Uuid),
            column("as_of", instant),
            column("number", BigInteger),
            column("entry", JSONB),
            column("saved", JSONB),
            column("variants", JSONB),
            column("entered_at", instant),
            column("entry_number", BigInteger),
        )
        .render_derived(name="given", with_types=True)
    )
    known = select(given, Customer.traits, _profile().label("customer"), _zone(Customer.zone, shop).label("zone"))
    # Customers by primary key. Materialised, so that a zone is looked up once and not once for each place that uses it.
    joined = known.outerjoin_from(given, Customer, Customer.id == given.c.customer_id)
    subject = joined.cte("subject").prefix_with("MATERIALIZED")
    columns = {one.name: subject.c[one.name] for one in fields(_Frame) if one.name != "shop"}
    frame = _Frame(**columns, shop=shop)
    explained = [_holds(leaf, frame).label(f"leaf_{n}") for n, (_, leaf) in enumerate(leaves(condition))]
    holds = _holds(condition, frame).label("holds")
    return select(subject.c.ordinal, holds, *(explained if explain else [])).order_by(subject.c.ordinal)


def _profile() -> Sql:
    """The customer as references see it: the shop's own id and the traits."""
    return func.jsonb_build_object("id", Customer.external_id, "traits", Customer.traits, type_=JSONB)


def _zone(zone: Any, shop: ShopDefaults) -> Sql:
    """The customer's zone if it is one that Python and this PostgreSQL both know (an unknown one would raise)."""
    known = zone == any_(literal(sorted(ZONES), ARRAY(Text)))
    readable = func.pg_input_is_valid("2000-01-01 00:00:00 " + zone, "timestamp with time zone")
    return case((and_(known, readable), zone), else_=literal(shop.zone, Text))


def _holds(condition: Condition, frame: _Frame) -> ColumnElement[bool]:
    """The condition as an expression that is true or false, never null."""
    match condition:
        case AllHold(all=inner):
            return and_(true(), *(_holds(one, frame) for one in inner))
        case AnyHolds(any=inner):
            return or_(false(), *(_holds(one, frame) for one in inner))
        case NotHolds(not_=one):
            return not_(_holds(one, frame))
        case Did():
            return _did(condition, frame)
        case AggregateIs():
            return _aggregate(condition, frame)
        case MessageWas():
            return _message(condition, frame)
        case ConsentIs():
            return _consent(condition, frame)
        case _:
            return _without_rows(condition, frame)


_WithoutRows = TraitIs | EventIs | VariantIs | InBucket | SegmentIs | PointsAre | TierIs | ScoreIs


def _without_rows(condition: _WithoutRows, frame: _Frame) -> ColumnElement[bool]:
    """The forms that need no other rows than the subject's own."""
    match condition:
        case TraitIs():
            return compared(frame.traits, condition.trait, condition.comparison, frame)
        case EventIs():
            return compared(frame.entry, condition.event, condition.comparison, frame)
        case VariantIs(variant=step, eq=arm):
            assigned = frame.variants.op("->>", return_type=Text())(literal(step, Text))
            return func.coalesce(assigned == literal(arm, Text), false())
        case InBucket(bucket=bucket, salt=salt):
            low, high = buckets.positions(bucket)
            return _position(frame.customer_id, salt).between(low, high - 1)
        case SegmentIs() | PointsAre() | TierIs() | ScoreIs():
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


def _did(condition: Did, frame: _Frame) -> ColumnElement[bool]:
    event = aliased(Event)
    low, high = condition.bounds
    count = func.count()
    enough = count >= low if high is None else count.between(low, high)
    # One customer's events of one name, by time: ix_events_customer_name.
    counted = select(enough).select_from(event).where(*_counting(event, condition, condition.did, frame))
    return counted.correlate_except(event).scalar_subquery()


def _aggregate(condition: AggregateIs, frame: _Frame) -> ColumnElement[bool]:
    event = aliased(Event)
    elements: list[FromClause] = []
    value = _payload(event, condition.of, elements) if condition.of else literal("event", JSONB)
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


def _payload(event: type[Event], path: str, elements: list[FromClause]) -> Sql:
    """The values at a path into the event; each array that it goes into joins `elements`, the FROM list."""
    root, *steps = steps_of(path)
    columns: dict[str | None, Sql] = {"properties": event.properties.expression, "context": event.context.expression}
    return spread(columns.get(root, literal(None, JSONB)), tuple(steps), elements)


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


def _counting(event: type[Event], bounds: Did | AggregateIs, name: str, frame: _Frame) -> list[ColumnElement[bool]]:
    """Which events count: the subject's, of this name, routed in its past, in the time asked for, with this payload."""
    return [
        event.customer_id == frame.customer_id,
        event.name == literal(name, Text),
        event.number <= func.coalesce(frame.number, event.number),
        *_in_time(event, bounds, frame),
        *(_predicate(predicate, event, frame) for predicate in bounds.where),
    ]


def _in_time(event: type[Event], bounds: TimeBounded, frame: _Frame) -> Iterator[ColumnElement[bool]]:
    if bounds.within is not None:
        yield event.timestamp >= shifted(frame, parse_duration(bounds.within), -1)
    if bounds.since is not None:
        yield _beside(event.timestamp.expression, bounds.since, operator.ge, frame)
    if bounds.until is not None:
        yield _beside(event.timestamp.expression, bounds.until, operator.le, frame)
    if bounds.since_entry:
        by_number = event.number > frame.entry_number
        yield case((frame.entry_number.is_not(None), by_number), else_=event.timestamp > frame.entered_at)


def _beside(timestamp: Sql, text: str, holds: Compare, frame: _Frame) -> ColumnElement[bool]:
    """Compare an instant with the one that the condition writes, or its local day with the day written."""
    match moment_of(text):
        case datetime() as instant:
            return holds(timestamp, literal(instant, DateTime(timezone=True)))
        case day:
            return holds(local_day(timestamp, frame), literal(day, Date))


def _predicate(predicate: Predicate, event: type[Event], frame: _Frame) -> ColumnElement[bool]:
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


def _message(condition: MessageWas, frame: _Frame) -> ColumnElement[bool]:
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


def _consent(condition: ConsentIs, frame: _Frame) -> ColumnElement[bool]:
    consent = aliased(Consent)
    # The latest record: ix_consents_customer.
    latest = (
        select(consent.state)
        .where(
            consent.customer_id == frame.customer_id,
            consent.purpose == literal(condition.consent, Text),
            consent.channel == literal(condition.channel, Text),
        )
        .order_by(consent.at.desc(), consent.id.desc())
        .limit(1)
        .correlate_except(consent)
        .scalar_subquery()
    )
    default = frame.shop.consent.get(condition.consent, "none")
    return func.coalesce(latest, literal(default, Text)) == literal(condition.eq, Text)
