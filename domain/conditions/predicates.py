"""Predicates over one event's payload, compiled to closures. They never raise, whatever JSON they meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, assert_never

from domain.conditions.model import AllOf, AnyOf, NotOf, Predicate, PropertyIs
from domain.conditions.operators import MOMENT_OPERATORS, PERIOD_OPERATORS, Comparison, Operator, Reference
from domain.conditions.paths import reader, steps_of
from domain.conditions.scope import JsonObject, Scope
from domain.conditions.values import NEGATED, PAIRS, Pair, folded, id_twin

Judged = TypeVar("Judged")

Judge = Callable[[JsonObject | None, Scope], bool]
"""Judges one JSON object (an event's properties, traits) in a scope; None is an object with nothing in it."""

Test = Callable[[Any, Scope], bool]  # one JSON value that is there
Operands = Callable[[Scope], list[Any]]  # the JSON operands to compare with; any one suffices


def compile_where(where: Sequence[Predicate]) -> Judge:
    """A function that judges an event's properties; every predicate must hold, none at all is true."""
    return every([_predicate(predicate) for predicate in where])


def every(judges: Sequence[Callable[[Judged, Scope], bool]]) -> Callable[[Judged, Scope], bool]:
    """True when all judges say so, also when there is none."""
    if len(judges) == 1:
        return judges[0]

    def judge(judged: Judged, scope: Scope) -> bool:
        for one in judges:  # noqa: SIM110  a loop is three times as fast as all() over a generator
            if not one(judged, scope):
                return False
        return True

    return judge


def some(judges: Sequence[Callable[[Judged, Scope], bool]]) -> Callable[[Judged, Scope], bool]:
    """True when at least one judge says so."""

    def judge(judged: Judged, scope: Scope) -> bool:
        for one in judges:  # noqa: SIM110  as above
            if one(judged, scope):
                return True
        return False

    return judge


def negated(judge: Callable[[Judged, Scope], bool]) -> Callable[[Judged, Scope], bool]:
    """True when the judge says no."""
    return lambda judged, scope: not judge(judged, scope)


def _predicate(predicate: Predicate) -> Judge:
    match predicate:
        case AllOf(all=inner):
            return every([_predicate(one) for one in inner])
        case AnyOf(any=inner):
            return some([_predicate(one) for one in inner])
        case NotOf(not_=one):
            return negated(_predicate(one))
        case PropertyIs():
            return compile_comparison(predicate.property, predicate.comparison)
        case _:
            assert_never(predicate)


def compile_comparison(path: str, comparison: Comparison) -> Judge:
    """A function that judges what a path finds (nothing, one value, or an array's many: one that fits suffices)."""
    operator = comparison.operator
    if operator in NEGATED:
        return negated(compile_comparison(path, comparison._replace(operator=NEGATED[operator])))
    if operator is Operator.EXISTS:
        present = _at(path, lambda _value, _scope: True)
        return present if comparison.operand else negated(present)
    return _at(path, _test(comparison))


def _at(path: str, test: Test) -> Judge:
    """Whether a value at the path passes. A key of the object itself, the usual case, skips the reading of paths."""
    key, *deeper = steps_of(path)
    if deeper or not isinstance(key, str):
        return _deep(path, test)

    def judge(root: JsonObject | None, scope: Scope) -> bool:
        value = None if root is None else root.get(key)
        return value is not None and test(value, scope)

    return judge


def _deep(path: str, test: Test) -> Judge:
    read = reader(path)

    def judge(root: JsonObject | None, scope: Scope) -> bool:
        for value in read(root):  # noqa: SIM110  as above
            if test(value, scope):
                return True
        return False

    return judge


def _test(comparison: Comparison) -> Test:
    operand = comparison.operand
    match comparison.operator:
        case Operator.BETWEEN:
            low, high = operand
            ignore_case = comparison.ignore_case
            return every(
                [
                    _test(Comparison(Operator.GTE, low, ignore_case)),
                    _test(Comparison(Operator.LTE, high, ignore_case)),
                ]
            )
        case Operator.IN if not comparison.ignore_case and all(type(one) is str for one in operand):
            texts = frozenset(operand)
            return lambda value, _: type(value) is str and value in texts
        case Operator.IN | Operator.MATCHES_ANY:
            return some([_pair_test(comparison, one) for one in operand])
        case _:
            return _pair_test(comparison, operand)


def _pair_test(comparison: Comparison, operand: Any) -> Test:
    pair = PAIRS[comparison.operator]
    if comparison.ignore_case and comparison.operator not in (*MOMENT_OPERATORS, *PERIOD_OPERATORS):
        pair = _folding(pair)
    if not isinstance(operand, Reference):
        return lambda value, scope: pair(value, operand, scope)
    operands = compile_reference(operand)
    if operand.is_of_item and comparison.operator in (Operator.EQ, Operator.IN):
        pair = _with_twin(pair)

    def test(value: Any, scope: Scope) -> bool:
        for one in operands(scope):  # noqa: SIM110  as above
            if pair(value, one, scope):
                return True
        return False

    return test


def _with_twin(pair: Pair) -> Pair:
    """Ids of items are the same as number and as text, as occasions of runs are."""
    return lambda value, operand, scope: pair(value, operand, scope) or pair(value, id_twin(operand), scope)


def _folding(pair: Pair) -> Pair:
    return lambda value, operand, scope: pair(folded(value), folded(operand), scope)


def compile_reference(reference: Reference) -> Operands:
    """A function that looks up the values a reference stands for: none if missing, several behind an array."""
    match reference:
        case Reference(entry=str(path)):
            read = reader(path)
            return lambda scope: read(scope.entry)
        case Reference(customer=str(path)):
            read = reader(path)
            return lambda scope: read(scope.customer)
        case Reference(saved=path):
            read = reader(path or "")
            return lambda scope: read(scope.saved)
