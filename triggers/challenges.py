"""The reaction of challenges: whom the wave's events bring how far, and what they complete.

What a completion gives, and how it is taken back, is triggers/completions.py; when it is, challenge_returns.py.
Members that an event may concern are counted again from their recorded events (domain/challenges/progress.py), so what
is stored never drifts from what a full recount comes to, whatever order events come in. Where a sum or a count goes on
in order of time, only what is new is read and added; what is late, given back, joined or under another version is
counted again in full.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from database.challenge_events import Wanted, recorded_events
from database.challenge_progress import (
    ChallengeCompletion,
    ChallengeProgress,
    ProgressRow,
    by_customer,
    completions_of,
    forget_progress,
    progress_of,
    write_progress,
)
from database.challenges import LiveChallenge
from domain.challenges import told
from domain.challenges.facts import COMPLETED, RecordedEvent
from domain.challenges.progress import Standing, can_go_on, standings
from domain.challenges.versions import was_given
from domain.commerce import MAKES_ORDERS, TELLS_ORDERS
from domain.periods import days_of, period_of
from triggers.batch import BatchCustomer, BatchEvent, Wave
from triggers.challenge_counts import Known
from triggers.challenge_returns import Undone, take_back_undone, undone_by
from triggers.challenge_zones import zone_in
from triggers.completions import Completed, Place, give, hand_out, place_of, reach
from triggers.prizes import can_be_given
from triggers.refunds import is_revision

_DAY = timedelta(days=1)


@dataclass(slots=True)
class Touch:
    """Whom to count again in which challenge, from the period of `since` on (None: all).

    `from_`: the earliest of the events, if all of them may only add to what was counted.
    """

    customer: BatchCustomer
    challenge: LiveChallenge
    since: datetime | None
    from_: datetime | None = None

    def widen(self, since: datetime | None, from_: datetime | None) -> None:
        """Another event concerns the same member and challenge."""
        self.since = None if since is None or self.since is None else min(self.since, since)
        self.from_ = None if from_ is None or self.from_ is None else min(self.from_, from_)


async def follow_challenges(wave: Wave) -> None:
    """Count again whom this wave concerns, give what was reached, and hand out what many members were told they won."""
    if not wave.published.had_challenges:
        return
    await _follow(wave, list(_touches(wave, wave.published.challenges).values()), undone_by(wave))
    won = [event for event in wave.events if event.is_own and event.event.name in (told.COMMUNITY_REACHED, told.RANKED)]
    if won:
        await hand_out(wave, won)


async def recount(wave: Wave, customers: Iterable[BatchCustomer], parted: Mapping[UUID, datetime]) -> None:
    """Count customers again whose histories were joined or parted.

    The `parted` may come to less than before: what they completed since then by what was not theirs is taken back.
    """
    live = wave.published.challenges
    members = [customer for customer in customers if customer.external_id is not None]
    undone = [Undone(each, parted_at=parted[each.id]) for each in members if each.id in parted]
    await _follow(wave, [Touch(each, challenge, None) for each in members for challenge in live.values()], undone)


async def _follow(wave: Wave, touches: Sequence[Touch], undone: Sequence[Undone]) -> None:
    members = {touch.customer.id for touch in touches} | {each.customer.id for each in undone}
    if not members:
        return
    completed = await completions_of(wave.session, members)
    await take_back_undone(wave, undone, completed)
    await _count(wave, touches, completed)


# Whom a wave concerns ----------------------------------------------------------------------------


def _touches(wave: Wave, live: Mapping[str, LiveChallenge]) -> dict[tuple[UUID, str], Touch]:
    """Anonymous visitors take part once we know who they are: then all of their past is looked at."""
    touches: dict[tuple[UUID, str], Touch] = {}
    for event in wave.events:
        if event.customer.external_id is None:
            continue
        for challenge in live.values():
            if not _concerns(event, challenge):
                continue
            since, from_ = _since(event, challenge), _adds_from(event, challenge)
            key = (event.customer.id, challenge.key)
            if key in touches:
                touches[key].widen(since, from_)
            else:
                touches[key] = Touch(event.customer, challenge, since, from_)
    return touches


def _concerns(event: BatchEvent, challenge: LiveChallenge) -> bool:
    name, about = event.event.name, event.event.properties.get("challenge")
    if event.identifies or event.vouches or event.event.kind == "alias":
        return True
    if event.is_own and name == told.RECOUNT_REQUESTED:
        return bool(about == challenge.key)
    if event.is_own and name == COMPLETED and about in challenge.definition.requires:
        return True
    if not event.counts_for_value:
        return False
    names = challenge.definition.event_names
    return name in names or ((name in MAKES_ORDERS or is_revision(event)) and bool(names & MAKES_ORDERS))


def _since(event: BatchEvent, challenge: LiveChallenge) -> datetime | None:
    """Only an event that counts itself leaves earlier periods as they were; of orders all is read that was said."""
    is_plain = _counts_itself(event, challenge) and not challenge.definition.event_names & MAKES_ORDERS
    return event.event.timestamp if challenge.definition.every and is_plain else None


def _adds_from(event: BatchEvent, challenge: LiveChallenge) -> datetime | None:
    """The event's time, if it may only add; whether an order is told for the first time is seen when it is read."""
    is_plain = event.event.name in TELLS_ORDERS or event.event.name not in MAKES_ORDERS
    may_add = is_plain and _counts_itself(event, challenge) and can_go_on(challenge.definition)
    return event.event.timestamp if may_add else None


def _counts_itself(event: BatchEvent, challenge: LiveChallenge) -> bool:
    joins = event.identifies or event.vouches or event.event.kind == "alias" or event.is_own
    return event.event.name in challenge.definition.event_names and not joins


# Counting ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Counted:
    """What one touch came to."""

    touch: Touch
    found: Mapping[str, Standing]
    lower: str | None = None  # the first period that was counted; None: all were
    is_added: bool = False  # only what is new was: `found` says nothing of what had been reached before

    def covers(self, period: str) -> bool:
        """Whether this period was counted in full."""
        if self.is_added:
            return False
        if self.lower is None:
            return True
        first, bound = days_of(period), days_of(self.lower)
        return first is not None and bound is not None and first[0] >= bound[0]


async def _count(wave: Wave, touches: Sequence[Touch], completed: Sequence[ChallengeCompletion]) -> None:
    if not touches:
        return
    keys = {touch.challenge.key for touch in touches}
    stored = await progress_of(wave.session, {touch.customer.id for touch in touches}, keys)
    counted = await _add(wave, touches, stored, completed)
    if rest := [touch for touch in touches if not any(each.touch is touch for each in counted)]:
        recorded = await recorded_events(wave.session, list(_wanted(rest)))
        counted += [_standings(wave, touch, recorded[touch.customer.id]) for touch in rest]
    await _write(wave, counted, stored)
    await _settle(wave, counted, completed)


async def _add(
    wave: Wave, touches: Sequence[Touch], stored: Sequence[ChallengeProgress], completed: Sequence[ChallengeCompletion]
) -> list[_Counted]:
    """Those touches whose counts go on, with what is new: read from the first new event on, however long the past."""
    known = Known(stored, completed)
    adding = [
        touch for touch in touches if known.goes_on(touch.challenge, touch.customer.id, touch.from_, _zone(wave, touch))
    ]
    names: dict[UUID, frozenset[str]] = {}
    since: dict[UUID, datetime] = {}
    for touch in adding:
        assert touch.from_ is not None  # noqa: S101  without it nothing goes on
        id_ = touch.customer.id
        names[id_] = names.get(id_, frozenset()) | touch.challenge.definition.event_names
        since[id_] = min(since.get(id_, touch.from_), touch.from_)
    recorded = await recorded_events(wave.session, [Wanted(id_, names[id_], since[id_]) for id_ in names])
    added: list[_Counted] = []
    for touch in adding:
        news = [each for each in recorded[touch.customer.id] if touch.from_ and each.timestamp >= touch.from_]
        found = known.added(touch.challenge, touch.customer.id, news, _zone(wave, touch), wave.as_of)
        if found is not None:
            added.append(_Counted(touch, found, is_added=True))
    return added


def _zone(wave: Wave, touch: Touch) -> ZoneInfo:
    return zone_in(wave, touch.customer, touch.challenge)


def _wanted(touches: Sequence[Touch]) -> Iterable[Wanted]:
    """One reading a customer: all names, from the earliest time on."""
    grouped: dict[UUID, list[Touch]] = {}
    for touch in touches:
        grouped.setdefault(touch.customer.id, []).append(touch)
    for id_, own in grouped.items():
        names = frozenset(name for touch in own for name in touch.challenge.definition.event_names)
        starts = [_read_from(touch) for touch in own]
        since = None if None in starts else min(start for start in starts if start is not None)
        yield Wanted(id_, names, since)


def _first_period(touch: Touch) -> str | None:
    """The earliest period that the event can be in, in whatever zone."""
    every = touch.challenge.definition.every
    return None if touch.since is None or every is None else period_of((touch.since - _DAY).date(), every)


def _read_from(touch: Touch) -> datetime | None:
    """An instant before that period begins in any zone."""
    period = _first_period(touch)
    days = None if period is None else days_of(period)
    return None if days is None else datetime.combine(days[0] - _DAY, time(0), UTC)


def _standings(wave: Wave, touch: Touch, events: Sequence[RecordedEvent]) -> _Counted:
    challenge, zone = touch.challenge, _zone(wave, touch)
    facts = [fact for event in events if (fact := challenge.read_fact(event, zone)) is not None]
    # A shop's clock may run ahead of ours: what it says has happened counts.
    as_of = max([wave.as_of, *(fact.at for fact in facts)])
    counted = _Counted(touch, {}, _first_period(touch))
    found = standings(challenge.definition, facts, as_of)
    return _Counted(touch, {key: each for key, each in found.items() if counted.covers(key)}, counted.lower)


async def _write(wave: Wave, counted: Sequence[_Counted], stored: Sequence[ChallengeProgress]) -> None:
    """Rows that changed, and those of periods where nothing counts any more."""
    rows = [_row(each.touch, standing) for each in counted for standing in each.found.values()]
    before = {(row.challenge, row.period, row.customer_id): row for row in stored}
    after = {(row.challenge, row.period, row.customer_id) for row in rows}
    covers = {(each.touch.challenge.key, each.touch.customer.id): each for each in counted}
    gone = [
        row
        for key, row in before.items()
        if key not in after and (each := covers.get((row.challenge, row.customer_id))) and each.covers(row.period)
    ]
    await write_progress(wave.session, rows)
    await forget_progress(wave.session, gone)


def _row(touch: Touch, standing: Standing) -> ProgressRow:
    return ProgressRow(
        challenge=touch.challenge.key,
        period=standing.period,
        customer_id=touch.customer.id,
        figure=standing.figure,
        round=standing.round,
        last_at=standing.last_at,
        streak=None if standing.streak is None else asdict(standing.streak),
        version=touch.challenge.version,
    )


# What was reached --------------------------------------------------------------------------------


async def _settle(wave: Wave, counted: Sequence[_Counted], stored: Sequence[ChallengeCompletion]) -> None:
    known, completed = {place_of(row): row for row in stored}, by_customer(stored)
    changed: list[Completed] = []
    for each in counted:
        challenge, customer = each.touch.challenge, each.touch.customer
        if challenge.is_paused or not _has_required(challenge, completed[customer.id]):
            continue
        levels = {level.level: level for level in challenge.definition.levels}
        given = challenge.given(completed[customer.id], _zone(wave, each.touch))
        for period, standing in each.found.items():
            for one in standing.reached:
                place = Place(challenge.key, period, one.level, one.round, customer.id)
                row, level = known.get(place), levels[one.level]
                is_new = row is None and not was_given(challenge.definition, level, place.period, place.round, given)
                if (is_new or (row is not None and row.revoked_at is not None)) and can_be_given(wave, level):
                    changed.append(Completed(reach(row, place, challenge.version, one.at, wave.as_of), level))
    await give(wave, changed)


def _has_required(challenge: LiveChallenge, completed: Sequence[ChallengeCompletion]) -> bool:
    """Whether the member has completed, at any level and time, each challenge that this one requires."""
    done = {row.challenge for row in completed if row.revoked_at is None}
    return set(challenge.definition.requires) <= done
