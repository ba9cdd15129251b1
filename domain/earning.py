"""What events earn under a programme: one pure function for routing, for previews and for dry runs over history.

All rules that match an event pay. Rate times multipliers stays exact and is rounded once for the rule and event; then
the limit applies. Rules are judged in the order they are written; nothing else has a say in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from fractions import Fraction
from math import prod
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from domain.commerce import text_id
from domain.conditions.memory import Scope, compile_where
from domain.conditions.paths import reader
from domain.earned_amounts import NotCounted, Sale, Share, Worth, rounded, sale_of, worth_of
from domain.earned_conditions import placed
from domain.earned_dates import activation, history_start, lapses
from domain.earned_edits import Change, Terms, amended
from domain.identities import SENT_UNKNOWN, Stamp
from domain.programmes.definition import Level, ProgrammeDefinition
from domain.programmes.periods import Period, period_of
from domain.programmes.rules import MOST_POINTS, EarnRule, UntilEvent, exactly
from domain.unpaid import TAKES_ITS_OCCASION, Unpaid

CUSTOMER = "customer"
"""The part of `once_per` that stands for the customer."""


@dataclass(frozen=True, slots=True)
class Programme:
    """A version of the programme. `currency`: the shop's, for events that name none."""

    key: str
    version: int
    definition: ProgrammeDefinition
    zone: ZoneInfo
    currency: str

    def takes(self, rule: EarnRule, event: EarningEvent) -> bool:
        """Whether an event may earn by a rule, if it is imported history: at its own date, or as if it came now."""
        start = history_start(self.definition, self.zone)
        is_old = start is not None and (event.is_late or event.at < start)
        return not event.is_history or (self.definition.takes_imports(rule) and not is_old)


@dataclass(frozen=True, slots=True)
class EarningEvent:
    """An event that may earn. `at` is when it counts: when it happened, or now, for one that came more than a day late.

    `trusted` is false for what a browser says; `is_history` true for imports, `is_guest` for who has no name yet.
    `verified_by`: our own copy of an event that was verified, by `click_back` or `review`; rules that ask for that pay
    on it, and no other rule does.
    """

    id: UUID
    message_id: str
    customer_id: UUID
    name: str
    properties: Mapping[str, Any]  # any JSON object
    at: datetime
    trusted: bool = True
    is_history: bool = False
    is_late: bool = False
    is_guest: bool = False
    sent: datetime = SENT_UNKNOWN
    verified_by: str | None = None
    version: int | None = None  # of the programme, that has decided about it before
    currency: str | None = None  # of its order, where the event names none
    later: Sequence[tuple[datetime, Mapping[str, Any]]] = ()  # its order as edits of a day after it or more left it

    @property
    def stamp(self) -> Stamp:
        """What orders a customer's earnings."""
        return Stamp(self.at, self.sent, self.id)


@dataclass(frozen=True, slots=True)
class Boost:
    """A temporary multiplier of one customer, for one rule or (None) all of them."""

    by: Fraction
    start: datetime
    end: datetime
    rule: str | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """The customer as before the event. `truths` says of each condition, by its pointer, whether it holds."""

    scope: Scope
    tier: str | None = None
    truths: Mapping[str, bool] = field(default_factory=dict)
    boosts: Sequence[Boost] = ()


@dataclass(frozen=True, slots=True)
class Occasion:
    """The natural key of an earning, with its rule. `owner`: the customer, where it is one of its parts."""

    rule: str
    value: str
    owner: UUID | None = None


@dataclass(frozen=True, slots=True)
class Factor:
    """A multiplier that counted: its place in the programme (or what raised it) and its exact rate."""

    place: str
    by: Fraction


@dataclass(frozen=True, slots=True)
class Decision:
    """What one rule made of one event, with all that it was decided by.

    `points` are paid; `wanted` is what the rule came to before its limit. `order_id`: whose refunds take points back.
    """

    rule: str
    version: int
    event: EarningEvent
    occasion: Occasion
    points: int = 0
    reason: Unpaid | None = None
    failed: str | None = None  # the pointer of what did not hold
    wanted: int = 0
    exact: Fraction = Fraction(0)
    worth: Worth | None = None
    factors: Sequence[Factor] = ()
    tier: str | None = None
    period: Period | None = None
    room: int | None = None  # what its limit had left; None: it has none
    changes: Sequence[Change] = ()  # by later edits of its order
    activates_at: datetime | None = None
    activates_on: str | None = None  # the event that makes the points available before that
    expires_at: datetime | None = None
    order_id: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether its occasion is taken."""
        return self.reason in TAKES_ITS_OCCASION

    @property
    def first_points(self) -> int:
        """What it paid before later edits: they reopen no limit, and count from their own time."""
        return self.points - sum(change.by for change in self.changes)

    @property
    def shares(self) -> Sequence[Share]:
        """The frozen shares of the order's lines."""
        return self.worth.shares if self.worth else ()


@dataclass(slots=True)
class Used:
    """What a customer got out of one rule so far in one period."""

    points: int = 0
    times: int = 0


@dataclass(slots=True)
class Usage:
    """What limits and occasions have been used up by earlier decisions. `decide` reads it, `take` adds to it."""

    limits: MutableMapping[tuple[UUID, str, Period | None], Used] = field(default_factory=dict)
    occasions: set[Occasion] = field(default_factory=set)

    def of(self, customer_id: UUID, rule: str, period: Period | None) -> Used:
        """What was used of a limit."""
        return self.limits.get((customer_id, rule, period), Used())

    def take(self, decision: Decision) -> None:
        """Count a decision."""
        if decision.is_final:
            self.occasions.add(decision.occasion)
        if decision.first_points > 0:
            key = (decision.event.customer_id, decision.rule, decision.period)
            used = self.limits.setdefault(key, Used())
            used.points += decision.first_points
            used.times += 1


def decide(programme: Programme, event: EarningEvent, about: Circumstances, usage: Usage) -> list[Decision]:
    """One decision for each rule that names the event, in the order of the rules."""
    sale = sale_of(event.properties, event.currency or programme.currency)
    rules = enumerate(programme.definition.earn)
    return [
        _decide(_Case(programme, position, rule, event, about, sale, occasion_of(rule, event)), usage)
        for position, rule in rules
        if rule.on.event == event.name
    ]


def decide_in_order(
    events: Iterable[EarningEvent],
    programme_at: Callable[[EarningEvent], Programme | None],
    about: Callable[[EarningEvent], Circumstances],
    usage: Usage,
) -> Iterator[Decision]:
    """Decide events in (time, sent, event id) order, each on top of those before it."""
    for event in sorted(events, key=lambda each: each.stamp):
        programme = programme_at(event)
        for decision in decide(programme, event, about(event), usage) if programme else ():
            usage.take(decision)
            yield decision


def limits_of(programme: Programme, event: EarningEvent) -> list[tuple[str, Period | None]]:
    """The limits that the event may run into: the rule, and the period that it falls into (None: ever)."""
    return [
        (rule.rule, _period(rule, event.at, programme.zone))
        for rule in programme.definition.earn
        if rule.on.event == event.name and rule.limit is not None
    ]


def occasion_of(rule: EarnRule, event: EarningEvent) -> Occasion:
    """The natural key of what the event earns under the rule; parts that the event lacks stand for the event itself."""
    parts = _once_per(rule, event)
    values = [_text_at(part, event.properties) for part in parts if part != CUSTOMER]
    owner = event.customer_id if CUSTOMER in parts else None
    if None in values or (not values and owner is None):
        return Occasion(rule.rule, event.message_id)
    return Occasion(rule.rule, "/".join(str(value).replace("/", "//") for value in values), owner)


def order_of(event: EarningEvent) -> str | None:
    """The order that an event is about, if it is one of the events of orders."""
    return text_id(event.properties.get("order_id")) if event.name.startswith("Order ") else None


@dataclass(frozen=True, slots=True)
class _Case:
    """One rule before one event."""

    programme: Programme
    position: int
    rule: EarnRule
    event: EarningEvent
    about: Circumstances
    sale: Sale
    occasion: Occasion

    @property
    def pointer(self) -> str:
        return f"/earn/{self.position}"

    @property
    def level(self) -> Level | None:
        return self.programme.definition.level(self.about.tier)

    @property
    def period(self) -> Period | None:
        return _period(self.rule, self.event.at, self.programme.zone)

    def decision(self, reason: Unpaid | None = None, **more: Any) -> Decision:  # further members of it
        return Decision(
            *(self.rule.rule, self.programme.version, self.event, self.occasion),
            reason=reason,
            tier=self.about.tier,
            period=self.period,
            order_id=order_of(self.event),
            **more,
        )


def _decide(case: _Case, usage: Usage) -> Decision:
    if refused := _refused(case):
        return refused
    worth = worth_of(case.rule.amount, case.sale, case.about.scope)
    if isinstance(worth, NotCounted):
        return case.decision(Unpaid(worth.reason))
    factors = list(_factors(case))
    exact = prod((factor.by for factor in factors), start=worth.points)
    wanted = min(rounded(exact, case.rule.amount), MOST_POINTS)
    room = _room(case, usage)
    is_taken = case.occasion in usage.occasions
    points, reason = (0, Unpaid.ONCE) if is_taken else Terms(case.rule, Fraction(1), room).paid(wanted)
    inputs = {"wanted": wanted, "exact": exact, "worth": worth, "factors": factors, "room": room}
    return _edited(case, case.decision(reason, points=points, **inputs, **_dates(case)))


def _edited(case: _Case, decision: Decision) -> Decision:
    """What later edits of the order make of a decision that is final."""
    if not case.event.later or not decision.is_final:
        return decision
    terms = Terms(case.rule, prod((factor.by for factor in decision.factors), start=Fraction(1)), decision.room)
    currency = case.event.currency or case.programme.currency
    sales = [(at, sale_of(properties, currency)) for at, properties in case.event.later]
    after = amended(terms, decision.points, sales, case.about.scope)
    return replace(
        decision,
        points=after.points,
        reason=after.reason,
        wanted=after.wanted,
        exact=after.exact,
        worth=after.worth,
        changes=after.changes,
    )


def _refused(case: _Case) -> Decision | None:
    """What keeps a rule from paying, whatever the amount."""
    event, rule = case.event, case.rule
    if not event.trusted:
        return case.decision(Unpaid.UNTRUSTED)
    if not case.programme.takes(rule, event):
        return case.decision(Unpaid.HISTORY)
    for position, predicate in enumerate(rule.on.where):
        if not compile_where([predicate])(dict(event.properties), case.about.scope):
            return case.decision(Unpaid.WHERE, failed=f"{case.pointer}/on/where/{position}")
    if event.is_guest:
        return case.decision(Unpaid.GUEST)
    if rule.if_ is not None and not case.about.truths[f"{case.pointer}/if"]:
        return case.decision(Unpaid.CONDITION, failed=f"{case.pointer}/if")
    return case.decision(Unpaid.VERIFY) if rule.verify != event.verified_by else None


def _factors(case: _Case) -> Iterator[Factor]:
    """The multipliers that count: the rule's, the programme's, the tier's and those raised for the customer."""
    for at, multiplier in (
        *placed(case.pointer, case.rule.multiply),
        *placed("", case.programme.definition.multiply),
    ):
        if multiplier.if_ is None or case.about.truths[f"{at}/if"]:
            yield Factor(at, exactly(multiplier.by))
    if case.level is not None and case.level.multiply is not None:
        yield Factor(f"tier/{case.level.tier}", exactly(case.level.multiply))
    for boost in case.about.boosts:
        if boost.rule in (None, case.rule.rule) and boost.start <= case.event.at < boost.end:
            yield Factor(boost.source, boost.by)


def _room(case: _Case, usage: Usage) -> int | None:
    """How many points the limit has left; None: as many as there are."""
    limit = case.rule.limit
    if limit is None:
        return None
    used = usage.of(case.event.customer_id, case.rule.rule, case.period)
    if case.rule.counts_times:
        return None if used.times < limit.per_customer else 0
    return max(limit.per_customer - used.points, 0)


def _dates(case: _Case) -> dict[str, Any]:  # members of Decision
    """The tier's word goes before the rule's."""
    level, rule = case.level, case.rule
    pending = level.pending if level is not None and level.pending is not None else rule.pending
    definition, zone = case.programme.definition, case.programme.zone
    activates_at = activation(pending, case.event.at, zone)
    return {
        "activates_at": activates_at,
        "activates_on": pending.event if isinstance(pending, UntilEvent) else None,
        "expires_at": lapses(definition, zone, rule.rule, case.about.tier, activates_at or case.event.at),
    }


def _period(rule: EarnRule, at: datetime, zone: ZoneInfo) -> Period | None:
    return period_of(at, rule.limit.per, zone) if rule.limit is not None and rule.limit.per is not None else None


def _once_per(rule: EarnRule, event: EarningEvent) -> Sequence[str]:
    if rule.once_per is None:
        return ["properties.order_id"] if event.name.startswith("Order ") else []
    return rule.once_per if isinstance(rule.once_per, list) else [rule.once_per]


def _text_at(path: str, properties: Mapping[str, Any]) -> str | None:  # any JSON object
    found = reader(path)({"properties": properties})
    return text_id(found[0]) if len(found) == 1 else None
