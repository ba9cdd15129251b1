"""The reaction of challenges: whom the wave's events bring how far, what they complete, and what returns undo.

Members that an event may concern are counted again from their recorded events (domain/challenges/progress.py), so what
is stored never drifts from what a full recount comes to, whatever order events come in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from database.announcements import Announcement, announce
from database.challenge_progress import (
    ChallengeCompletion,
    ChallengeProgress,
    ProgressRow,
    completions_of,
    forget_progress,
    keep_completions,
    progress_of,
    write_progress,
)
from database.challenges import LiveChallenge, Wanted, live_for_deciding, recorded_events
from domain.challenges import told
from domain.challenges.definition import Prize
from domain.challenges.facts import COMPLETED, RecordedEvent
from domain.challenges.progress import Reached, Standing, standings
from domain.commerce import MAKES_ORDERS
from domain.durations import parse_duration
from domain.local_time import resolve_zone
from domain.periods import days_of, period_of
from triggers.batch import BatchCustomer, BatchEvent, Wave
from triggers.prizes import Grant, can_be_given, grant, take_back

REVOKED = "Challenge Revoked"

_DAY = timedelta(days=1)


@dataclass(slots=True)
class Touch:
    """Whom to count again in which challenge, from the period of `since` on (None: all); `returned`: goods are back."""

    customer: BatchCustomer
    challenge: LiveChallenge
    since: datetime | None
    returned: bool = False

    def widen(self, since: datetime | None, *, returned: bool) -> None:
        """Another event concerns the same member and challenge."""
        self.since = None if since is None or self.since is None else min(self.since, since)
        self.returned |= returned


async def follow_challenges(wave: Wave) -> None:
    """Count again whom this wave concerns, give what was reached, and hand out what many members were told they won."""
    live = await live_for_deciding(wave.session)
    if not live:
        return
    await _count(wave, list(_touches(wave, live).values()))
    won = [event for event in wave.events if event.is_own and event.event.name in (told.COMMUNITY_REACHED, told.RANKED)]
    if won:
        await _hand_out(wave, won)


async def recount(wave: Wave, customers: Iterable[BatchCustomer]) -> None:
    """Count customers again whose histories were joined or parted."""
    live = await live_for_deciding(wave.session)
    members = [customer for customer in customers if customer.external_id is not None]
    await _count(wave, [Touch(each, challenge, None) for each in members for challenge in live.values()])


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
            since = _since(event, challenge)
            returned = event.event.name in MAKES_ORDERS
            key = (event.customer.id, challenge.key)
            if key in touches:
                touches[key].widen(since, returned=returned)
            else:
                touches[key] = Touch(event.customer, challenge, since, returned)
    return touches


def _concerns(event: BatchEvent, challenge: LiveChallenge) -> bool:
    name, about = event.event.name, event.event.properties.get("challenge")
    if event.identifies or event.zone_changed or event.event.kind == "alias":
        return True
    if event.is_own and name == told.RECOUNT_REQUESTED:
        return bool(about == challenge.key)
    if event.is_own and name == COMPLETED and about in challenge.definition.requires:
        return True
    if not event.event.trusted:
        return False
    names = challenge.definition.event_names
    return name in names or (name in MAKES_ORDERS and bool(names & MAKES_ORDERS))


def _since(event: BatchEvent, challenge: LiveChallenge) -> datetime | None:
    """Only an event that counts itself leaves earlier periods as they were."""
    is_plain = event.event.name in challenge.definition.event_names and event.event.name not in MAKES_ORDERS
    joins = event.identifies or event.zone_changed or event.event.kind == "alias" or event.is_own
    return event.event.timestamp if challenge.definition.every and is_plain and not joins else None


# Counting ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Counted:
    """What one touch came to."""

    touch: Touch
    found: Mapping[str, Standing]
    lower: str | None  # the first period that was counted; None: all were

    def covers(self, period: str) -> bool:
        """Whether this period was counted."""
        if self.lower is None:
            return True
        first, bound = days_of(period), days_of(self.lower)
        return first is not None and bound is not None and first[0] >= bound[0]


async def _count(wave: Wave, touches: Sequence[Touch]) -> None:
    if not touches:
        return
    recorded = await recorded_events(wave.session, list(_wanted(touches)))
    counted = [_standings(wave, touch, recorded[touch.customer.id]) for touch in touches]
    members = {touch.customer.id for touch in touches}
    keys = {touch.challenge.key for touch in touches}
    needed = {key for touch in touches for key in touch.challenge.definition.requires}
    await _write(wave, counted, await progress_of(wave.session, members, keys))
    await _settle(wave, counted, await completions_of(wave.session, members, keys | needed))


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
    return resolve_zone(None, wave.shop.zone) if is_shared else wave.zone_of(touch.customer)


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


# Completing, and undoing it ----------------------------------------------------------------------

_Place = tuple[str, str, str, int, UUID]  # challenge, period, level, round, customer


def _place(row: ChallengeCompletion) -> _Place:
    return (row.challenge, row.period, row.level, row.round, row.customer_id)


async def _settle(wave: Wave, counted: Sequence[_Counted], stored: Sequence[ChallengeCompletion]) -> None:
    known = {_place(row): row for row in stored}
    changed: list[tuple[ChallengeCompletion, Prize]] = []
    revoked: list[ChallengeCompletion] = []
    for each in counted:
        challenge, customer = each.touch.challenge, each.touch.customer
        if challenge.is_paused:
            continue
        reached = {
            (challenge.key, period, one.level, one.round, customer.id): one
            for period, standing in each.found.items()
            for one in standing.reached
        }
        if each.touch.returned and challenge.definition.refunds == "revoke":
            revoked += [row for place, row in known.items() if place not in reached and _was_given(row, each)]
        if not _has_required(challenge, customer, stored):
            continue
        levels = {level.level: level for level in challenge.definition.levels}
        for place, one in reached.items():
            row, level = known.get(place), levels[one.level]
            if (row is None or row.revoked_at is not None) and await can_be_given(wave.session, level):
                changed.append((_completed(wave, challenge, place, one, row), level))
    await _give(wave, changed)
    await _revoke(wave, revoked)


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


def _completed(
    wave: Wave, challenge: LiveChallenge, place: _Place, reached: Reached, row: ChallengeCompletion | None
) -> ChallengeCompletion:
    """A new completion; or one that was revoked and is reached again, which is given a further time."""
    if row is None:
        key, period, level, number, customer = place
        row = ChallengeCompletion(
            challenge=key, period=period, level=level, round=number, customer_id=customer, times=0
        )
    row.version, row.reached_at, row.completed_at = challenge.version, reached.at, wave.as_of
    row.revoked_at, row.times = None, row.times + 1
    return row


async def _give(wave: Wave, completed: Sequence[tuple[ChallengeCompletion, Prize]]) -> None:
    """Pay, keep and announce in one transaction: a completion is never without its prize, nor paid twice."""
    if not completed:
        return
    grants = [
        Grant(row.customer_id, _key(row), prize, f"challenge/{row.challenge}", row.reached_at)
        for row, prize in completed
    ]
    given = await grant(wave.session, grants, wave.as_of)
    for (row, prize), what in zip(completed, given, strict=True):
        row.points, row.credit, row.redemption_id = what.points, what.credit, what.redemption_id
        row.badge = None if prize.badge is None else prize.badge.model_dump(mode="json", exclude_none=True)
        lapses = prize.badge and prize.badge.expires
        row.badge_expires_at = parse_duration(lapses).after(wave.as_of) if lapses else None
    await keep_completions(wave.session, [row for row, _ in completed])
    await announce(wave.session, [_announcement(row, COMPLETED, prize) for row, prize in completed], wave.as_of)


async def _revoke(wave: Wave, rows: Sequence[ChallengeCompletion]) -> None:
    """What the policy takes back: points by a clawback, the badge; a reward that was handed out stays."""
    if not rows:
        return
    await take_back(
        wave.session,
        [(row.customer_id, row.credit, row.points) for row in rows if row.credit is not None and row.points],
        wave.as_of,
    )
    for row in rows:
        row.revoked_at = wave.as_of
    await keep_completions(wave.session, rows)
    await announce(wave.session, [_announcement(row, REVOKED, Prize()) for row in rows], wave.as_of)


def _key(row: ChallengeCompletion) -> str:
    key = told.credit_key(row.challenge, row.version, row.period, f"{row.level}.{row.round}", str(row.customer_id))
    return key if row.times == 1 else f"{key}/{row.times}"


def _announcement(row: ChallengeCompletion, name: str, prize: Prize) -> Announcement:
    about: dict[str, object] = {"challenge": row.challenge, "level": row.level, "period": row.period}
    about |= {"round": row.round, "points": row.points, "reward": prize.reward}
    about |= {"badge": None if prize.badge is None else prize.badge.badge}
    word = "completed" if name == COMPLETED else "revoked"
    place = f"{row.challenge}/{row.period}/{row.level}.{row.round}/{row.customer_id}/{row.times}"
    return Announcement(row.customer_id, name, f"challenge-{word}/{place}", about)


# What members won together or against each other --------------------------------------------------


async def _hand_out(wave: Wave, events: Sequence[BatchEvent]) -> None:
    """Each prize once, however often the event is told."""
    members = {event.customer.id for event in events}
    known = {_place(row) for row in await completions_of(wave.session, members)}
    completed: list[tuple[ChallengeCompletion, Prize]] = []
    for event in events:
        row, prize = _won(wave, event)
        if _place(row) not in known:
            known.add(_place(row))
            completed.append((row, prize))
    await _give(wave, completed)


def _won(wave: Wave, event: BatchEvent) -> tuple[ChallengeCompletion, Prize]:
    about = event.event.properties
    level = about["level"] if event.event.name == told.COMMUNITY_REACHED else f"rank:{about['rank']}"
    row = ChallengeCompletion(
        challenge=about["challenge"],
        period=about["period"],
        level=level,
        round=1,
        customer_id=event.customer.id,
        version=about["version"],
        reached_at=event.event.timestamp,
        completed_at=wave.as_of,
        times=1,
    )
    return row, Prize.model_validate(about["prize"])
