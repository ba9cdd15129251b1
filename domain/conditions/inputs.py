"""What can change a condition: events by name, traits, messages, consent, or time alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce

from domain.carts import CART_EVENTS
from domain.conditions.model import (
    AggregateIs,
    AllOf,
    AnyOf,
    CartIs,
    Condition,
    ConsentIs,
    Did,
    EventIs,
    InBucket,
    MessageWas,
    NotOf,
    Predicate,
    PropertyIs,
    SavedIs,
    TraitIs,
    VariantIs,
)
from domain.conditions.operators import PERIOD_OPERATORS, Compared, Reference
from domain.conditions.paths import steps_of
from domain.conditions.walk import leaves


@dataclass(frozen=True, slots=True)
class Inputs:
    """Names of events, top-level keys of traits, kinds of message reports, purposes of consent, and the clock."""

    events: frozenset[str] = frozenset()
    traits: frozenset[str] = frozenset()
    messages: frozenset[str] = frozenset()
    consents: frozenset[str] = frozenset()
    time: bool = False  # it can change while nothing happens at all

    def __or__(self, other: Inputs) -> Inputs:
        return Inputs(
            self.events | other.events,
            self.traits | other.traits,
            self.messages | other.messages,
            self.consents | other.consents,
            self.time or other.time,
        )


def inputs_of(condition: Condition) -> Inputs:
    """Everything that can change whether the condition holds. The entry event, variants and buckets never change, and
    what steps saved does so by no event."""
    return union_of(_of_leaf(leaf) for _, leaf in leaves(condition))


def asks_for_state(condition: Condition) -> bool:
    """Whether events that follow can change it: not what was done, which is known as of any event, nor messages, which
    no event of the customer sends by itself."""
    return any(
        not isinstance(leaf, Did | AggregateIs | MessageWas | EventIs | SavedIs | VariantIs | InBucket)
        or _of_leaf(leaf).traits
        for _, leaf in leaves(condition)
    )


def inputs_of_where(where: Iterable[Predicate]) -> Inputs:
    """The same for predicates over one event: that event is given, but a reference may name a trait."""
    return union_of(_of_comparison(predicate) for predicate in comparisons_of(where))


def comparisons_of(where: Iterable[Predicate]) -> Iterator[PropertyIs]:
    """The comparisons in predicates, whatever logic stands around them."""
    for predicate in where:
        match predicate:
            case PropertyIs():
                yield predicate
            case AllOf(all=inner) | AnyOf(any=inner):
                yield from comparisons_of(inner)
            case NotOf(not_=one):
                yield from comparisons_of([one])


def union_of(each: Iterable[Inputs]) -> Inputs:
    """Everything that any of them is."""
    return reduce(Inputs.__or__, each, Inputs())


def _of_leaf(leaf: Condition) -> Inputs:
    match leaf:
        case TraitIs(trait=path):
            return Inputs(traits=_first_key(path)) | _of_comparison(leaf)
        case EventIs() | SavedIs():
            return _of_comparison(leaf)
        case Did(did=name) | AggregateIs(over=name):
            compared = _of_comparison(leaf) if isinstance(leaf, AggregateIs) else Inputs()
            counted = Inputs(events=frozenset([name]), time=leaf.within is not None)
            return counted | compared | inputs_of_where(leaf.where)
        case CartIs(cart=figure):
            return Inputs(events=CART_EVENTS, time=figure == "age") | _of_comparison(leaf)
        case MessageWas(message=kind):
            return Inputs(messages=frozenset([kind]), time=leaf.within is not None)
        case ConsentIs(consent=purpose):
            return Inputs(consents=frozenset([purpose]))
        case _:
            return Inputs()


def _of_comparison(compared: Compared) -> Inputs:
    operator, operand, _ = compared.comparison
    operands = operand if isinstance(operand, list | tuple) else [operand]
    paths = (one.customer for one in operands if isinstance(one, Reference) and one.customer)
    traits = (_first_key(path.removeprefix("traits.")) for path in paths if path.startswith("traits."))
    return Inputs(traits=frozenset[str]().union(*traits), time=operator in PERIOD_OPERATORS)


def _first_key(path: str) -> frozenset[str]:
    first = steps_of(path)[0]
    return frozenset([first] if isinstance(first, str) else [])
