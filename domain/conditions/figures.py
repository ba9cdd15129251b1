"""Counts and aggregates over a customer's recorded events, in memory: `did` and `aggregate`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from domain.conditions.amounts import amounts_reader, is_of_money
from domain.conditions.dates import moment_of, order, shifted
from domain.conditions.history import History, PastEvent
from domain.conditions.model import AggregateIs, Did, TimeBounded
from domain.conditions.operators import Comparison, Operator, Reference
from domain.conditions.paths import reader
from domain.conditions.predicates import compile_reference, compile_where
from domain.conditions.scope import Scope
from domain.conditions.values import NEGATED, ORDER, is_number
from domain.durations import parse_duration

Selecting = Callable[[History, Scope], Iterable[PastEvent]]
Figure = Fraction | None  # exact, so that sums and averages need no rounding; None: a missing value


def compile_did(condition: Did) -> Callable[[History, Scope], bool]:
    """A function that counts the events that count and compares the number."""
    counting = _compile_selection(condition.did, condition)
    low, high = condition.bounds

    def judge(history: History, scope: Scope) -> bool:
        count = sum(1 for _ in counting(history, scope))
        return low <= count and (high is None or count <= high)

    return judge


def compile_aggregate(condition: AggregateIs) -> Callable[[History, Scope], bool]:
    """A function that computes the figure and compares it."""
    counting = _compile_selection(condition.over, condition)
    read = _value_reader(condition)
    holds = compile_figure(condition.comparison)

    def judge(history: History, scope: Scope) -> bool:
        values = [value for event in counting(history, scope) for value in read(_payload(event), history)]
        return holds(_figure(condition.aggregate, values), scope)

    return judge


def _value_reader(condition: AggregateIs) -> Callable[[dict[str, Any], History], list[Any]]:
    if condition.of is None:
        return lambda _event, _history: [True]
    if is_of_money(condition):
        amounts = amounts_reader(condition.of, condition.currency)
        return lambda event, history: amounts(event, history.currency)
    read = reader(condition.of)
    return lambda event, _history: read(event)


def _payload(event: PastEvent) -> dict[str, Any]:
    return {"properties": event.properties, "context": event.context}


def _compile_selection(name: str, condition: Did | AggregateIs) -> Selecting:
    fits = compile_where(condition.where)

    def select(history: History, scope: Scope) -> Iterable[PastEvent]:
        in_time = _compile_time(condition, history, scope)
        return (
            event for event in history.events if event.name == name and in_time(event) and fits(event.properties, scope)
        )

    return select


def _compile_time(bounds: TimeBounded, history: History, scope: Scope) -> Callable[[PastEvent], bool]:
    tests: list[Callable[[PastEvent], bool]] = []
    if bounds.within is not None:
        start = shifted(scope.as_of, parse_duration(bounds.within), -1, scope.zone)
        tests.append(lambda event: event.timestamp >= start)
    if bounds.since is not None:
        tests.append(lambda event: order(event.timestamp, _moment(bounds.since), scope.zone) >= 0)
    if bounds.until is not None:
        tests.append(lambda event: order(event.timestamp, _moment(bounds.until), scope.zone) <= 0)
    if bounds.since_entry:
        tests.append(lambda event: _is_after_entry(event, history))
    return lambda event: all(test(event) for test in tests)


def _moment(text: str | None) -> date | datetime:
    moment = moment_of(text)
    assert moment is not None  # noqa: S101  the model refuses other texts
    return moment


def _is_after_entry(event: PastEvent, history: History) -> bool:
    if history.entry_number is not None:
        return event.number > history.entry_number
    return history.entered_at is not None and event.timestamp > history.entered_at


def _figure(aggregate: str, values: list[Any]) -> Figure:
    """Sums and counts of nothing are 0; averages, least and greatest of nothing are missing. Only numbers sum."""
    match aggregate:
        case "count":
            return Fraction(len(values))
        case "count_distinct":
            return Fraction(len({_identity(value) for value in values if isinstance(value, str | int | float)}))
        case _:
            return _of_numbers(aggregate, [_exact(value) for value in values if is_number(value)])


def _of_numbers(aggregate: str, numbers: list[Fraction]) -> Figure:
    if aggregate == "sum":
        return sum(numbers, Fraction())
    if not numbers:
        return None
    match aggregate:
        case "min":
            return min(numbers)
        case "max":
            return max(numbers)
        case _:
            return sum(numbers, Fraction()) / len(numbers)


def _identity(scalar: Any) -> tuple[type, Any]:
    return (Fraction, _exact(scalar)) if is_number(scalar) else (type(scalar), scalar)


def _exact(number: float) -> Fraction:
    """The number by the decimal digits that JSON writes, as PostgreSQL keeps it."""
    return Fraction(number) if isinstance(number, int) else Fraction(Decimal(repr(number)))


def compile_figure(comparison: Comparison) -> Callable[[Figure, Scope], bool]:
    """A function that compares a figure."""
    operator, operand = comparison.operator, comparison.operand
    match operator:
        case Operator.NE | Operator.NOT_IN:
            counterpart = compile_figure(comparison._replace(operator=NEGATED[operator]))
            return lambda figure, scope: not counterpart(figure, scope)
        case Operator.EXISTS:
            return lambda figure, _: (figure is not None) is operand
        case Operator.BETWEEN:
            low, high = _figure_test(Operator.GTE, operand[0]), _figure_test(Operator.LTE, operand[1])
            return lambda figure, scope: low(figure, scope) and high(figure, scope)
        case Operator.IN:
            tests = [_figure_test(Operator.EQ, one) for one in operand]
            return lambda figure, scope: any(test(figure, scope) for test in tests)
        case _:
            return _figure_test(operator, operand)


def _figure_test(operator: Operator, operand: Any) -> Callable[[Figure, Scope], bool]:
    holds = ORDER[operator]
    operands = compile_reference(operand) if isinstance(operand, Reference) else lambda _: [operand]

    def test(figure: Figure, scope: Scope) -> bool:
        numbers = (_exact(one) for one in operands(scope) if is_number(one))
        return figure is not None and any(holds(figure, number) for number in numbers)

    return test
