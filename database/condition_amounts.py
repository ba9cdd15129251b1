"""The currency of amounts in events, in SQL: the rules of domain/conditions/amounts.py, proven equal by a test."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    FromClause,
    Text,
    and_,
    any_,
    case,
    collate,
    distinct,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
)

from database.condition_values import Sql, spread
from domain.conditions.paths import EACH
from domain.money import BLANKS, CODE, CODES, SPELLINGS, UNKNOWN_CURRENCY


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
    nothing = or_(value.is_(None), func.jsonb_typeof(value) == "null")
    text = value.op("#>>", return_type=Text())(literal_column("'{}'::text[]"))
    written = collate(func.btrim(text, literal(BLANKS, Text)), "C")
    code = collate(func.upper(collate(written, "pg_unicode_fast")), "C")
    is_code = and_(written.regexp_match(CODE), code == any_(literal(sorted(CODES), ARRAY(Text))))
    named = case(SPELLINGS, value=code, else_=case((is_code, code)))
    is_text = func.jsonb_typeof(value) == "string"
    return case((nothing, null()), (is_text, func.coalesce(named, UNKNOWN_CURRENCY)), else_=UNKNOWN_CURRENCY)
