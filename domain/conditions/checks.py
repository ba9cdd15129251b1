"""What is found in a condition before it is published: what is not there yet, can never be true, or was never seen."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from domain.conditions.impossible import Impossible, impossible, impossible_where
from domain.conditions.model import (
    AggregateIs,
    AllOf,
    AnyOf,
    Condition,
    Did,
    EventIs,
    MessageWas,
    NotOf,
    Predicate,
    PropertyIs,
    SavedIs,
    ScoreIs,
    SegmentIs,
    TierAtLeast,
    TierIs,
    TraitIs,
    VariantIs,
)
from domain.conditions.operators import (
    MOMENT_OPERATORS,
    PERIOD_OPERATORS,
    Compared,
    Comparison,
    Operator,
    Reference,
)
from domain.conditions.paths import NOTHING_IS_CALCULATED, as_any, is_expression, steps_of
from domain.conditions.values import NEGATED
from domain.conditions.walk import leaves
from domain.findings import Finding, Severity

JsonType = str
"""`string`, `number`, `boolean`, `array`, `object` or `null`, as jsonb_typeof says it."""

Types = Mapping[str, Collection[JsonType]]
"""By path, as conditions write it: `total`, `products[].sku`."""


@dataclass(frozen=True, slots=True)
class Reporters:
    """Who has told of an event or a trait so far, as far back as was looked."""

    browsers: bool = False
    trusted: bool = False

    @property
    def only_browsers(self) -> bool:
        """Whether nobody else has."""
        return self.browsers and not self.trusted


@dataclass(frozen=True, slots=True)
class Seen:
    """What has come in so far: the types of traits, and of each event's properties. None: nothing is known of it."""

    events: Mapping[str, Types] | None = None
    traits: Types | None = None
    tiers: Collection[str] | None = None  # of the live programme; none without one
    templates: Collection[str] | None = None  # every key that there is or was
    journeys: Collection[str] | None = None
    event_reporters: Mapping[str, Reporters] = field(default_factory=dict)
    trait_reporters: Mapping[str, Reporters] = field(default_factory=dict)


NOTHING_KNOWN = Seen()

EVENT_ROOTS = ("properties", "context")
ENTRY_ROOTS = ("event", "properties", "context", "timestamp", "event_id", "message_id")
"""Where paths into a recorded event, and into the entry event, can start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a condition stands. `in_run`: there is an entry event, one of `entry_events` as far as they are known.

    `saved`: the names under which steps keep something that can be known there; `items`: where the entry has the list
    that its `item` is of.
    """

    pointer: str = ""
    step: str | None = None
    in_run: bool = True
    entry_events: Collection[str] = ()
    saved: Collection[str] = ()
    items: str | None = None


ANYWHERE = Place()


def check_condition(condition: Condition, seen: Seen = NOTHING_KNOWN, place: Place = ANYWHERE) -> list[Finding]:
    """Errors not_available_yet, never_true, needs_a_run, unknown_path and unknown_saved; warnings *_never_seen,
    wrong_type, unknown_tier, unknown_template and unknown_journey.
    """
    never = _never_true(impossible(condition, place.pointer), place)
    return [*_of_leaves(condition, seen, place), *never]


def check_where(
    where: Sequence[Predicate], event: str, seen: Seen = NOTHING_KNOWN, place: Place = ANYWHERE
) -> list[Finding]:
    """The same for predicates over the properties of one event; `place.pointer` is that of the list."""
    never = _never_true(impossible_where(where, place.pointer), place)
    return [*_of_where(where, event, seen, place, place.pointer), *never]


def check_event(event: str, pointer: str, seen: Seen = NOTHING_KNOWN, place: Place = ANYWHERE) -> list[Finding]:
    """A warning when no event of that name has come in so far."""
    if seen.events is None or event in seen.events:
        return []
    message = f"No event {event!r} has been seen so far; check the spelling, which is exact."
    return [_finding("event_never_seen", Severity.WARNING, pointer, message, place)]


def check_trait(path: str, pointer: str, seen: Seen = NOTHING_KNOWN, place: Place = ANYWHERE) -> list[Finding]:
    """A warning when no customer has come with that trait so far."""
    if seen.traits is None or as_any(path) in seen.traits:
        return []
    return [_never_seen("trait", path, pointer, place)]


def check_event_path(
    path: str, events: Collection[str], pointer: str, seen: Seen = NOTHING_KNOWN, place: Place = ANYWHERE
) -> list[Finding]:
    """A warning when none of these events has come with that property so far; `path` starts at the event."""
    known = None if seen.events is None else _merged([seen.events[name] for name in events if name in seen.events])
    root, *keys = steps_of(path)
    if known is None or root != "properties" or not keys or as_any(path.removeprefix("properties.")) in known:
        return []
    return [_never_seen("property", path.removeprefix("properties."), pointer, place)]


def of_items(path: str, items: str | None) -> str:
    """Where the event has what a path finds in the entry: `item.price` is `properties.products[].price`."""
    return f"{items}[]{path.removeprefix('item')}" if items is not None and steps_of(path)[0] == "item" else path


def _of_leaves(condition: Condition, seen: Seen, place: Place) -> Iterator[Finding]:
    for pointer, leaf in leaves(condition, place.pointer):
        if isinstance(leaf, Compared):
            yield from _references(leaf, pointer, seen, place)
        match leaf:
            case TraitIs(trait=path):
                yield from _types(leaf, path, seen.traits, pointer, place, kind="trait")
            case EventIs(event=path):
                yield from _of_entry(leaf, path, seen, pointer, place)
            case SavedIs() | VariantIs():
                yield from _of_run(leaf, pointer, place)
            case Did() | AggregateIs():
                yield from _of_events(leaf, seen, pointer, place)
            case TierIs():
                yield from _of_tier(leaf, seen, pointer, place)
            case MessageWas():
                yield from _of_message(leaf, seen, pointer, place)
            case SegmentIs() | ScoreIs():
                kind = next(iter(leaf.model_fields_set & {"segment", "score"}))
                message = f"Conditions on {kind} come with a later release; remove this one for now."
                yield _finding("not_available_yet", Severity.ERROR, pointer, message, place)
            case _:
                pass


def _of_run(leaf: SavedIs | VariantIs, pointer: str, place: Place) -> Iterator[Finding]:
    if not place.in_run:
        yield _needs_a_run("a variant" if isinstance(leaf, VariantIs) else "saved answers", pointer, place)
    elif isinstance(leaf, SavedIs) and (name := steps_of(leaf.saved)[0]) not in place.saved:
        message = f"No step of this journey keeps anything as {name!r}; write a name that a step has as its save_as."
        yield _finding("unknown_saved", Severity.ERROR, f"{pointer}/saved", message, place)


def _of_tier(leaf: TierIs, seen: Seen, pointer: str, place: Place) -> Iterator[Finding]:
    name = leaf.tier.at_least if isinstance(leaf.tier, TierAtLeast) else leaf.tier
    if seen.tiers is not None and name not in seen.tiers:
        message = f"The live programme has no tier {name!r}, so this holds for nobody until it has."
        yield _finding("unknown_tier", Severity.WARNING, f"{pointer}/tier", message, place)


def _of_message(leaf: MessageWas, seen: Seen, pointer: str, place: Place) -> Iterator[Finding]:
    for kind, key, known in (("template", leaf.template, seen.templates), ("journey", leaf.journey, seen.journeys)):
        if key is not None and known is not None and key not in known:
            message = f"There never was a {kind} {key!r}, so no message is counted; check the spelling."
            yield _finding(f"unknown_{kind}", Severity.WARNING, f"{pointer}/{kind}", message, place)


def _of_entry(leaf: EventIs, path: str, seen: Seen, pointer: str, place: Place) -> Iterator[Finding]:
    if not place.in_run:
        yield _needs_a_run("the entry event", pointer, place)
    root, *_ = steps_of(path)
    roots = (*ENTRY_ROOTS, "item") if place.items is not None else ENTRY_ROOTS
    if root not in roots or is_expression(path):
        yield _unknown_path(path, roots, f"{pointer}/event", place)
    elif (told := of_items(path, place.items)).startswith("properties.") and seen.events is not None:
        known = [seen.events[name] for name in place.entry_events if name in seen.events]
        yield from _types(leaf, told.removeprefix("properties."), _merged(known), pointer, place, kind="property")


def _merged(each: Sequence[Types]) -> Types | None:
    """The types of a path in any of several events; None if nothing is known of any."""
    paths = {path for types in each for path in types}
    return {path: {one for types in each for one in types.get(path, ())} for path in paths} or None


def _of_events(leaf: Did | AggregateIs, seen: Seen, pointer: str, place: Place) -> Iterator[Finding]:
    name, member = (leaf.did, "did") if isinstance(leaf, Did) else (leaf.over, "over")
    yield from check_event(name, f"{pointer}/{member}", seen, place)
    if leaf.since_entry and not place.in_run:
        yield _needs_a_run("since_entry", f"{pointer}/since_entry", place)
    yield from _of_where(leaf.where, name, seen, place, f"{pointer}/where")
    if isinstance(leaf, AggregateIs):
        yield from _of_figure(leaf, seen, pointer, place)


def _of_figure(leaf: AggregateIs, seen: Seen, pointer: str, place: Place) -> Iterator[Finding]:
    if leaf.of is None:
        return
    root, *_ = steps_of(leaf.of)
    if root not in EVENT_ROOTS or is_expression(leaf.of):
        yield _unknown_path(leaf.of, EVENT_ROOTS, f"{pointer}/of", place)
        return
    yield from check_event_path(leaf.of, [leaf.over], f"{pointer}/of", seen, place)
    if root == "properties" and leaf.aggregate in ("sum", "avg", "min", "max") and seen.events is not None:
        path = leaf.of.removeprefix("properties.")
        found = set(seen.events.get(leaf.over, {}).get(as_any(path), ())) - {"null"}
        if found and "number" not in found:
            yield _wrong_type(path, found, {"number"}, f"{pointer}/of", place)


def _of_where(where: Sequence[Predicate], event: str, seen: Seen, place: Place, pointer: str) -> Iterator[Finding]:
    for position, predicate in enumerate(where):
        yield from _of_predicate(predicate, event, f"{pointer}/{position}", seen, place)


def _of_predicate(predicate: Predicate, event: str, pointer: str, seen: Seen, place: Place) -> Iterator[Finding]:
    match predicate:
        case AllOf(all=inner):
            for position, one in enumerate(inner):
                yield from _of_predicate(one, event, f"{pointer}/all/{position}", seen, place)
        case AnyOf(any=inner):
            for position, one in enumerate(inner):
                yield from _of_predicate(one, event, f"{pointer}/any/{position}", seen, place)
        case NotOf(not_=one):
            yield from _of_predicate(one, event, f"{pointer}/not", seen, place)
        case PropertyIs(property=path):
            types = None if seen.events is None else seen.events.get(event)
            yield from _references(predicate, pointer, seen, place)
            yield from _types(predicate, path, types, pointer, place, kind="property")


def _types(
    compared: Compared, path: str, types: Types | None, pointer: str, place: Place, *, kind: str
) -> Iterator[Finding]:
    if types is None:
        return
    found, needed = set(types.get(as_any(path), ())) - {"null"}, _needed(compared.comparison)
    if as_any(path) not in types:
        yield _never_seen(kind, path, pointer, place)
    elif found and needed and not found & needed:
        yield _wrong_type(path, found, needed, pointer, place)


def _needed(comparison: Comparison) -> set[JsonType]:
    """The JSON types of which a value must be one for the comparison to hold; empty: any."""
    operator = NEGATED.get(comparison.operator, comparison.operator)
    match operator:
        case Operator.EXISTS:
            return set()
        case Operator.CONTAINS:
            return {"array", "string"}
        case Operator.STARTS_WITH | Operator.ENDS_WITH | Operator.MATCHES_ANY:
            return {"string"}
        case _ if operator in (*MOMENT_OPERATORS, *PERIOD_OPERATORS):
            return {"string"}
        case _:
            operands = comparison.operand if isinstance(comparison.operand, list | tuple) else [comparison.operand]
            types = {_type_of(one) for one in operands}
            return set() if None in types else {one for one in types if one}


def _type_of(operand: object) -> JsonType | None:
    match operand:
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case _:  # a reference can be anything
            return None


def _references(compared: Compared, pointer: str, seen: Seen, place: Place) -> Iterator[Finding]:
    operator, operand, _ = compared.comparison
    operands = operand if isinstance(operand, list | tuple) else [operand]
    for one in operands:
        if not isinstance(one, Reference):
            continue
        at = f"{pointer}/{operator}"
        if one.customer is None and not place.in_run:
            yield _needs_a_run("a reference to the entry or to saved answers", at, place)
        elif one.entry is not None:
            yield from check_event_path(of_items(one.entry, place.items), place.entry_events, at, seen, place)
        elif one.customer is not None and one.customer.startswith("traits."):
            yield from check_trait(one.customer.removeprefix("traits."), at, seen, place)


def _never_true(found: Iterator[Impossible], place: Place) -> list[Finding]:
    return [
        _finding("never_true", Severity.ERROR, pointer, f"This can never be true: {why}.", place)
        for pointer, why in found
    ]


def _never_seen(kind: str, path: str, pointer: str, place: Place) -> Finding:
    message = f"No {kind} {path!r} has been seen so far; check the spelling, which is exact."
    return _finding(f"{kind}_never_seen", Severity.WARNING, pointer, message, place)


def _wrong_type(path: str, found: set[JsonType], needed: set[JsonType], pointer: str, place: Place) -> Finding:
    message = (
        f"{path!r} has come as {_listed(found)} so far, but this holds only for {_listed(needed)};"
        " types are never converted, so a number in a text is not a number."
    )
    return _finding("wrong_type", Severity.WARNING, pointer, message, place)


def _listed(types: set[JsonType]) -> str:
    return " or ".join(sorted("text" if one == "string" else one for one in types))


def _unknown_path(path: str, roots: Collection[str], pointer: str, place: Place) -> Finding:
    choices = " or ".join(f"{root!r}" for root in sorted(roots))
    why = f"a path into an event starts with {choices}, such as 'properties.total'"
    message = f"{path!r} leads nowhere: {NOTHING_IS_CALCULATED if is_expression(path) else why}."
    return _finding("unknown_path", Severity.ERROR, pointer, message, place)


def _needs_a_run(what: str, pointer: str, place: Place) -> Finding:
    message = f"Only a journey's run has {what}; ask for it in a branch, or in an entry's if."
    return _finding("needs_a_run", Severity.ERROR, pointer, message, place)


def _finding(code: str, severity: Severity, pointer: str, message: str, place: Place) -> Finding:
    return Finding(code=code, severity=severity, step=place.step, pointer=pointer, message=message)
