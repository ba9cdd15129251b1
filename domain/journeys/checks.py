"""What is wrong with a journey that can be read: checked when it is saved, and again before it is published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from domain.conditions.checks import NOTHING_KNOWN, Seen, check_condition, check_event, check_where
from domain.conditions.checks import Place as ConditionPlace
from domain.conditions.model import VariantIs
from domain.conditions.value_checks import check_value
from domain.conditions.walk import leaves
from domain.durations import parse_duration
from domain.errors import Invalid
from domain.findings import Finding, Severity
from domain.journeys.call_checks import check_call
from domain.journeys.definition import DateEntry, JourneyDefinition, LaterEntry, ScheduleEntry, TierEntry, as_event
from domain.journeys.flow import Flow
from domain.journeys.graph import Graph
from domain.journeys.identity import with_ids
from domain.journeys.matches import EventMatch, MessageMatch, SegmentMatch, TraitMatch
from domain.journeys.path_checks import (
    check_event_paths,
    check_path_into,
    check_trait_path,
    entry_events,
    names_saved,
)
from domain.journeys.places import (
    Place,
    conditions_with_places,
    matches_with_places,
    steps_with_places,
)
from domain.journeys.steps import (
    BranchStep,
    CallStep,
    ElseArm,
    EmitStep,
    GotoStep,
    LaterStep,
    RewardStep,
    SendStep,
    SplitStep,
    StartStep,
    UpdateStep,
    WaitForStep,
    WaitStep,
)
from domain.journeys.value_places import conditions_of_value
from domain.local_time import ZONES, check_cron
from domain.own_events import is_own_name
from domain.shop_settings import FrequencyCap
from domain.template_language import faults

CHANNELS = frozenset({"email", "webhook"})
"""The channels that can be sent on; the others answer `channel_unavailable`."""

_MOST_COUNTED = 200


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a journey refers to: published templates with their channel, journeys, what has come in, the shop's caps."""

    templates: Mapping[str, str] = field(default_factory=dict)
    journeys: Collection[str] = frozenset()
    rewards: Collection[str] | None = None  # published ones; None: unknown
    seen: Seen = NOTHING_KNOWN
    caps: Sequence[FrequencyCap] = ()
    allow_private_calls: bool = False


Check = Callable[[JourneyDefinition, Surroundings], Iterator[Finding]]


def check_journey(definition: JourneyDefinition, around: Surroundings) -> list[Finding]:
    """Everything that is wrong, errors first; steps without an id go by the derived one."""
    written = with_ids(definition)
    found = [finding for check in _CHECKS for finding in check(written, around)]
    if not any(finding.code in ("duplicate_id", "unknown_step") for finding in found):
        found += [finding for check in _GRAPH_CHECKS for finding in check(written, around)]
    return sorted(found, key=lambda finding: finding.severity is not Severity.ERROR)


def _error(code: str, place: Place, message: str) -> Finding:
    return Finding(code=code, step=place.step, pointer=place.pointer, message=message)


def _warning(code: str, place: Place, message: str) -> Finding:
    return Finding(code=code, severity=Severity.WARNING, step=place.step, pointer=place.pointer, message=message)


# The document -------------------------------------------------------------------------------------------


def _ids(definition: JourneyDefinition, around: Surroundings) -> Iterator[Finding]:
    counts = Counter(step.id for step in definition.walk())
    for step, place in steps_with_places(definition):
        if counts[step.id] > 1:
            yield _error("duplicate_id", place, f"Several steps have the id {step.id}; give each its own.")


def _entry(definition: JourneyDefinition, around: Surroundings) -> Iterator[Finding]:
    place = Place("/enter/on")
    for entry in definition.enter.entries:
        match entry:
            case TierEntry(tier=tier) if tier not in {"any", *(around.seen.tiers or [tier])}:
                message = f"The live programme has no tier {tier}, so nobody enters until it has."
                yield _warning("unknown_tier", place.within("/tier"), message)
            case SegmentMatch() | LaterEntry():
                yield _not_yet(place, "This way to enter")
            case ScheduleEntry(schedule=cron, zone=zone):
                yield from _cron(cron, place.within("/schedule"))
                yield from _zone(zone, place.within("/zone"))
            case DateEntry(date=rule):
                yield from check_trait_path(rule.trait, place.within("/date/trait"), around.seen)
            case _:
                pass
    if not 0 <= definition.enter.holdout <= 100:
        yield _error("weights_off", Place("/enter/holdout"), "The holdout is a percentage: write 0 to 100.")
    elif definition.enter.holdout == 100:
        yield _warning("weights_off", Place("/enter/holdout"), "A holdout of 100 percent sends nobody anything.")


def _event_paths(definition: JourneyDefinition, around: Surroundings) -> Iterator[Finding]:
    yield from check_event_paths(definition, around.seen)


def _matches(definition: JourneyDefinition, around: Surroundings) -> Iterator[Finding]:
    sends = {step.id for step in definition.walk() if isinstance(step, SendStep)}
    for match, place in matches_with_places(definition):
        match match:
            case SegmentMatch():
                yield _not_yet(place, "Segments")
            case MessageMatch(step=step) if step is not None and step not in sends:
                yield _error("unknown_step", place.within("/step"), f"{step} is not the id of a send step here.")
            case TraitMatch(trait=trait):
                yield from check_trait_path(trait, place.within("/trait"), around.seen)
            case EventMatch():
                yield from _event_match(match, place, definition, around)
            case _:
                pass


def _event_match(
    match: EventMatch, place: Place, definition: JourneyDefinition, around: Surroundings
) -> Iterator[Finding]:
    """At the entry there is no run yet to refer to."""
    in_run, events, items = not place.pointer.startswith("/enter"), entry_events(definition), definition.enter.for_each
    pointer = place.pointer + "/where"
    where = ConditionPlace(pointer=pointer, step=place.step, in_run=in_run, entry_events=events, items=items)
    yield from check_event(match.event, place.pointer + "/event", around.seen, where)
    yield from check_where(match.where, match.event, around.seen, where)


def _conditions(definition: JourneyDefinition, around: Surroundings) -> Iterator[Finding]:
    splits = {step.id for step in definition.walk() if isinstance(step, SplitStep)}
    entries = [match.event for entry in definition.enter.entries if (match := as_event(entry))]
    for condition, place in conditions_with_places(definition):
        in_run = not place.pointer.startswith("/enter/on")
        saved = () if place.pointer.startswith("/enter") else names_saved(definition)  # at the entry, nothing yet
        where = ConditionPlace(
            pointer=place.pointer,
            step=place.step,
            in_run=in_run,
            entry_events=entries,
            saved=saved,
            items=definition.enter.for_each,
        )
        yield from check_condition(condition, around.seen, where)
        for pointer, leaf in leaves(condition):
            if isinstance(leaf, VariantIs) and leaf.variant not in splits:
                at = place.within(f"{pointer}/variant")
                yield _error("unknown_step", at, f"{leaf.variant} is not the id of a split step here.")


def _of_value(definition: JourneyDefinition, around: Surroundings) -> Iterator[Finding]:
    for condition, place, negated in conditions_of_value(definition):
        yield from check_value(
            condition, around.seen, ConditionPlace(pointer=place.pointer, step=place.step), negated=negated
        )


# The steps ----------------------------------------------------------------------------------------------


def _sends(definition: JourneyDefinition, around: Surroundings) -> Iterator[Finding]:
    for step, place in steps_with_places(definition):
        if not isinstance(step, SendStep):
            continue
        body, at = step.send, place.within("/send")
        if body.channel not in CHANNELS:
            message = f"The channel {body.channel} is not set up; send on {' or '.join(sorted(CHANNELS))}."
            yield _error("channel_unavailable", at.within("/channel"), message)
        if body.template not in around.templates:
            message = f"There is no published template {body.template}; publish it first or name another."
            yield _error("unknown_template", at.within("/template"), message)
        elif around.templates[body.template] != body.channel:
            meant = around.templates[body.template]
            message = f"The template {body.template} is for {meant}; send it there, or name another."
            yield _error("wrong_channel", at.within("/template"), message)
        if definition.purpose is None and body.category is None:
            message = "Say what consent this message needs: `purpose` of the journey, or `category` of the step."
            yield _error("no_consent_category", at, message)


def _waits(definition: JourneyDefinition, around: Surroundings) -> Iterator[Finding]:
    for step, place in steps_with_places(definition):
        match step:
            case WaitStep(wait=body):
                if isinstance(body.for_, str):
                    yield from _length(body.for_, definition, place.within("/wait/for"))
                if body.zone not in ("customer", "shop"):
                    yield from _zone(body.zone, place.within("/wait/zone"))
                if body.trait is not None:
                    yield from check_trait_path(body.trait, place.within("/wait/until_date/trait"), around.seen)
                if (looked_up := body.from_data) is not None and looked_up.event is not None:
                    at = place.within(f"/wait/{'for' if body.until_date is None else 'until_date'}/event")
                    events, items = entry_events(definition), definition.enter.for_each
                    yield from check_path_into(looked_up.event, events, at, around.seen, items=items)
            case WaitForStep(wait_for=body):
                yield from _length(body.timeout, definition, place.within("/wait_for/timeout"))
                if body.timeout is None:
                    message = "Without a timeout some customers wait here forever; add one."
                    yield _warning("wait_without_timeout", place.within("/wait_for"), message)
            case _:
                pass


def _ways(definition: JourneyDefinition, around: Surroundings) -> Iterator[Finding]:
    ids = {step.id for step in definition.walk()}
    for step, place in steps_with_places(definition):
        match step:
            case GotoStep(goto=body) if body.step not in ids:
                yield _error("unknown_step", place.within("/goto"), f"No step has the id {body.step}.")
            case StartStep(start=body) if body.journey not in {*around.journeys, definition.journey}:
                message = f"There is no journey {body.journey}; save it first or name another."
                if body.journey in (around.seen.journeys or ()):
                    message = f"The journey {body.journey} is archived; publish it again first or name another."
                yield _error("unknown_journey", place.within("/start/journey"), message)
            case SplitStep():
                yield from _weights(step, place.within("/split/variants"))
            case BranchStep():
                yield from _arms(step, place.within("/branch"))
            case RewardStep(reward=body) if around.rewards is not None and body.give not in around.rewards:
                message = f"There is no published reward {body.give}; publish it first or name another."
                yield _error("unknown_reward", place.within("/reward/give"), message)
            case LaterStep():
                yield _not_yet(place, f"The step {step.kind}")
            case _:
                pass


def _values(definition: JourneyDefinition, around: Surroundings) -> Iterator[Finding]:
    for step, place in steps_with_places(definition):
        match step:
            case CallStep(call=body):
                yield from check_call(body, place.within("/call"), allow_private=around.allow_private_calls)
                yield from _templates(
                    {"url": body.url, "headers": body.headers, "body": body.body}, place.within("/call")
                )
            case UpdateStep(update=body):
                yield from _templates(body.traits, place.within("/update/traits"))
            case EmitStep(emit=body):
                if is_own_name(body.event):
                    message = f"{body.event} is read as an event of the product's own: choose another name."
                    yield _error("own_event", place.within("/emit/event"), message)
                yield from _templates(body.properties, place.within("/emit/properties"))
            case StartStep(start=body):
                yield from _templates(body.properties, place.within("/start/properties"))
            case _:
                pass


# The ways through it ------------------------------------------------------------------------------------


def _reachability(definition: JourneyDefinition, around: Surroundings) -> Iterator[Finding]:
    reachable = Graph.of(Flow(definition)).reachable()
    for step, place in steps_with_places(definition):
        if step.id not in reachable:
            yield _error(
                "unreachable_step", place, "No customer can get here; remove the step or what ends the flow before it."
            )


def _loops(definition: JourneyDefinition, around: Surroundings) -> Iterator[Finding]:
    looping = {step.id for step in Graph.of(Flow(definition)).loops_without_wait()}
    for step, place in steps_with_places(definition):
        if step.id in looping:
            yield _error(
                "loop_without_wait", place.within("/goto"), "This loop has no wait in it; put one on every way round."
            )


def _window(cap: FrequencyCap) -> timedelta:
    """How long a cap's window is: a duration, or a day, week or month of the calendar."""
    calendar = {"day": timedelta(days=1), "week": timedelta(days=7), "month": timedelta(days=31)}
    return calendar.get(cap.per) or parse_duration(cap.per).longest()


def _frequency(definition: JourneyDefinition, around: Surroundings) -> Iterator[Finding]:
    """The most messages that one run can send within a cap's window, against that cap."""
    graph = Graph.of(Flow(definition))
    for cap in around.caps:
        if cap.purpose not in (None, definition.purpose):
            continue
        most = graph.most_messages(_window(cap), {cap.channel}, _MOST_COUNTED)
        if most > cap.at_most:
            message = (
                f"One customer could get {most} messages within {cap.per}, the shop's cap is {cap.at_most}: "
                "the rest will be skipped; spread the messages or send fewer."
            )
            yield _warning("too_many_messages", Place("/steps"), message)


# Small things -------------------------------------------------------------------------------------------


def _not_yet(place: Place, what: str) -> Finding:
    return _error("not_available_yet", place, f"{what} comes with a later release; leave it out for now.")


def _cron(expression: str, place: Place) -> Iterator[Finding]:
    try:
        check_cron(expression)
    except Invalid as error:
        yield _error("malformed_schedule", place, _sentence(error.detail))


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _zone(name: str | None, place: Place) -> Iterator[Finding]:
    if name is not None and name not in ZONES:
        yield _error("unknown_zone", place, f"{name} is not an IANA time zone; write one such as Europe/Berlin.")


def _length(duration: str | None, definition: JourneyDefinition, place: Place) -> Iterator[Finding]:
    if duration is not None and parse_duration(duration).longest() > timedelta(days=definition.max_days):
        message = (
            f"{duration} is longer than this journey's max_days ({definition.max_days}); shorten it or raise max_days."
        )
        yield _error("wait_too_long", place, message)


def _weights(step: SplitStep, place: Place) -> Iterator[Finding]:
    names = Counter(variant.variant for variant in step.split.variants)
    for name in [name for name, count in names.items() if count > 1]:
        yield _error("duplicate_variant", place, f"Several variants are called {name}; give each its own name.")
    weights = [variant.weight for variant in step.split.variants]
    total = sum(weights)
    if min(weights) < 0 or total <= 0:
        yield _error("weights_off", place, "Weights are shares: none may be negative and one must be more than zero.")
    elif max(weights) > 10 and abs(total - 100) > 0.01:
        message = f"These weights look like percentages and add up to {total:g}; make them add up to 100."
        yield _error("weights_off", place, message)


def _arms(step: BranchStep, place: Place) -> Iterator[Finding]:
    position = next((position for position, arm in enumerate(step.branch) if isinstance(arm, ElseArm)), None)
    if position is not None and position < len(step.branch) - 1:
        yield _error("unreachable_step", place.within(f"/{position + 1}"), "Nothing comes after else; put else last.")


def _templates(value: object, place: Place) -> Iterator[Finding]:
    """Faults of the `{{ }}` in any JSON value."""
    match value:
        case str():
            for fault in faults(value):
                yield Finding(
                    code=fault.code,
                    severity=fault.severity,
                    step=place.step,
                    pointer=place.pointer,
                    message=_sentence(fault.message),
                )
        case dict():
            for name, inner in value.items():
                yield from _templates(inner, place.within(f"/{name}"))
        case list():
            for position, inner in enumerate(value):
                yield from _templates(inner, place.within(f"/{position}"))
        case _:
            pass


_CHECKS: tuple[Check, ...] = (
    *(_ids, _entry, _event_paths, _matches, _conditions),
    *(_of_value, _sends, _waits, _ways, _values),
)
_GRAPH_CHECKS: tuple[Check, ...] = (_reachability, _loops, _frequency)
