"""How one value compares with one operand, in memory. `database/condition_values.py` says the same in SQL.

Types are those of JSON and are never converted: a number in a text is not a number, a boolean is not a number, and a
wrong type is false. Text compares by code point. Negations are not here: they are the negation of their counterpart.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from domain.conditions.dates import in_period, local_day, moment_of, order, shifted
from domain.conditions.operators import Operator
from domain.conditions.scope import Scope
from domain.durations import parse_duration
from domain.local_time import next_anniversary

_EXACT_FLOATS = 2**53  # beyond it an int and a float compare by their decimal digits, as PostgreSQL's numeric does

ORDER: dict[Operator, Callable[[Any, Any], bool]] = {
    Operator.EQ: operator.eq,
    Operator.GT: operator.gt,
    Operator.GTE: operator.ge,
    Operator.LT: operator.lt,
    Operator.LTE: operator.le,
}
"""The operators that are those of numbers, and of SQL expressions."""

NEGATED = {Operator.NE: Operator.EQ, Operator.NOT_IN: Operator.IN, Operator.NOT_CONTAINS: Operator.CONTAINS}


Pair = Callable[[Any, Any, Scope], bool]  # any JSON value, any JSON operand


def is_number(value: Any) -> bool:
    """Whether JSON holds a number there (a boolean is none)."""
    return type(value) is int or type(value) is float


def equals(value: Any, operand: Any, _: Scope | None = None) -> bool:
    """Same type and same value; only texts, numbers and booleans can be equal."""
    kind = type(value)
    if kind is str or kind is bool:
        return type(operand) is kind and bool(value == operand)
    return is_number(value) and is_number(operand) and _digits(value, operand) == _digits(operand, value)


WHOLE_NUMBER: Final = r"^(0|-?[1-9][0-9]{0,17})$"
"""A text that is the id 1001 as well: the same pattern guards the cast in SQL."""


def id_twin(value: Any) -> int | str | None:
    """The whole number that a text is, or the text that a whole number is; None for everything else."""
    if type(value) is str:
        return int(value) if re.fullmatch(WHOLE_NUMBER, value) else None
    is_whole = type(value) is int or (type(value) is float and value.is_integer())
    text = str(int(value)) if is_whole else ""
    return text if re.fullmatch(WHOLE_NUMBER, text) else None


def _digits(number: float, other: float) -> float | Decimal:
    if type(number) is type(other) or (abs(number) < _EXACT_FLOATS and abs(other) < _EXACT_FLOATS):
        return number
    return Decimal(repr(number))


def _ordered(compare: Callable[[Any, Any], bool]) -> Pair:
    def holds(value: Any, operand: Any, _: Scope) -> bool:
        if is_number(value) and is_number(operand):
            return compare(_digits(value, operand), _digits(operand, value))
        return type(value) is str and type(operand) is str and compare(value, operand)

    return holds


def _contains(value: Any, operand: Any, _: Scope) -> bool:
    if type(value) is list:
        return any(equals(element, operand) for element in value)
    return type(value) is str and type(operand) is str and operand in value


def _starts_with(value: Any, operand: Any, _: Scope) -> bool:
    return type(value) is str and type(operand) is str and value.startswith(operand)


def _ends_with(value: Any, operand: Any, _: Scope) -> bool:
    return type(value) is str and type(operand) is str and value.endswith(operand)


def _matches(value: Any, operand: Any, _: Scope) -> bool:
    return type(value) is str and glob_matches(value, operand)


def glob_matches(text: str, glob: str) -> bool:
    """Whether `*` globs match the whole text. Greedy by parts, so never more than length times length steps."""
    first, *middle = glob.split("*")
    if not middle:
        return text == glob
    *middle, last = middle
    end = len(text) - len(last)
    if not (text.startswith(first) and text.endswith(last) and len(first) <= end):
        return False
    position = len(first)
    for part in middle:
        position = text.find(part, position, end)
        if position < 0:
            return False
        position += len(part)
    return True


def _before(value: Any, operand: Any, at: Scope) -> bool:
    return _order(value, operand, at) == -1


def _after(value: Any, operand: Any, at: Scope) -> bool:
    return _order(value, operand, at) == 1


def _order(value: Any, operand: Any, at: Scope) -> int | None:
    left, right = moment_of(value), moment_of(operand)
    return None if left is None or right is None else order(left, right, at.zone)


def _same_day(value: Any, operand: Any, at: Scope) -> bool:
    left, right = moment_of(value), moment_of(operand)
    return left is not None and right is not None and local_day(left, at.zone) == local_day(right, at.zone)


def _within_last(value: Any, period: Any, at: Scope) -> bool:
    moment = moment_of(value)
    start = shifted(at.as_of, parse_duration(period), -1, at.zone)
    return moment is not None and in_period(moment, start, at.as_of, at.zone)


def _within_next(value: Any, period: Any, at: Scope) -> bool:
    moment = moment_of(value)
    end = shifted(at.as_of, parse_duration(period), 1, at.zone)
    return moment is not None and in_period(moment, at.as_of, end, at.zone)


def _anniversary_within(value: Any, period: Any, at: Scope) -> bool:
    moment = moment_of(value)
    if moment is None:
        return False
    end = shifted(at.as_of, parse_duration(period), 1, at.zone)
    anniversary = next_anniversary(local_day(moment, at.zone), local_day(at.as_of, at.zone))
    return anniversary is not None and anniversary <= local_day(end, at.zone)


PAIRS: dict[Operator, Pair] = {
    Operator.EQ: equals,
    Operator.IN: equals,  # with any of the listed operands
    Operator.GT: _ordered(ORDER[Operator.GT]),
    Operator.GTE: _ordered(ORDER[Operator.GTE]),
    Operator.LT: _ordered(ORDER[Operator.LT]),
    Operator.LTE: _ordered(ORDER[Operator.LTE]),
    Operator.CONTAINS: _contains,
    Operator.STARTS_WITH: _starts_with,
    Operator.ENDS_WITH: _ends_with,
    Operator.MATCHES_ANY: _matches,  # any of the listed globs
    Operator.BEFORE: _before,
    Operator.AFTER: _after,
    Operator.SAME_DAY: _same_day,
    Operator.WITHIN_LAST: _within_last,
    Operator.WITHIN_NEXT: _within_next,
    Operator.ANNIVERSARY_WITHIN: _anniversary_within,
}


# Capitals of Unicode 15 and 16: PostgreSQL 18 folds them, and Pythons before 3.14 do not know them yet.
_NEW_LETTERS = {
    **{capital: capital + 0x20 for capital in range(0x10D50, 0x10D66)},  # Garay
    0x1C89: 0x1C8A,
    0xA7CB: 0x0264,
    0xA7CC: 0xA7CD,
    0xA7DA: 0xA7DB,
    0xA7DC: 0x019B,  # Cyrillic and Latin
}


def folded(value: Any) -> Any:
    """The value with its texts case-folded (Unicode's full folding, as `"case": "ignore"` compares)."""
    if type(value) is str:
        return value.casefold() if value.isascii() else value.translate(_NEW_LETTERS).casefold()
    return [folded(element) for element in value] if type(value) is list else value
