"""The currency of amounts in events, in SQL: the rules of domain/conditions/amounts.py, proven equal by a test."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import FromClause, Text, and_, case, collate, distinct, func, literal, literal_column, null, or_, select
from sqlalchemy.dialects.postgresql import JSONB

from database.condition_values import Sql, spread
from domain.conditions.paths import EACH
from domain.money import BLANKS, SPELLINGS, UNKNOWN_CURRENCY

_NOTHING: Final[list[Any]] = [None, [], {}, ""]
"""What states no currency."""


def is_in(currency: str, beside: Sql, properties: Sql, shop: str) -> Sql:
    """Whether an amount is in a currency: by what stands `beside` it, else by its event, else it is in the shop's."""
    own = _stated(spread(properties, ("currency",), []))
    stated = func.coalesce(_stated(beside), own, _of_products(properties), literal(shop, Text))
    return stated == literal(currency, Text)


def _of_products(properties: Sql) -> Sql:
    """The currency of all products of an event alike; null where they state none, or several."""
    elements: list[FromClause] = []
    each = spread(properties, ("products", EACH), elements)
    stated = func.coalesce(_stated(spread(each, ("currency",), [])), literal("", Text))
    alike = case((func.count(distinct(stated)) == 1, func.nullif(func.max(stated), literal("", Text))))
    found = select(alike).select_from(*elements).where(func.jsonb_typeof(each) == "object")
    return found.correlate_except(*elements).scalar_subquery()


def _stated(value: Sql) -> Sql:
    """The currency that a value states: null where it states none, XXX where it cannot be read."""
    nothing = or_(value.is_(None), value.in_([literal(each, JSONB) for each in _NOTHING]))
    text = value.op("#>>", return_type=Text())(literal_column("'{}'::text[]"))
    code = collate(func.upper(collate(func.btrim(text, literal(BLANKS, Text)), "pg_unicode_fast")), "C")
    named = case(SPELLINGS, value=code, else_=code)
    is_code = and_(func.jsonb_typeof(value) == "string", named.regexp_match("^[A-Z]{3}$"))
    return case((nothing, null()), (is_code, named), else_=literal(UNKNOWN_CURRENCY, Text))
