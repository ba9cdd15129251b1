"""What earning decisions are made from: the programme's version, the customer as before the event, limits used up.

Routing, previews and dry runs ask here, so that all three decide alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from database import earning_limits, point_boosts
from database.conditions import Subject, judge
from database.earning_limits import Limit
from database.earnings import Stored
from database.programmes import LiveProgramme, version_at
from database.session import ReadSession
from database.tiers import Ladder, tiers_before
from domain.conditions.loyalty import in_tier, with_earned
from domain.conditions.memory import Scope
from domain.conditions.model import AggregateIs, Condition, Did, PointsAre, TierIs
from domain.conditions.walk import leaves
from domain.earned_conditions import conditions_of
from domain.earning import (
    Circumstances,
    EarningEvent,
    Occasion,
    Programme,
    Usage,
    limits_of,
    occasion_of,
)
from domain.identities import Stamp
from domain.shop_settings import ShopSettings
from triggers.kept_answers import KeptAnswers

Programmes = Mapping[UUID, Programme]
"""The programme that decides about each event, by the event's id."""


@dataclass(frozen=True, slots=True)
class Person:
    """A customer as predicates refer to it: what trusted sources told."""

    zone: ZoneInfo
    facts: Mapping[str, Any] = field(default_factory=dict)  # {"id", "traits"}


@dataclass(frozen=True, slots=True)
class Grounds:
    """What several decisions are made by. `versions`: the programme's, the oldest first and one at least.

    `later`: what was decided about the events before, and after them; it does not count. `taken`: occasions that are
    taken besides those that are stored.
    """

    session: ReadSession
    shop: ShopSettings
    versions: Sequence[LiveProgramme]
    programmes: Programmes
    people: Mapping[UUID, Person]
    later: Sequence[Stored] = ()
    taken: Set[Occasion] = frozenset()

    @property
    def programme(self) -> str:
        """The key of the programme."""
        return self.versions[-1].key


def as_programme(live: LiveProgramme, shop: ShopSettings) -> Programme:
    """A published version as decisions need it."""
    return Programme(live.key, live.version, live.definition, live.zone, shop.currency)


def programmes_for(
    versions: Sequence[LiveProgramme], shop: ShopSettings, events: Iterable[EarningEvent]
) -> dict[UUID, Programme]:
    """The version that decides about each event."""
    found = {event.id: _decides(versions, event) for event in events}
    return {id_: as_programme(live, shop) for id_, live in found.items() if live is not None}


def _decides(versions: Sequence[LiveProgramme], event: EarningEvent) -> LiveProgramme | None:
    """The version that was live when an event happened. Imported history of which that one takes nothing, such as what
    happened before the first one, is the latest version's, or that version's which has decided about it before.
    """
    then = version_at(versions, event.at)
    if then is None or not event.is_history:
        return then
    before = next((each for each in versions if each.version == event.version), None)
    if before is not None:
        return before
    was_live = then.published_at <= event.at and then.decides_history(event.at)
    return versions[-1] if versions[-1].decides_history(event.at) and not was_live else then


async def usage_before(
    session: ReadSession,
    programme: str,
    events: Sequence[EarningEvent],
    programmes: Programmes,
    *,
    but: Collection[UUID] = (),
) -> Usage:
    """What was used of limits before each customer's first event, and taken of occasions; `but` names decisions."""
    first = first_of(events)
    limits = {
        Limit(event.customer_id, rule, period, first[event.customer_id])
        for event in events
        for rule, period in limits_of(programmes[event.id], event)
    }
    occasions = {
        occasion_of(rule, event)
        for event in events
        for rule in programmes[event.id].definition.earn
        if rule.on.event == event.name
    }
    return await earning_limits.usage_of(session, programme, list(limits), occasions, but)


def first_of(events: Iterable[EarningEvent]) -> dict[UUID, Stamp]:
    """When the first event of each customer happened."""
    first: dict[UUID, Stamp] = {}
    for event in events:
        first[event.customer_id] = min(first.get(event.customer_id, event.stamp), event.stamp)
    return first


async def circumstances(
    session: ReadSession,
    shop: ShopSettings,
    events: Sequence[EarningEvent],
    programmes: Programmes,
    people: Mapping[UUID, Person],
    *,
    tiers: Mapping[UUID, str | None],
    earned: Mapping[UUID, int] | None = None,
    kept: KeptAnswers | None = None,
) -> dict[UUID, Circumstances]:
    """Each event's customer as before it, by the event's id. `tiers`: before each event, by its id.

    `earned`: the points earned before each event, where the ledger does not say; by the event's id. `kept`: what was
    answered when events were decided first.
    """
    scopes = {event.id: scope_of(people[event.customer_id], event) for event in events}
    asked, truths = _Asked(), {}
    for event in events:
        truths[event.id] = asked.add(
            event,
            programmes[event.id],
            tiers.get(event.id),
            scopes[event.id],
            earned=None if earned is None else earned[event.id],
            kept=kept or KeptAnswers(),
        )
    for id_, found in (await _truths(session, shop, asked)).items():
        truths[id_] |= found
    boosts = await point_boosts.boosts_of(
        session, {event.customer_id for event in events}, min(event.at for event in events)
    )
    return {
        event.id: Circumstances(
            scopes[event.id],
            tiers.get(event.id),
            truths.get(event.id, {}),
            boosts.get(event.customer_id, ()),
        )
        for event in events
    }


def scope_of(person: Person, event: EarningEvent) -> Scope:
    """The customer as predicates about an event refer to it."""
    return Scope(as_of=event.at, zone=person.zone, customer=person.facts, entry=_entry(event))


def _entry(event: EarningEvent) -> dict[str, Any]:
    """The event as conditions see it."""
    return {
        "event": event.name,
        "properties": dict(event.properties),
        "timestamp": event.at.isoformat(),
        "event_id": str(event.id),
        "message_id": event.message_id,
    }


async def tiers_before_each(
    session: ReadSession,
    events: Sequence[EarningEvent],
    programmes: Programmes,
    ladder: Ladder | None,
    *,
    unweighed: Collection[UUID] = (),
) -> dict[UUID, str | None]:
    """The tier before each event, by the event's id; of several events of one customer each counts for the next."""
    told = [event for event in events if programmes[event.id].definition.tiers is not None]
    several = {id_ for id_, count in Counter(event.customer_id for event in told).items() if count > 1}
    tiers = await tiers_before(
        session, ladder, {(event.customer_id, event.at) for event in told}, unweighed=several.union(unweighed)
    )
    return {event.id: tiers[event.customer_id, event.at] for event in told}


class _Asked(dict[tuple[int, str, str | None], tuple[Condition, list[EarningEvent]]]):
    """By version, pointer and what is answered already: what is left to ask, and about which events."""

    def add(
        self,
        event: EarningEvent,
        programme: Programme,
        tier: str | None,
        scope: Scope,
        *,
        earned: int | None,
        kept: KeptAnswers,
    ) -> dict[str, bool]:
        """Ask the conditions of an event; answers, by pointer, those that need not be asked.

        The tier and the points earned are those before the event, which what is decided here may change for the next.
        """
        answers: dict[str, bool] = {}
        for pointer, condition in conditions_of(programme.definition, event.name):
            answer = kept.to(condition, pointer, event, programme)
            if answer is not None:
                answers[pointer] = answer
                continue
            left = condition
            if _asks_of(condition, TierIs):
                left = in_tier(left, tier, programme.definition.thresholds)
            if earned is not None and _asks_of(condition, PointsAre):
                left = with_earned(left, earned, scope)
            key = (programme.version, pointer, None if left is condition else left.model_dump_json())
            self.setdefault(key, (left, []))[1].append(event)
        return answers


async def _truths(session: ReadSession, shop: ShopSettings, asked: _Asked) -> dict[UUID, dict[str, bool]]:
    """Whether each condition held, by the event's id and the condition's pointer."""
    found: dict[UUID, dict[str, bool]] = {}
    for (_, pointer, _), (condition, about) in asked.items():
        subjects = [_subject(each) for each in about]
        verdicts = await judge(session, condition, subjects, shop=shop.defaults, trusted=True)
        for event, verdict in zip(about, verdicts, strict=True):
            found.setdefault(event.id, {})[pointer] = verdict.holds
    return found


def _subject(event: EarningEvent) -> Subject:
    """The customer as of the event: what happened later does not count, whatever was routed first."""
    time, sent, id_ = event.stamp
    return Subject(
        customer_id=event.customer_id,
        as_of=event.at,
        until_time=time,
        until_sent=sent,
        until_id=id_,
        entry=_entry(event),
    )


def counted_events(programme: LiveProgramme) -> frozenset[str]:
    """The events that conditions of rules and multipliers count."""
    names = {rule.on.event for rule in programme.definition.earn}
    conditions = (condition for name in names for _, condition in conditions_of(programme.definition, name))
    found = [leaf for condition in conditions for _, leaf in leaves(condition)]
    counted = {leaf.did for leaf in found if isinstance(leaf, Did)}
    return frozenset(counted | {leaf.over for leaf in found if isinstance(leaf, AggregateIs)})


def asks_for_points(programme: LiveProgramme) -> bool:
    """Whether a rule or multiplier depends on the points that its member has: what was earned just before counts."""
    names = {rule.on.event for rule in programme.definition.earn}
    conditions = (condition for name in names for _, condition in conditions_of(programme.definition, name))
    return any(_asks_of(condition, PointsAre) for condition in conditions)


def _asks_of(condition: Condition, kind: type[Condition]) -> bool:
    return any(isinstance(leaf, kind) for _, leaf in leaves(condition))
