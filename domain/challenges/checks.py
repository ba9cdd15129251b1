"""What is found in a challenge before it is published."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from domain.challenges.definition import ChallengeDefinition, Distinct, Prize, Sum
from domain.challenges.facts import COMPLETED
from domain.challenges.versions import gone_levels
from domain.conditions.checks import EVENT_ROOTS, NOTHING_KNOWN, Place, Seen, check_event, check_where
from domain.conditions.dates import moment_of, order
from domain.conditions.inputs import comparisons_of
from domain.conditions.paths import NOTHING_IS_CALCULATED, is_expression, steps_of
from domain.findings import Finding, Severity
from domain.local_time import resolve_zone
from domain.shares import asks_for_sentiment


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a challenge stands among. `requires`: published challenge -> those that it requires.

    `before`: its version that counts until now, `heights`: level -> how high it ever was in any version.
    """

    seen: Seen = NOTHING_KNOWN
    requires: Mapping[str, Collection[str]] = field(default_factory=dict)
    rewards: Collection[str] = ()
    has_programme: bool = False
    before: ChallengeDefinition | None = None
    heights: Mapping[str, int] = field(default_factory=dict)


def check_challenge(definition: ChallengeDefinition, around: Surroundings) -> list[Finding]:
    """Errors refers_to_customer, untrusted_only, unknown_path, unknown_challenge, requires_cycle, unknown_reward,
    counts_itself, pays_for_sentiment, ends_before_it_starts, and those of conditions; warnings no_programme,
    event_never_seen, level_gone, window_changed.
    """
    return [
        *_of_metric(definition, around.seen),
        *_of_time(definition),
        *_of_requirements(definition, around.requires),
        *_of_prizes(definition, around),
        *_of_sentiment(definition),
        *_of_versions(definition, around),
    ]


def _of_metric(definition: ChallengeDefinition, seen: Seen) -> Iterator[Finding]:
    metric = definition.metric
    for name in sorted(definition.event_names):
        yield from check_event(name, "/metric", seen)
        yield from check_where(metric.where, name, seen, Place(pointer="/metric/where", in_run=False))
    reporters = [seen.event_reporters[name] for name in definition.event_names if name in seen.event_reporters]
    if any(each.browsers for each in reporters) and not any(each.trusted for each in reporters):
        message = "Only browsers report what this counts, so nobody would get anywhere: send it with a secret key."
        yield Finding(code="untrusted_only", pointer="/metric", message=message)
    if any("customer" in str(predicate.model_dump()) for predicate in metric.where):
        message = "What counted yesterday must count tomorrow: compare with values, not with the customer's traits."
        yield Finding(code="refers_to_customer", pointer="/metric/where", message=message)
    path = metric.sum if isinstance(metric, Sum) else metric.distinct if isinstance(metric, Distinct) else None
    if path is not None and (steps_of(path)[0] not in EVENT_ROOTS or is_expression(path)):
        pointer = "/metric/sum" if isinstance(metric, Sum) else "/metric/distinct"
        message = f"{path!r} starts at none of {', '.join(EVENT_ROOTS)}; write properties.{path}."
        if is_expression(path):
            message = f"{path!r} leads nowhere: {NOTHING_IS_CALCULATED}."
        yield Finding(code="unknown_path", pointer=pointer, message=message)
    if definition.repeat and COMPLETED in definition.event_names:
        message = f"Challenges that repeat may not measure {COMPLETED}: two of them would complete each other forever."
        yield Finding(code="counts_itself", pointer="/repeat", message=message)


def _of_time(definition: ChallengeDefinition) -> Iterator[Finding]:
    start, end = moment_of(definition.from_), moment_of(definition.until)
    if start and end and order(start, end, resolve_zone(definition.zone)) > 0:
        yield Finding(code="ends_before_it_starts", pointer="/until", message="It ends before it starts.")


def _of_requirements(definition: ChallengeDefinition, known: Mapping[str, Collection[str]]) -> Iterator[Finding]:
    for position, key in enumerate(definition.requires):
        pointer = f"/requires/{position}"
        if key not in known:
            yield Finding(code="unknown_challenge", pointer=pointer, message=f"No challenge {key!r} is published.")
        elif definition.challenge in _needed_for(key, known):
            message = f"{key!r} requires this challenge itself, so nobody could ever complete either."
            yield Finding(code="requires_cycle", pointer=pointer, message=message)


def _needed_for(key: str, known: Mapping[str, Collection[str]]) -> set[str]:
    found, open_ = set[str](), [key]
    while open_:
        for needed in known.get(open_.pop(), ()):
            if needed not in found:
                found.add(needed)
                open_.append(needed)
    return found


def _of_prizes(definition: ChallengeDefinition, around: Surroundings) -> Iterator[Finding]:
    prizes: list[tuple[str, Prize]] = [(f"/levels/{i}", level) for i, level in enumerate(definition.levels)]
    if definition.leaderboard is not None:
        prizes += [(f"/leaderboard/prizes/{i}", prize) for i, prize in enumerate(definition.leaderboard.prizes)]
    for pointer, prize in prizes:
        yield from check_prize(prize, pointer, rewards=around.rewards, has_programme=around.has_programme)


def _of_sentiment(definition: ChallengeDefinition) -> Iterator[Finding]:
    """Whether something of value is given for what was felt (domain/shares.py says why it may not be)."""
    prizes = [*definition.levels, *(definition.leaderboard.prizes if definition.leaderboard else [])]
    metric = definition.metric
    told = [each.property for each in comparisons_of(metric.where)] + ([metric.sum] if isinstance(metric, Sum) else [])
    path = asks_for_sentiment(told)
    if path is not None and any(prize.points or prize.reward for prize in prizes):
        message = f"{path} is what somebody felt: give the same for one star and five, and nothing for likes."
        yield Finding(code="pays_for_sentiment", pointer="/metric", message=message)


def _of_versions(definition: ChallengeDefinition, around: Surroundings) -> Iterator[Finding]:
    """What members keep of earlier versions, and are not given again."""
    for level, at in gone_levels(definition, around.heights).items():
        message = (
            f"This version no longer has level {level!r} (at {at}). Members who reached it keep what it gave, and get "
            "nothing for other levels at or below it in the same period."
        )
        yield Finding(code="level_gone", severity=Severity.WARNING, pointer="/levels", message=message)
    if around.before is not None and around.before.every != definition.every:
        message = (
            "The calendar has changed. Members who reached a level keep what it gave, and get nothing for it again in "
            "periods up to the one in which they reached it."
        )
        yield Finding(code="window_changed", severity=Severity.WARNING, pointer="/window", message=message)


def check_prize(prize: Prize, pointer: str, *, rewards: Collection[str], has_programme: bool) -> Iterator[Finding]:
    """Whether what a prize gives is there to be given."""
    if prize.points is not None and not has_programme:
        message = "No programme is live, so points cannot be given; nobody completes this until one is."
        yield Finding(code="no_programme", severity=Severity.WARNING, pointer=f"{pointer}/points", message=message)
    if prize.reward is not None and prize.reward not in rewards:
        message = f"No reward {prize.reward!r} is published."
        yield Finding(code="unknown_reward", pointer=f"{pointer}/reward", message=message)
