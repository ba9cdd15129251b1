"""How a JSON value compares with an operand, in SQL: the rules of domain/conditions/values.py, proven equal by a test.

Every cast stands in a CASE behind a guard on its type or form, so no stored value can make a statement fail, and every
operand, key and pattern is a bound parameter. Keys are read with `->` and a text, which never indexes into an array.
"""

from __future__ import annotations

import operator as compare
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Date,
    DateTime,
    FromClause,
    Integer,
    Interval,
    Numeric,
    Text,
    and_,
    case,
    cast,
    collate,
    column,
    false,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.selectable import TableValuedAlias

from domain.conditions.dates import DATE, FRACTION, INSTANT, OFFSET
from domain.conditions.operators import Comparison, Operator, Reference
from domain.conditions.paths import EACH, Steps, steps_of
from domain.conditions.values import NEGATED, ORDER, WHOLE_NUMBER
from domain.durations import Duration, parse_duration

Sql = ColumnElement[Any]  # an expression of any SQL type; the names below say which
Holds = Callable[[Sql], ColumnElement[bool]]

_INSTANT = DateTime(timezone=True)
SCALARS = ("string", "number", "boolean")


@dataclass(frozen=True, slots=True)
class Ground:
    """The SQL expressions a comparison may refer to: the moment, the zone, and the roots of the kinds of reference."""

    as_of: Sql
    zone: Sql
    entry: Sql
    customer: Sql
    saved: Sql


def compared(root: Sql, path: str, comparison: Comparison, ground: Ground) -> ColumnElement[bool]:
    """Whether a value found at `path` in the jsonb `root` compares so; never null."""
    operator = comparison.operator
    if operator in NEGATED:
        return not_(compared(root, path, comparison._replace(operator=NEGATED[operator]), ground))
    if operator is Operator.EXISTS:
        exists = found(root, steps_of(path), _is_present)
        return exists if comparison.operand else not_(exists)
    return found(root, steps_of(path), lambda value: _holds(value, comparison, ground))


def found(root: Sql, steps: Steps, holds: Holds) -> ColumnElement[bool]:
    """Whether `holds` is true of a value that the path finds; false, never null, where there is none."""
    for position, step in enumerate(steps):
        if step is EACH:
            return _any_element(root, lambda element: found(element, steps[position + 1 :], holds))  # noqa: B023  used at once
        root = _element(root, step) if isinstance(step, int) else _member(root, step)
    return func.coalesce(holds(root), false())


def spread(root: Sql, steps: Steps, elements: list[FromClause]) -> Sql:
    """The value at a path, once per element of the arrays it goes into: these join `elements`, to be selected from."""
    for step in steps:
        if step is EACH:
            each = _elements(root)
            elements.append(each)
            root = each.c.value
        else:
            root = _element(root, step) if isinstance(step, int) else _member(root, step)
    return root


def _member(root: Sql, key: str) -> Sql:
    return root.op("->", return_type=JSONB())(literal(key, Text))


def _element(array: Sql, index: int) -> Sql:
    """Of an array only: PostgreSQL takes a lone value for an array of one."""
    guarded = case((_is(array, "array"), array), else_=literal([], JSONB))
    return guarded.op("->", return_type=JSONB())(literal(index, Integer))


def _any_element(array: Sql, holds: Holds) -> ColumnElement[bool]:
    elements = _elements(array)
    return select(1).select_from(elements).where(holds(elements.c.value)).correlate_except(elements).exists()


def _elements(array: Sql) -> TableValuedAlias:
    guarded = case((_is(array, "array"), array), else_=literal([], JSONB))
    return func.jsonb_array_elements(guarded).table_valued(column("value", JSONB), joins_implicitly=True)


def _is(value: Sql, kind: str) -> ColumnElement[bool]:
    return func.jsonb_typeof(value) == kind


def _is_present(value: Sql) -> ColumnElement[bool]:
    return func.jsonb_typeof(value) != "null"


def _holds(value: Sql, comparison: Comparison, ground: Ground) -> ColumnElement[bool]:
    operand = comparison.operand
    match comparison.operator:
        case Operator.IN:
            return _is_listed(value, comparison, ground)
        case Operator.BETWEEN:
            low, high = operand
            at_least = Comparison(Operator.GTE, low, comparison.ignore_case)
            at_most = Comparison(Operator.LTE, high, comparison.ignore_case)
            return and_(_holds(value, at_least, ground), _holds(value, at_most, ground))
        case Operator.MATCHES_ANY:
            return and_(_is(value, "string"), _matches(value, comparison))
        case Operator.WITHIN_LAST | Operator.WITHIN_NEXT | Operator.ANNIVERSARY_WITHIN:
            return _lies_in_period(value, comparison.operator, parse_duration(operand), ground)
        case _:
            return any_operand(operand, ground, _with_twin(operand, comparison, ground, value))


def _with_twin(operand: Any, comparison: Comparison, ground: Ground, value: Sql) -> Holds:
    """Ids of items are the same as number and as text, as occasions of runs are."""

    def holds(other: Sql) -> ColumnElement[bool]:
        return _pair(value, other, comparison, ground)

    if comparison.operator is Operator.EQ and isinstance(operand, Reference) and operand.is_of_item:
        return lambda other: or_(holds(other), holds(_id_twin(other)))
    return holds


def _id_twin(value: Sql) -> Sql:
    """The whole number that a text is, or the text that a whole number is, as jsonb; null for everything else."""
    text = value.op("#>>", return_type=Text())(literal_column("'{}'::text[]"))
    written = cast(func.trim_scale(cast(value, Numeric)), Text)
    return case(
        (and_(_is(value, "string"), text.op("~")(WHOLE_NUMBER)), func.to_jsonb(cast(text, Numeric))),
        (_is(value, "number"), case((written.op("~")(WHOLE_NUMBER), func.to_jsonb(written)), else_=None)),
        else_=None,
    )


def any_operand(operand: Any, ground: Ground, holds: Holds) -> ColumnElement[bool]:
    """Whether `holds` is true of the literal, or of a value that the reference finds (an array's many: any)."""
    match operand:
        case Reference(entry=str(path)):
            return found(ground.entry, steps_of(path), holds)
        case Reference(customer=str(path)):
            return found(ground.customer, steps_of(path), holds)
        case Reference(saved=path):
            return found(ground.saved, steps_of(path or ""), holds)
        case _:
            return func.coalesce(holds(literal(operand, JSONB)), false())


def _is_listed(value: Sql, comparison: Comparison, ground: Ground) -> ColumnElement[bool]:
    """Literals are one hashed subquery however many they are; references are few and compared one by one."""
    literals = [operand for operand in comparison.operand if not isinstance(operand, Reference)]
    references = [operand for operand in comparison.operand if isinstance(operand, Reference)]
    listed = _elements(literal(literals, JSONB))
    choices = [and_(func.jsonb_typeof(value).in_(SCALARS), value.in_(select(listed.c.value)))]
    if comparison.ignore_case:
        texts = select(_text(listed.c.value, fold=True)).where(_is(listed.c.value, "string"))
        choices.append(and_(_is(value, "string"), _text(value, fold=True).in_(texts)))
    choices += [
        any_operand(reference, ground, _with_twin(reference, comparison._replace(operator=Operator.EQ), ground, value))
        for reference in references
    ]
    return or_(*(func.coalesce(choice, false()) for choice in choices))


def _pair(value: Sql, other: Sql, comparison: Comparison, ground: Ground) -> ColumnElement[bool]:
    fold = comparison.ignore_case
    left, right = _text(value, fold=fold), _text(other, fold=fold)
    match comparison.operator:
        case Operator.EQ:
            return _equal(value, other, fold=fold)
        case Operator.GT | Operator.GTE | Operator.LT | Operator.LTE as operator:
            holds = ORDER[operator]
            numbers = holds(cast(value, Numeric), cast(other, Numeric))
            texts = holds(left, right)
            return case((_both(value, other, "number"), numbers), (_both(value, other, "string"), texts), else_=false())
        case Operator.CONTAINS:
            inside = _any_element(value, lambda element: _equal(element, other, fold=fold))
            within_text = and_(_both(value, other, "string"), func.strpos(left, right) > 0)
            return case((_is(value, "array"), inside), else_=within_text)
        case Operator.STARTS_WITH:
            return and_(_both(value, other, "string"), func.starts_with(left, right))
        case Operator.ENDS_WITH:
            return and_(_both(value, other, "string"), func.right(left, func.length(right)) == right)
        case Operator.BEFORE:
            return _ordered_moments(value, other, compare.lt, ground)
        case Operator.AFTER:
            return _ordered_moments(value, other, compare.gt, ground)
        case Operator.SAME_DAY:
            return _day(value, ground) == _day(other, ground)
        case _ as operator:
            raise AssertionError(f"{operator} does not compare a value with one operand")


def _equal(value: Sql, other: Sql, *, fold: bool) -> ColumnElement[bool]:
    same = and_(func.jsonb_typeof(value).in_(SCALARS), value == other)
    if not fold:
        return func.coalesce(same, false())
    folded = _text(value, fold=True) == _text(other, fold=True)
    return func.coalesce(case((_both(value, other, "string"), folded), else_=same), false())


def _both(value: Sql, other: Sql, kind: str) -> ColumnElement[bool]:
    return and_(_is(value, kind), _is(other, kind))


def _text(value: Sql, *, fold: bool = False) -> Sql:
    """A jsonb string as text that compares by code point, case-folded (Unicode's full folding) on demand."""
    text = value.op("#>>", return_type=Text())(literal_column("'{}'::text[]"))
    return _by_code_point(text, fold=fold)


def _by_code_point(text: Sql, *, fold: bool) -> Sql:
    return collate(func.casefold(collate(text, "pg_unicode_fast")) if fold else text, "C")


def _matches(value: Sql, comparison: Comparison) -> ColumnElement[bool]:
    globs = literal([_like(glob) for glob in comparison.operand], ARRAY(Text))
    patterns = func.unnest(globs).table_valued(column("glob", Text), joins_implicitly=True).render_derived()
    fold = comparison.ignore_case
    pattern = _by_code_point(patterns.c.glob, fold=fold)
    matching = select(1).select_from(patterns).where(_text(value, fold=fold).like(pattern))
    return matching.correlate_except(patterns).exists()


def _like(glob: str) -> str:
    escaped = glob.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%")


# Dates ---------------------------------------------------------------------------------------------


def _instant(value: Sql) -> Sql:
    """The instant that a jsonb string writes, null if it writes none."""
    text = _text(value)
    trimmed = func.regexp_replace(text, FRACTION, r"\1")
    complete = trimmed.concat(case((text.regexp_match(OFFSET), ""), else_="Z"))
    valid = and_(
        _is(value, "string"), text.regexp_match(INSTANT), func.pg_input_is_valid(complete, "timestamp with time zone")
    )
    return case((valid, cast(complete, _INSTANT)))


def _day(value: Sql, ground: Ground) -> Sql:
    """The day that a jsonb string writes: a plain date, or the local day of an instant; null if it writes neither."""
    text, instant = _text(value), _instant(value)
    valid = and_(_is(value, "string"), text.regexp_match(DATE), func.pg_input_is_valid(text, "date"))
    return case((valid, cast(text, Date)), else_=local_day(instant, ground))


def local_day(instant: Sql, ground: Ground) -> Sql:
    """The date of an instant in the customer's zone."""
    return cast(func.timezone(ground.zone, instant), Date)


def _ordered_moments(value: Sql, other: Sql, holds: Callable[[Any, Any], Any], ground: Ground) -> ColumnElement[bool]:
    left, right = _instant(value), _instant(other)
    both = and_(left.is_not(None), right.is_not(None))
    return case((both, holds(left, right)), else_=holds(_day(value, ground), _day(other, ground)))


def _lies_in_period(value: Sql, operator: Operator, period: Duration, ground: Ground) -> ColumnElement[bool]:
    start = shifted(ground, period, -1) if operator is Operator.WITHIN_LAST else ground.as_of
    end = ground.as_of if operator is Operator.WITHIN_LAST else shifted(ground, period, 1)
    first, last = local_day(start, ground), local_day(end, ground)
    if operator is Operator.ANNIVERSARY_WITHIN:
        return _next_anniversary(_day(value, ground), first) <= last
    instant = _instant(value)
    return case((instant.is_not(None), instant.between(start, end)), else_=_day(value, ground).between(first, last))


def _next_anniversary(day: Sql, today: Sql) -> Sql:
    """A date plus whole years: PostgreSQL, too, puts 29 February on 28 February in other years."""
    years = func.greatest(1, cast(func.extract("year", today) - func.extract("year", day), Integer))
    this, following = (cast(day + func.make_interval(count), Date) for count in (years, years + 1))
    return case((this >= today, this), else_=following)


def shifted(ground: Ground, duration: Duration, sign: int) -> Sql:
    """The moment of judging moved by a duration; calendar months keep the wall clock of the customer's zone."""
    if not duration.months:
        return ground.as_of + literal(timedelta(seconds=duration.seconds * sign), Interval)
    wall = func.timezone(ground.zone, ground.as_of) + func.make_interval(0, duration.months * sign)
    return func.timezone(ground.zone, wall, type_=_INSTANT)


# Figures -------------------------------------------------------------------------------------------


def figure_holds(figure: Sql, scale: Sql, comparison: Comparison, ground: Ground) -> ColumnElement[bool]:
    """Whether `figure / scale` compares so, without dividing: exact. A null figure is a missing value."""
    operator, operand = comparison.operator, comparison.operand
    match operator:
        case Operator.NE | Operator.NOT_IN:
            return not_(figure_holds(figure, scale, comparison._replace(operator=NEGATED[operator]), ground))
        case Operator.EXISTS:
            return figure.is_not(None) if operand else figure.is_(None)
        case Operator.BETWEEN:
            low, high = operand
            above = _figure_pair(figure, scale, Operator.GTE, low, ground)
            return and_(above, _figure_pair(figure, scale, Operator.LTE, high, ground))
        case Operator.IN:
            return or_(false(), *(_figure_pair(figure, scale, Operator.EQ, one, ground) for one in operand))
        case _:
            return _figure_pair(figure, scale, operator, operand, ground)


def _figure_pair(figure: Sql, scale: Sql, operator: Operator, operand: Any, ground: Ground) -> ColumnElement[bool]:
    holds = ORDER[operator]

    def fits(other: Sql) -> ColumnElement[bool]:
        return case((_is(other, "number"), holds(figure, cast(other, Numeric) * scale)), else_=false())

    return any_operand(operand, ground, fits)
