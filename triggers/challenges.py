"""The reaction of challenges: whom the wave's events bring how far, what they complete, and what returns undo.

What a completion gives, and how it is taken back, is triggers/completions.py.
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

from database.challenge_progress import (
    ChallengeCompletion,
    ChallengeProgress,
    ProgressRow,
    completions_of,
    forget_progress,
    progress_of,
    write_progress,
)
from database.challenges import LiveChallenge, Wanted, recorded_events
from domain.challenges import told
from domain.challenges.facts import COMPLETED, RecordedEvent
from domain.challenges.progress import Standing, can_go_on, standings
from domain.commerce import MAKES_ORDERS, TELLS_ORDERS
from domain.local_time import resolve_zone
from domain.periods import days_of, period_of
from triggers.batch import BatchCustomer, BatchEvent, Wave
from triggers.challenge_counts import Known
from triggers.completions import Completed, Place, give, hand_out, place_of, reach, revoke
from triggers.prizes import can_be_given
from triggers.refunds import is_revision

_DAY = timedelta(days=1)


@dataclass(slots=True)
class Touch:
    """Whom to count again in which challenge, from the period of `since` on (None: all); `returned`: goods are back.

    `from_`: the earliest of the events, if all of them may only add to what was counted. `open_since`: from when on
    what was completed is lost, whatever the policy, if the count no longer comes to it. `revised_at`: the same by when
    it was given, for what somebody else's event had undone before, which this member hears of only now.
    """

    customer: BatchCustomer
    challenge: LiveChallenge
    since: datetime | None
    returned: bool = False
    from_: datetime | None = None
    open_since: datetime | None = None
    revised_at: datetime | None = None

    def widen(self, since: datetime | None, from_: datetime | None, *, returned: bool) -> None:
        """Another event concerns the same member and challenge."""
        self.since = None if since is None or self.since is None else min(self.since, since)
        self.from_ = None if from_ is None or self.from_ is None else min(self.from_, from_)
        self.returned |= returned

    def hear(self, revised_at: datetime | None) -> None:
        """Somebody else's event revised an order of the member, at this moment of ours if it did."""
        known = [moment for moment in (self.revised_at, revised_at) if moment is not None]
        self.revised_at = min(known, default=None)


async def follow_challenges(wave: Wave) -> None:
    """Count again whom this wave concerns, give what was reached, and hand out what many members were told they won."""
    live = wave.published.challenges
    if not live:
        return
    await _count(wave, list(_touches(wave, live).values()))
    won = [event for event in wave.events if event.is_own and event.event.name in (told.COMMUNITY_REACHED, told.RANKED)]
    if won:
        await hand_out(wave, won)


async def recount(wave: Wave, customers: Iterable[BatchCustomer], parted: Mapping[UUID, datetime]) -> None:
    """Count customers again whose histories were joined or parted.

    The `parted` may come to less than before: what they completed since then by what was not theirs is taken back.
    """
    live = wave.published.challenges
    members = [customer for customer in customers if customer.external_id is not None]
    await _count(
        wave,
        [
            Touch(each, challenge, None, open_since=parted.get(each.id))
            for each in members
            for challenge in live.values()
        ],
    )


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
            revised_at = event.event.timestamp if is_revision(event) else None
            returned = event.event.name in MAKES_ORDERS or revised_at is not None
            key = (event.customer.id, challenge.key)
            if key in touches:
                touches[key].widen(since, from_, returned=returned)
            else:
                touches[key] = Touch(event.customer, challenge, since, returned, from_)
            touches[key].hear(revised_at)
    return touches


def _concerns(event: BatchEvent, challenge: LiveChallenge) -> bool:
    name, about = event.event.name, event.event.properties.get("challenge")
    if event.identifies or event.vouches or event.zone_changed or event.event.kind == "alias":
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
    """Only an event that counts itself leaves earlier periods as they were."""
    is_plain = _counts_itself(event, challenge) and event.event.name not in MAKES_ORDERS
    return event.event.timestamp if challenge.definition.every and is_plain else None


def _adds_from(event: BatchEvent, challenge: LiveChallenge) -> datetime | None:
    """The event's time, if it may only add; whether an order is told for the first time is seen when it is read."""
    is_plain = event.event.name in TELLS_ORDERS or event.event.name not in MAKES_ORDERS
    may_add = is_plain and _counts_itself(event, challenge) and can_go_on(challenge.definition)
    return event.event.timestamp if may_add else None


def _counts_itself(event: BatchEvent, challenge: LiveChallenge) -> bool:
    joins = event.identifies or event.vouches or event.zone_changed or event.event.kind == "alias" or event.is_own
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


async def _count(wave: Wave, touches: Sequence[Touch]) -> None:
    if not touches:
        return
    members = {touch.customer.id for touch in touches}
    keys = {touch.challenge.key for touch in touches}
    needed = {key for touch in touches for key in touch.challenge.definition.requires}
    stored = await progress_of(wave.session, members, keys)
    completed = await completions_of(wave.session, members, keys | needed)
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
    adding = [touch for touch in touches if known.goes_on(touch.challenge, touch.customer.id, touch.from_)]
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
        zone = _zone(wave, touch)
        news = [each for each in recorded[touch.customer.id] if touch.from_ and each.timestamp >= touch.from_]
        if (found := known.added(touch.challenge, touch.customer.id, news, zone, wave.as_of)) is not None:
            added.append(_Counted(touch, found, is_added=True))
    return added


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


def _zone(wave: Wave, touch: Touch) -> ZoneInfo:
    is_shared = touch.challenge.definition.is_shared
    return resolve_zone(None, wave.shop.zone) if is_shared else wave.trusted_zone_of(touch.customer)


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


# What was reached, and what no longer is ----------------------------------------------------------


async def _settle(wave: Wave, counted: Sequence[_Counted], stored: Sequence[ChallengeCompletion]) -> None:
    known = {place_of(row): row for row in stored}
    changed: list[Completed] = []
    revoked: list[Completed] = []
    for each in counted:
        challenge, customer = each.touch.challenge, each.touch.customer
        if challenge.is_paused:
            continue
        levels = {level.level: level for level in challenge.definition.levels}
        reached = {
            Place(challenge.key, period, one.level, one.round, customer.id): one
            for period, standing in each.found.items()
            for one in standing.reached
        }
        lost = [row for place, row in known.items() if place not in reached and _may_be_lost(row, each)]
        revoked += [Completed(row, levels[row.level]) for row in lost]
        if not _has_required(challenge, customer, stored):
            continue
        for place, one in reached.items():
            row, level = known.get(place), levels[one.level]
            if (row is None or row.revoked_at is not None) and can_be_given(wave, level):
                changed.append(Completed(reach(row, place, challenge.version, one.at, wave.as_of), level))
    await give(wave, changed)
    await revoke(wave, revoked)


def _may_be_lost(row: ChallengeCompletion, each: _Counted) -> bool:
    """Whether a completion may be taken back: goods came back, or what was done turned out to be another's."""
    touch = each.touch
    is_returned = touch.returned and touch.challenge.definition.refunds == "revoke"
    is_anothers = touch.open_since is not None and row.reached_at > touch.open_since
    was_undone = touch.revised_at is not None and row.completed_at >= touch.revised_at
    return (is_returned or is_anothers or was_undone) and not each.is_added and _was_given(row, each)


def _was_given(row: ChallengeCompletion, each: _Counted) -> bool:
    """Whether a completion stands that this count, under the version that gave it, no longer comes to."""
    is_same = (row.challenge, row.customer_id) == (each.touch.challenge.key, each.touch.customer.id)
    is_level = row.level in {level.level for level in each.touch.challenge.definition.levels}
    is_current = row.version == each.touch.challenge.version and row.revoked_at is None
    return is_same and is_level and is_current and each.covers(row.period)


def _has_required(challenge: LiveChallenge, customer: BatchCustomer, stored: Sequence[ChallengeCompletion]) -> bool:
    """Whether the member has completed, at any level and time, each challenge that this one requires."""
    done = {row.challenge for row in stored if row.customer_id == customer.id and row.revoked_at is None}
    return set(challenge.definition.requires) <= done
