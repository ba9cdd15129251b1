"""The in-memory evaluator: predicates over one event's payload, compiled once to closures, judged very often.

The SQL evaluator, `database/conditions.py`, must agree with it: tests/database/test_conditions_agree.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, assert_never

from domain.conditions.model import AllOf, AnyOf, NotOf, Predicate, PropertyIs
from domain.conditions.operators import Comparison, Operator, Reference
from domain.conditions.paths import Read, reader
from domain.conditions.scope import JsonObject, Scope
from domain.conditions.values import NEGATED, PAIRS, Pair, folded

__all__ = ["Judge", "Scope", "compile_where"]

Judge = Callable[[JsonObject, Scope], bool]
"""Judges one event's properties in a scope."""

Test = Callable[[Any, Scope], bool]  # one JSON value
Operands = Callable[[Scope], list[Any]]  # the JSON operands to compare with; any one suffices


def compile_where(where: Sequence[Predicate]) -> Judge:
    """A function that judges an event's properties; every predicate must hold, none at all is true. It never raises."""
    judges = [_predicate(predicate) for predicate in where]
    if len(judges) == 1:
        return judges[0]
    return lambda properties, scope: all(judge(properties, scope) for judge in judges)


def _predicate(predicate: Predicate) -> Judge:
    match predicate:
        case AllOf(all=inner):
            return compile_where(inner)
        case AnyOf(any=inner):
            judges = [_predicate(one) for one in inner]
            return lambda properties, scope: any(judge(properties, scope) for judge in judges)
        case NotOf(not_=inner_one):
            negated = _predicate(inner_one)
            return lambda properties, scope: not negated(properties, scope)
        case PropertyIs():
            return _compared(reader(predicate.property), predicate.comparison)
        case _:
            assert_never(predicate)


def _compared(read: Read, comparison: Comparison) -> Judge:
    holds = compile_comparison(comparison)
    return lambda root, scope: holds(read(root), scope)


def compile_comparison(comparison: Comparison) -> Callable[[list[Any], Scope], bool]:
    """A function that judges the values found at a path (none, one, or an array's many): one that fits suffices."""
    operator = comparison.operator
    if operator is Operator.EXISTS:
        wanted = bool(comparison.operand)
        return lambda values, _: bool(values) is wanted
    if operator in NEGATED:
        counterpart = compile_comparison(comparison._replace(operator=NEGATED[operator]))
        return lambda values, scope: not counterpart(values, scope)
    test = _between(comparison) if operator is Operator.BETWEEN else _any_operand(comparison)
    return lambda values, scope: any(test(value, scope) for value in values)


def _any_operand(comparison: Comparison) -> Test:
    pair = _folding(PAIRS[comparison.operator], comparison)
    operand = comparison.operand
    if comparison.operator is Operator.MATCHES_ANY or not isinstance(operand, list | Reference):
        return _any_literal(pair, operand if isinstance(operand, list) else [operand])
    operands = _operands(operand if isinstance(operand, list) else [operand])
    return lambda value, scope: any(pair(value, one, scope) for one in operands(scope))


def _any_literal(pair: Pair, operands: list[Any]) -> Test:
    if len(operands) == 1:
        [operand] = operands
        return lambda value, scope: pair(value, operand, scope)
    return lambda value, scope: any(pair(value, operand, scope) for operand in operands)


def _between(comparison: Comparison) -> Test:
    low, high = ([bound] for bound in comparison.operand)
    at_least = _any_operand(Comparison(Operator.GTE, low, comparison.ignore_case))
    at_most = _any_operand(Comparison(Operator.LTE, high, comparison.ignore_case))
    return lambda value, scope: at_least(value, scope) and at_most(value, scope)


def _folding(pair: Pair, comparison: Comparison) -> Pair:
    if not comparison.ignore_case:
        return pair
    return lambda value, operand, scope: pair(folded(value), folded(operand), scope)


def _operands(values: list[Any]) -> Operands:
    sources = [_reference(value) if isinstance(value, Reference) else _literal(value) for value in values]
    return lambda scope: [operand for source in sources for operand in source(scope)]


def _literal(value: Any) -> Operands:
    found = [] if value is None else [value]
    return lambda scope: found


def _reference(reference: Reference) -> Operands:
    match reference:
        case Reference(entry=str(path)):
            read = reader(path)
            return lambda scope: read(scope.entry)
        case Reference(customer=str(path)):
            read = reader(path)
            return lambda scope: read(scope.customer)
        case _:
            read = reader(reference.saved or "")
            return lambda scope: read(scope.saved)
