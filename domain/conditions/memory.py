"""The in-memory evaluator of whole conditions over what is recorded about a customer, compiled to closures.

The SQL evaluator, `database/conditions.py`, must agree with it: tests/database/test_conditions_agree.py.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import assert_never

from domain.conditions import buckets
from domain.conditions.carts import compile_cart
from domain.conditions.dates import shifted
from domain.conditions.figures import compile_aggregate, compile_did
from domain.conditions.history import History, PastMessage
from domain.conditions.loyalty import compile_points, compile_tier
from domain.conditions.model import (
    AggregateIs,
    AllHold,
    AnyHolds,
    CartIs,
    Condition,
    ConsentIs,
    Did,
    EventIs,
    InBucket,
    MessageWas,
    NotHolds,
    PointsAre,
    SavedIs,
    ScoreIs,
    SegmentIs,
    TierIs,
    TraitIs,
    VariantIs,
)
from domain.conditions.predicates import compile_comparison, compile_where, every, negated, some
from domain.conditions.scope import Scope
from domain.conditions.walk import failed_leaf, leaves
from domain.durations import parse_duration
from domain.errors import NotAvailableYet

__all__ = ["History", "HistoryJudge", "Scope", "compile_condition", "compile_where", "explain"]

HistoryJudge = Callable[[History, Scope], bool]
"""Judges a customer by what is recorded; the traits are those of the scope's customer."""


def compile_condition(condition: Condition) -> HistoryJudge:
    """A function that judges a customer. Raises NotAvailableYet at once for the forms of a later release."""
    match condition:
        case AllHold(all=inner):
            return every([compile_condition(one) for one in inner])
        case AnyHolds(any=inner):
            return some([compile_condition(one) for one in inner])
        case NotHolds(not_=one):
            return negated(compile_condition(one))
        case Did():
            return compile_did(condition)
        case AggregateIs():
            return compile_aggregate(condition)
        case MessageWas():
            return _compile_message(condition)
        case ConsentIs():
            return lambda history, _: _consent_state(history, condition) == condition.eq
        case _:
            return _compile_fact(condition)


def explain(condition: Condition, history: History, scope: Scope) -> str | None:
    """The JSON pointer of the first leaf that made the condition false; None if it holds."""
    truths = {pointer: compile_condition(leaf)(history, scope) for pointer, leaf in leaves(condition)}
    return failed_leaf(condition, truths)


_Fact = TraitIs | EventIs | SavedIs | VariantIs | InBucket | PointsAre | TierIs | CartIs | SegmentIs | ScoreIs


def _compile_fact(condition: _Fact) -> HistoryJudge:
    match condition:
        case TraitIs():
            trait = compile_comparison(condition.trait, condition.comparison)
            return lambda _, scope: trait(scope.customer.get("traits"), scope)
        case EventIs():
            event = compile_comparison(condition.event, condition.comparison)
            return lambda _, scope: event(scope.entry, scope)
        case SavedIs():
            saved = compile_comparison(condition.saved, condition.comparison)
            return lambda _, scope: saved(scope.saved, scope)
        case VariantIs(variant=step, eq=arm):
            return lambda history, _: history.variants.get(step) == arm
        case InBucket(bucket=bucket, salt=salt):
            low, high = buckets.positions(bucket)
            return lambda history, _: low <= buckets.position(history.customer_id, salt) < high
        case PointsAre():
            return compile_points(condition)
        case TierIs():
            return compile_tier(condition)
        case CartIs():
            return compile_cart(condition)
        case SegmentIs() | ScoreIs():
            raise NotAvailableYet(f"Conditions like {condition!r} come with a later release.")
        case _:
            assert_never(condition)


def _compile_message(condition: MessageWas) -> HistoryJudge:
    filters = {
        name: getattr(condition, name)
        for name in ("template", "journey", "campaign", "channel")
        if getattr(condition, name) is not None
    }

    def judge(history: History, scope: Scope) -> bool:
        wanted = [
            message
            for message in history.messages
            if all(getattr(message, name) == value for name, value in filters.items())
        ]
        times = [at for message in wanted for at in _times(message, condition.message)]
        if condition.within is None:
            return bool(times)
        start = shifted(scope.as_of, parse_duration(condition.within), -1, scope.zone)
        return any(at >= start for at in times)

    return judge


def _times(message: PastMessage, happened: str) -> list[datetime]:
    """When this happened to the message: opens and clicks by people only."""
    if happened == "sent":
        return [] if message.sent_at is None else [message.sent_at]
    by_people = happened in ("opened", "clicked")
    return [
        report.at
        for report in message.reports
        if report.kind == happened and (report.actor == "human" or not by_people)
    ]


def _consent_state(history: History, condition: ConsentIs) -> str:
    default = history.consent_defaults.get(condition.consent, "none")
    records = [
        record
        for record in history.consents
        if record.purpose == condition.consent and record.channel == condition.channel
    ]
    # The latest; of several at one instant the one made last.
    return max(enumerate(records), key=lambda numbered: (numbered[1].at, numbered[0]))[1].state if records else default
