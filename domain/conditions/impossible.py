"""Conditions that can never be true, whoever is judged: found before anything is published."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from domain.conditions.dates import moment_of
from domain.conditions.model import (
    AggregateIs,
    AllHold,
    AllOf,
    AnyHolds,
    AnyOf,
    Condition,
    Did,
    EventIs,
    NotHolds,
    NotOf,
    Predicate,
    PropertyIs,
    SavedIs,
    TraitIs,
)
from domain.conditions.operators import MOMENT_OPERATORS, NUMBER_OPERATORS, Compared, Comparison, Operator, Reference
from domain.conditions.paths import EACH, steps_of
from domain.conditions.scope import Scope
from domain.conditions.values import NEGATED, PAIRS, equals, folded, is_number

Tree = Condition | Predicate
_AtPath = TraitIs | EventIs | SavedIs | PropertyIs

_ANY_SCOPE = Scope(as_of=datetime(2000, 1, 1, tzinfo=UTC))  # for operators that ask neither clock nor zone


class Impossible(NamedTuple):
    """Where (a JSON pointer) and why it can never be true."""

    pointer: str
    why: str


def impossible(tree: Tree, pointer: str = "") -> Iterator[Impossible]:
    """Every smallest part that can never be true. Parts of a `not` are meant to be false and are not looked into."""
    match tree:
        case AllOf(all=inner) | AllHold(all=inner):
            yield from _impossible_all(inner, pointer + "/all")
        case AnyOf(any=[]) | AnyHolds(any=[]):
            yield Impossible(pointer, "an empty any is never true; remove it or name what should hold")
        case AnyOf(any=inner) | AnyHolds(any=inner):
            for position, one in enumerate(inner):
                yield from impossible(one, f"{pointer}/any/{position}")
        case NotOf(not_=one) | NotHolds(not_=one):
            if _is_certain(one):
                yield Impossible(pointer, "this is the opposite of something that always holds")
        case Did():
            yield from _impossible_did(tree, pointer)
        case AggregateIs():
            yield from impossible_where(tree.where, pointer + "/where")
            yield from _impossible_comparison(tree, pointer)
        case Compared():
            yield from _impossible_comparison(tree, pointer)
        case _:
            return


def impossible_where(where: Sequence[Predicate], pointer: str) -> Iterator[Impossible]:
    """The same for a list of predicates, all of which must hold."""
    yield from _impossible_all(where, pointer)


def _impossible_all(inner: Sequence[Tree], pointer: str) -> Iterator[Impossible]:
    """Parts that are impossible by themselves, else the first two comparisons of one value that exclude each other."""
    by_themselves = [found for position, one in enumerate(inner) for found in impossible(one, f"{pointer}/{position}")]
    yield from by_themselves
    if not by_themselves:
        yield from _contradiction(inner, pointer)


def _contradiction(inner: Sequence[Tree], pointer: str) -> Iterator[Impossible]:
    compared = [(position, one) for position, one in enumerate(inner) if isinstance(one, _AtPath)]
    for later, (position, one) in enumerate(compared):
        for other_position, other in compared[:later]:
            if _subject(one) == _subject(other) and _exclude(one.comparison, other.comparison):
                yield Impossible(
                    f"{pointer}/{position}", f"this and {pointer}/{other_position} can never both hold for one value"
                )
                return


def _subject(compared: _AtPath) -> tuple[type, str] | object:
    path = _path(compared)
    return object() if EACH in steps_of(path) else (type(compared), path)  # an array's elements may differ


def _path(compared: _AtPath) -> str:
    match compared:
        case TraitIs(trait=path) | EventIs(event=path) | SavedIs(saved=path) | PropertyIs(property=path):
            return path


def _exclude(one: Comparison, other: Comparison) -> bool:
    """Whether two comparisons of the same single value with literals can never both be true."""
    if one.ignore_case or other.ignore_case:
        return False
    return _rules_out(one, other) or _rules_out(other, one)


def _rules_out(one: Comparison, other: Comparison) -> bool:
    match one.operator, one.operand:
        case Operator.EQ, literal if not isinstance(literal, Reference):
            return _is_false_of(literal, other)
        case Operator.IN, list(literals) if not any(isinstance(literal, Reference) for literal in literals):
            return all(_is_false_of(literal, other) for literal in literals)
        case Operator.EXISTS, False:
            return other.operator not in NEGATED and (other.operator, other.operand) != (Operator.EXISTS, False)
        case (Operator.GT | Operator.GTE) as operator, low if not isinstance(low, Reference):
            return _ends_before(low, operator is Operator.GT, other)
        case Operator.BETWEEN, (low, _) if not isinstance(low, Reference):
            return _ends_before(low, False, other)
        case _:
            return False


def _ends_before(low: Any, is_open: bool, other: Comparison) -> bool:
    """Whether the other comparison allows only values below `low` (or `low` itself, where that is left out)."""
    match other.operator, other.operand:
        case (Operator.LT | Operator.LTE) as operator, high if not isinstance(high, Reference):
            return _is_empty(low, high, is_open or operator is Operator.LT)
        case Operator.BETWEEN, (_, high) if not isinstance(high, Reference):
            return _is_empty(low, high, is_open)
        case _:
            return False


def _is_empty(low: Any, high: Any, is_open: bool) -> bool:
    comparable = (is_number(low) and is_number(high)) or (isinstance(low, str) and isinstance(high, str))
    return not comparable or low > high or (is_open and low == high)


def _is_false_of(value: Any, comparison: Comparison) -> bool:
    """Whether a comparison with literals is false of this scalar. Those that ask the clock or a zone may be true."""
    operator, operand, _ = comparison
    operands = operand if isinstance(operand, list | tuple) else [operand]
    if any(isinstance(one, Reference) for one in operands):
        return False
    match operator:
        case Operator.NE | Operator.NOT_IN:
            return any(equals(value, one) for one in operands)
        case Operator.IN:
            return not any(equals(value, one) for one in operands)
        case Operator.EXISTS:
            return operand is False
        case Operator.EQ | Operator.GT | Operator.GTE | Operator.LT | Operator.LTE:
            return not PAIRS[operator](value, operand, _ANY_SCOPE)
        case _:
            return False


def _impossible_did(condition: Did, pointer: str) -> Iterator[Impossible]:
    low, high = condition.bounds
    if high is not None and low > high:
        yield Impossible(pointer, f"at_least {low} is more than at_most {high}")
    if low > 0:  # otherwise none at all is right too
        yield from impossible_where(condition.where, pointer + "/where")


def _impossible_comparison(compared: Compared, pointer: str) -> Iterator[Impossible]:
    operator = compared.comparison.operator
    if why := _why_never(compared.comparison):
        yield Impossible(f"{pointer}/{operator}", why)


def _why_never(comparison: Comparison) -> str | None:
    """Why a comparison is false of every value."""
    operator, operand, ignore_case = comparison
    match operator:
        case _ if operator in NEGATED:
            return None
        case Operator.IN | Operator.MATCHES_ANY:
            return None if any(one is not None for one in operand) else "the list names nothing that a value could be"
        case Operator.BETWEEN:
            return _why_never_between(*operand, ignore_case=ignore_case)
        case _ if operand is None:
            return 'null counts as missing and equals nothing; ask for "exists": false'
        case _ if isinstance(operand, Reference):
            return None
        case _:
            return _why_never_literal(operator, operand)


def _why_never_between(low: Any, high: Any, *, ignore_case: bool) -> str | None:
    if isinstance(low, Reference) or isinstance(high, Reference):
        return None
    if ignore_case:
        low, high = folded(low), folded(high)
    return f"nothing lies between {low!r} and {high!r}" if _is_empty(low, high, False) else None


def _why_never_literal(operator: Operator, operand: Any) -> str | None:
    if operator in NUMBER_OPERATORS and isinstance(operand, bool):
        return "true and false have no order"
    if operator in (Operator.STARTS_WITH, Operator.ENDS_WITH) and not isinstance(operand, str):
        return "only a text starts or ends with something; write it in quotes"
    if operator in MOMENT_OPERATORS and moment_of(operand) is None:
        return "write a day, 2026-05-01, or an instant, 2026-05-01T09:00:00Z"
    return None


def _is_certain(tree: Tree) -> bool:
    """Whether it holds for everybody, as far as the form itself says so."""
    match tree:
        case AllOf(all=inner) | AllHold(all=inner):
            return all(_is_certain(one) for one in inner)
        case AnyOf(any=inner) | AnyHolds(any=inner):
            return any(_is_certain(one) for one in inner)
        case NotOf(not_=one) | NotHolds(not_=one):
            return _is_impossible(one)
        case Did():
            return tree.bounds == (0, None)
        case Compared():
            negated = NEGATED.get(tree.comparison.operator)
            return negated is not None and _why_never(tree.comparison._replace(operator=negated)) is not None
        case _:
            return False


def _is_impossible(tree: Tree) -> bool:
    """Whether the whole of it holds for nobody; `impossible` finds parts, also those that another makes up for."""
    match tree:
        case AllOf(all=inner) | AllHold(all=inner):
            return next(_contradiction(inner, ""), None) is not None or any(_is_impossible(one) for one in inner)
        case AnyOf(any=inner) | AnyHolds(any=inner):
            return all(_is_impossible(one) for one in inner)
        case _:
            return next(impossible(tree), None) is not None
