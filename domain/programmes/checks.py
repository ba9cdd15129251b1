"""What is wrong with a programme that can be read: checked when it is saved, and again before it is published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence

from domain.conditions.checks import (
    NOTHING_KNOWN,
    Place,
    Seen,
    check_condition,
    check_event,
    check_event_path,
    check_where,
)
from domain.conditions.inputs import Inputs, comparisons_of, inputs_of, union_of
from domain.conditions.model import AggregateIs, Condition, Did, EventIs, PointsAre, TierAtLeast, TierIs
from domain.conditions.paths import NOTHING_IS_CALCULATED, is_expression, steps_of
from domain.conditions.value_checks import check_value, check_value_event
from domain.conditions.walk import leaves
from domain.durations import parse_duration
from domain.findings import Finding, Severity
from domain.journeys.matches import EventMatch
from domain.local_time import ZONES
from domain.programmes.definition import AnniversaryWindow, ProgrammeDefinition, RollingWindow, Window
from domain.programmes.periods import is_calendar
from domain.programmes.rules import EarnRule, ExpiresAfter, Expiry, Multiplier, RatedAmount, UntilPeriodEnd
from domain.shares import asks_for_sentiment

Check = Callable[[ProgrammeDefinition, Seen], Iterator[Finding]]


def check_programme(definition: ProgrammeDefinition, seen: Seen = NOTHING_KNOWN) -> list[Finding]:
    """Everything that is wrong, errors first. `seen`: what has come in so far of the events that are named."""
    found = [finding for check in _CHECKS for finding in check(definition, seen)]
    return sorted(found, key=lambda finding: finding.severity is not Severity.ERROR)


def check_gains(definition: ProgrammeDefinition, rewards: Collection[str]) -> list[Finding]:
    """Warnings `unknown_reward`: sides of a referral that get a reward which nobody has published yet."""
    referral = definition.referral
    sides = {} if referral is None else {"referrer": referral.referrer, "referee": referral.referee}
    gifts = {side: gain.reward for side, gain in sides.items() if gain is not None and gain.reward is not None}
    return [
        _warning("unknown_reward", f"/referral/{side}/reward", f"No reward {reward!r} is published.")
        for side, reward in gifts.items()
        if reward not in rewards
    ]


def read_by(definition: ProgrammeDefinition) -> Inputs:
    """The events and traits that its rules and conditions look at."""
    conditions = [each.if_ for each in definition.multiply]
    for rule in definition.earn:
        conditions += [rule.if_, *(each.if_ for each in rule.multiply)]
    asked = union_of(inputs_of(condition) for condition in conditions if condition is not None)
    return asked | Inputs(events=events_of(definition))


def events_of(definition: ProgrammeDefinition) -> frozenset[str]:
    """The names of the events that the programme listens to."""
    referral = [definition.referral.qualifies_on.event] if definition.referral is not None else []
    return frozenset([*(rule.on.event for rule in definition.earn), *referral])


def _error(code: str, pointer: str, message: str) -> Finding:
    return Finding(code=code, pointer=pointer, message=message)


def _warning(code: str, pointer: str, message: str) -> Finding:
    return Finding(code=code, severity=Severity.WARNING, pointer=pointer, message=message)


# The document --------------------------------------------------------------------------------------------


def _zone(definition: ProgrammeDefinition, seen: Seen) -> Iterator[Finding]:
    if definition.zone is not None and definition.zone not in ZONES:
        message = f"{definition.zone} is not an IANA time zone; write one such as Europe/Berlin."
        yield _error("unknown_zone", "/zone", message)


def _rules(definition: ProgrammeDefinition, seen: Seen) -> Iterator[Finding]:
    names = Counter(rule.rule for rule in definition.earn)
    for position, rule in enumerate(definition.earn):
        pointer = f"/earn/{position}"
        if names[rule.rule] > 1:
            yield _error("duplicate_rule", f"{pointer}/rule", f"Several rules are called {rule.rule}; name each apart.")
        yield from _rule(definition, rule, pointer, seen)


def _rule(definition: ProgrammeDefinition, rule: EarnRule, pointer: str, seen: Seen) -> Iterator[Finding]:
    yield from _match(rule.on, f"{pointer}/on", seen)
    if rule.if_ is not None:
        yield from _condition(definition, rule.if_, f"{pointer}/if", rule.on.event, seen)
    yield from _multipliers(definition, rule.multiply, pointer, rule.on.event, seen)
    yield from _amount(rule, pointer, seen)
    yield from _once_per(rule, pointer)
    yield from _sentiment(definition, rule, pointer)
    yield from _expiry(rule.expires, f"{pointer}/expires")
    if rule.limit is not None:
        yield from _limit(rule.limit.per_customer, rule.limit.per, f"{pointer}/limit", "per_customer")
    if isinstance(rule.pending, UntilPeriodEnd):
        yield from _calendar(rule.pending.period_end, f"{pointer}/pending/period_end")


def _sentiment(definition: ProgrammeDefinition, rule: EarnRule, pointer: str) -> Iterator[Finding]:
    """Whether what a rule pays depends on what was felt (domain/shares.py says why it may not)."""
    conditions = [rule.if_, *(each.if_ for each in (*rule.multiply, *definition.multiply))]
    told = [each.property for each in comparisons_of(rule.on.where)]
    told += [path for each in conditions if each for _, leaf in leaves(each) for path in _read_of_events(leaf)]
    told += [rule.amount.of] if isinstance(rule.amount, RatedAmount) and rule.amount.of is not None else []
    if path := asks_for_sentiment(told):
        message = f"{path} is what somebody felt: pay the same for one star and five, and nothing for likes."
        yield _error("pays_for_sentiment", pointer, message)


def _read_of_events(leaf: Condition) -> Iterator[str]:
    """The paths into events, this one or earlier ones, that a condition looks at."""
    match leaf:
        case EventIs(event=path):
            yield path
        case Did(where=where):
            yield from (each.property for each in comparisons_of(where))
        case AggregateIs(of=of, where=where):
            yield from (each.property for each in comparisons_of(where))
            yield of or ""
        case _:
            return


def _match(match: EventMatch, pointer: str, seen: Seen) -> Iterator[Finding]:
    yield from check_event(match.event, f"{pointer}/event", seen)
    yield from check_value_event(match.event, f"{pointer}/event", seen)
    place = Place(pointer=f"{pointer}/where", in_run=False)
    yield from check_where(match.where, match.event, seen, place)


def _multipliers(
    definition: ProgrammeDefinition, multipliers: Sequence[Multiplier], pointer: str, event: str | None, seen: Seen
) -> Iterator[Finding]:
    for position, multiplier in enumerate(multipliers):
        place = f"{pointer}/multiply/{position}"
        if multiplier.if_ is not None:
            yield from _condition(definition, multiplier.if_, f"{place}/if", event, seen)
        yield from _factor(multiplier.by, f"{place}/by")


def _factor(by: float | None, pointer: str) -> Iterator[Finding]:
    if by == 0:
        yield _warning("pays_nothing", pointer, "Multiplied by nothing, nothing is paid.")


def _condition(
    definition: ProgrammeDefinition, condition: Condition, pointer: str, event: str | None, seen: Seen
) -> Iterator[Finding]:
    at = Place(pointer=pointer, entry_events=[event] if event else ())
    yield from check_condition(condition, seen, at)
    yield from check_value(condition, seen, at)
    levels = {level.tier for level in definition.tiers.levels} if definition.tiers is not None else set()
    for place, leaf in leaves(condition, pointer):
        if isinstance(leaf, PointsAre) and leaf.points != "earned":
            message = (
                f"The {leaf.points} points depend on when events arrive, so a late event could not be decided as of "
                "its own time; write points: earned."
            )
            yield _error("not_repeatable", f"{place}/points", message)
        if isinstance(leaf, TierIs):
            tier = leaf.tier.at_least if isinstance(leaf.tier, TierAtLeast) else leaf.tier
            if tier not in levels:
                yield _error("unknown_tier", f"{place}/tier", f"This programme has no tier {tier}.")


def _amount(rule: EarnRule, pointer: str, seen: Seen) -> Iterator[Finding]:
    amount = rule.amount
    if amount.points == 0:
        yield _warning("pays_nothing", f"{pointer}/amount/points", "This rule pays no points.")
    if isinstance(amount, RatedAmount) and amount.of is not None:
        yield from _path(amount.of, f"{pointer}/amount/of")
        yield from check_event_path(amount.of, [rule.on.event], f"{pointer}/amount/of", seen)


def _once_per(rule: EarnRule, pointer: str) -> Iterator[Finding]:
    parts = rule.once_per if isinstance(rule.once_per, list) else [rule.once_per]
    for position, part in enumerate(parts):
        if part not in (None, "customer"):
            place = f"/once_per/{position}" if isinstance(rule.once_per, list) else "/once_per"
            yield from _path(str(part), pointer + place)


def _path(path: str, pointer: str) -> Iterator[Finding]:
    if is_expression(path):
        yield _error("unknown_path", pointer, f"{path!r} leads nowhere: {NOTHING_IS_CALCULATED}.")
    elif next(iter(steps_of(path))) != "properties":
        message = f"{path!r} leads nowhere: a path into an event starts with 'properties', such as properties.subtotal."
        yield _error("unknown_path", pointer, message)


def _calendar(period: str, pointer: str) -> Iterator[Finding]:
    if not is_calendar(period):
        message = f"{period} is no period of the calendar; write days, weeks, months or years: 1d 1w 1mo 1y."
        yield _error("malformed_duration", pointer, message)


def _limit(most: int, per: str | None, pointer: str, name: str) -> Iterator[Finding]:
    if most == 0:
        yield _warning("pays_nothing", f"{pointer}/{name}", "A limit of nothing: nothing is ever paid.")
    if per is not None:
        yield from _calendar(per, f"{pointer}/per")


def _expiry(expires: Expiry | None, pointer: str) -> Iterator[Finding]:
    """Points that lapse as they become available; rounded up, they are good until the end of the period."""
    if isinstance(expires, ExpiresAfter) and expires.round is None:
        yield from _some_time(expires.after, f"{pointer}/after", "365d")


def _some_time(period: str, pointer: str, example: str) -> Iterator[Finding]:
    if parse_duration(period) == (0, 0):
        yield _error("malformed_duration", pointer, f"{period} is no time at all; write {example}.")


def _everywhere(definition: ProgrammeDefinition, seen: Seen) -> Iterator[Finding]:
    yield from _multipliers(definition, definition.multiply, "", None, seen)
    yield from _expiry(definition.expires, "/expires")
    for position, period in enumerate(definition.warn):
        yield from _some_time(period, f"/warn/{position}", "7d")


# Tiers and referrals -------------------------------------------------------------------------------------


def _tiers(definition: ProgrammeDefinition, seen: Seen) -> Iterator[Finding]:
    if definition.tiers is None:
        return
    yield from _window(definition.tiers.measure.window)
    levels = definition.tiers.levels
    names = Counter(level.tier for level in levels)
    for position, level in enumerate(levels):
        pointer = f"/tiers/levels/{position}"
        if names[level.tier] > 1:
            yield _error("duplicate_tier", f"{pointer}/tier", f"Several tiers are called {level.tier}.")
        if position and level.from_ <= levels[position - 1].from_:
            yield _error("tiers_out_of_order", f"{pointer}/from", "Each tier must begin higher than the one before it.")
        if isinstance(level.pending, UntilPeriodEnd):
            yield from _calendar(level.pending.period_end, f"{pointer}/pending/period_end")
        yield from _expiry(level.expires, f"{pointer}/expires")
        yield from _factor(level.multiply, f"{pointer}/multiply")


def _window(window: Window) -> Iterator[Finding]:
    """Years of membership begin at midnight, so they last whole days; without a length they would never end."""
    if isinstance(window, AnniversaryWindow):
        yield from _calendar(window.anniversary, "/tiers/measure/window/anniversary")
    if isinstance(window, RollingWindow):
        yield from _some_time(window.rolling, "/tiers/measure/window/rolling", "12mo")


def _referral(definition: ProgrammeDefinition, seen: Seen) -> Iterator[Finding]:
    referral = definition.referral
    if referral is None:
        return
    yield from _match(referral.qualifies_on, "/referral/qualifies_on", seen)
    if referral.referrer is None and referral.referee is None:
        yield _warning("pays_nothing", "/referral", "Nobody gets anything; say what the referrer or the referee gets.")
    yield from _some_time(referral.valid, "/referral/valid", "90d")
    for side, gain in (("referrer", referral.referrer), ("referee", referral.referee)):
        if gain is not None:
            yield from _expiry(gain.expires, f"/referral/{side}/expires")
    if referral.limit is not None:
        yield from _limit(referral.limit.per_referrer, referral.limit.per, "/referral/limit", "per_referrer")


_CHECKS: tuple[Check, ...] = (_zone, _rules, _everywhere, _tiers, _referral)
