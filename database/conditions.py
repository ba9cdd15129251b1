"""The SQL evaluator of conditions: one statement for many subjects, or one for a whole audience.

The in-memory evaluator is domain/conditions/memory.py; tests/database/test_conditions_agree.py proves that they agree.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    DateTime,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    cast,
    column,
    false,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB

from database.condition_leaves import Frame, leaf_holds
from database.condition_values import Sql
from database.customers import Customer, trusted_traits
from database.session import ReadSession
from domain.conditions.model import (
    AllHold,
    AnyHolds,
    Condition,
    NotHolds,
)
from domain.conditions.subject import ShopDefaults, Subject, Verdict
from domain.conditions.trust import depends_on_trust
from domain.conditions.walk import failed_leaf, leaves
from domain.local_time import ZONES

__all__ = ["ShopDefaults", "Subject", "Verdict", "judge", "matching"]

_NO_DEFAULTS = ShopDefaults()


async def judge(
    session: ReadSession,
    condition: Condition,
    subjects: Sequence[Subject],
    *,
    shop: ShopDefaults = _NO_DEFAULTS,
    explain: bool = False,
    trusted: bool = False,
    compare: bool = False,
) -> list[Verdict]:
    """Judge all subjects in one statement; the verdicts stand in the order of the subjects.

    `trusted`: on trusted facts alone, as everything must be that decides about value. `compare`: on all facts, and
    whether trusted ones alone come to the same. A customer that does not exist has no traits, events or messages.

    Raises
    NotAvailableYet for the forms of a later release, which the checks refuse before anything is published.
    """
    if not subjects:
        return []
    asked = _Asked(explain=explain, trusted=trusted, compare=compare and depends_on_trust(condition))
    statement = _kept_judgement(condition, shop, asked)
    rows = await session.execute(statement, {"subjects": _document(subjects)})
    return [_verdict(condition, row, asked) for row in rows]


def matching(
    condition: Condition, as_of: datetime, shop: ShopDefaults = _NO_DEFAULTS, *, trusted: bool = False
) -> Select[UUID]:
    """The ids of all customers for whom the condition holds; there is no run, so nothing of one is known.

    `trusted`: on trusted facts alone.
    """
    nothing = cast(null(), JSONB)
    traits = trusted_traits() if trusted else Customer.__table__.c.traits
    frame = Frame(
        as_of=literal(as_of, DateTime(timezone=True)),
        zone=_trusted_zone(traits, shop) if trusted else _zone(shop, Customer.zone),
        entry=nothing,
        customer=_profile(traits),
        saved=nothing,
        customer_id=Customer.__table__.c.id,
        traits=traits,
        number=cast(null(), BigInteger),
        until_time=cast(null(), DateTime(timezone=True)),
        until_sent=cast(null(), DateTime(timezone=True)),
        until_id=cast(null(), Uuid),
        variants=nothing,
        entered_at=cast(null(), DateTime(timezone=True)),
        entry_number=cast(null(), BigInteger),
        shop=shop,
        trusted=trusted,
    )
    alive = and_(Customer.merged_into.is_(None), Customer.erased_at.is_(None))
    return select(Customer.id).where(alive, _holds(condition, frame))


def _document(subjects: Sequence[Subject]) -> str:
    """The subjects as one JSON parameter, each with its position."""
    names = [field.name for field in fields(Subject)]
    rows = ({name: getattr(subject, name) for name in names} for subject in subjects)
    document = [{"ordinal": position, **row} for position, row in enumerate(rows)]
    return orjson.dumps(document, default=str).decode()  # ids read from PostgreSQL are asyncpg's own UUIDs


class _Asked(NamedTuple):
    """What a judgement is to say, and from which facts."""

    explain: bool
    trusted: bool
    compare: bool


def _verdict(condition: Condition, row: Any, asked: _Asked) -> Verdict:  # a Row of booleans of no fixed number
    _, holds, by_trusted, *leaf_values = row
    is_trusted = holds == by_trusted
    if holds or not asked.explain:
        return Verdict(holds, is_trusted=is_trusted)
    pointers = (pointer for pointer, _ in leaves(condition))
    return Verdict(holds, failed_leaf(condition, dict(zip(pointers, leaf_values, strict=True))), is_trusted)


_Known = tuple[int, str, str, tuple[tuple[str, str], ...], _Asked]
_kept: OrderedDict[_Known, tuple[Condition, Select[Any]]] = OrderedDict()
_MOST_KEPT = 1_000


def _kept_judgement(condition: Condition, shop: ShopDefaults, asked: _Asked) -> Select[Any]:
    """The statement for this very object of a condition: the router asks about few conditions very often."""
    known = (id(condition), shop.zone, shop.currency, tuple(sorted(shop.consent.items())), asked)
    if known not in _kept:
        _kept[known] = condition, _judgement(condition, shop, asked)  # keeps the condition, and so its id
    _kept.move_to_end(known)
    while len(_kept) > _MOST_KEPT:
        _kept.popitem(last=False)
    return _kept[known][1]


def _judgement(condition: Condition, shop: ShopDefaults, asked: _Asked) -> Select[Any]:
    """One row per subject: its position, whether the condition holds, whether trusted facts alone make it hold (to
    compare) and, to explain, what each leaf came to.
    """
    instant = DateTime(timezone=True)
    given = (
        func.jsonb_to_recordset(bindparam("subjects", type_=Text).cast(JSONB))
        .table_valued(
            column("ordinal", BigInteger),
            column("customer_id", Uuid),
            column("as_of", instant),
            column("number", BigInteger),
            column("until_time", instant),
            column("until_sent", instant),
            column("until_id", Uuid),
            column("entry", JSONB),
            column("saved", JSONB),
            column("variants", JSONB),
            column("entered_at", instant),
            column("entry_number", BigInteger),
        )
        .render_derived(name="given", with_types=True)
    )
    trusted = trusted_traits()
    everything = [
        Customer.traits,
        _profile(Customer.traits).label("customer"),
        _zone(shop, Customer.zone).label("zone"),
    ]
    of_trust = [
        *(trusted.label("trusted_traits"), _profile(trusted).label("trusted_customer")),
        _trusted_zone(trusted, shop).label("trusted_zone"),
    ]
    known = select(given, *everything, *(of_trust if asked.trusted or asked.compare else []))
    # Customers by primary key. Materialised, so that a zone is looked up once and not once for each place that uses it.
    joined = known.outerjoin_from(given, Customer, Customer.id == given.c.customer_id)
    subject = joined.cte("subject").prefix_with("MATERIALIZED")
    columns: dict[str, Any] = {  # by the names of the fields
        one.name: subject.c[one.name] for one in fields(Frame) if one.name not in ("shop", "trusted")
    }
    frame = Frame(**columns, shop=shop)
    if asked.trusted:
        frame = _on_trusted_facts(frame, subject)
    explained = [_holds(leaf, frame).label(f"leaf_{n}") for n, (_, leaf) in enumerate(leaves(condition))]
    holds = _holds(condition, frame).label("holds")
    same = holds if not asked.compare else _holds(condition, _on_trusted_facts(frame, subject))
    shown = [subject.c.ordinal, holds, same.label("by_trusted")]
    return select(*shown, *(explained if asked.explain else [])).order_by(subject.c.ordinal)


def _on_trusted_facts(frame: Frame, subject: CTE) -> Frame:
    columns = subject.c
    return replace(
        frame,
        traits=columns.trusted_traits,
        customer=columns.trusted_customer,
        zone=columns.trusted_zone,
        trusted=True,
    )


def _profile(traits: Any) -> Sql:
    """The customer as references see it: the shop's own id and the traits."""
    return func.jsonb_build_object("id", Customer.external_id, "traits", traits, type_=JSONB)


def _trusted_zone(traits: Sql, shop: ShopDefaults) -> Sql:
    """The zone by the traits that count; a device has none."""
    return _zone(shop, traits.op("->>", return_type=Text())(literal("timezone", Text)))


def _zone(shop: ShopDefaults, zone: Any) -> Sql:
    """The customer's zone if it is one that Python and this PostgreSQL both know (an unknown one would raise)."""
    known = func.jsonb_exists(literal(sorted(ZONES), JSONB), zone)
    readable = func.pg_input_is_valid("2000-01-01 00:00:00 " + zone, "timestamp with time zone")
    return case((and_(known, readable), zone), else_=literal(shop.zone, Text))


def _holds(condition: Condition, frame: Frame) -> ColumnElement[bool]:
    """The condition as an expression that is true or false, never null."""
    match condition:
        case AllHold(all=inner):
            return and_(true(), *(_holds(one, frame) for one in inner))
        case AnyHolds(any=inner):
            return or_(false(), *(_holds(one, frame) for one in inner))
        case NotHolds(not_=one):
            return not_(_holds(one, frame))
        case _:
            return leaf_holds(condition, frame)
