"""Freezing a contest's list, drawing from it, disqualifying, and telling the winners."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import orjson
from sqlalchemy import ColumnElement, select, text

from database.announcements import Announcement, announce
from database.contests import (
    ContestDraw,
    ContestPlace,
    ContestTicket,
    LiveContest,
    drawn_definition,
    live_contests,
    lock_draw,
)
from database.customers import Customer
from database.session import ReadSession, WriteSession
from database.shop_settings import shop_settings
from database.won_prizes import place_key
from domain.challenges.told import prize_as_json
from domain.contests.definition import ContestDefinition
from domain.contests.draws import Ticket, canonical_list, draw, list_hash, read_list, seed_of
from domain.contests.places import Disqualification, Place, PlaceState, disqualify, settle
from domain.durations import parse_duration

WON = "Contest Won"
"""The event of a winner: journeys start on it, and the router gives the prize under the winner's lock."""

# What each person has, by the rules' limits once more, since merging may have joined the entries of two; without those
# who are erased or known by no id, and without the winners of contests that are excluded.
_TICKETS = text("""
    WITH rules AS (
        SELECT * FROM jsonb_to_recordset(CAST(:rules AS jsonb)) AS r (rule text, "limit" bigint)
    ), counted AS (
        SELECT customer_id, entries, rules."limit", row_number() OVER (
            PARTITION BY rule, customer_id, period ORDER BY at, id
        ) AS number
        FROM contest_entries JOIN rules USING (rule) WHERE contest = :contest
    )
    INSERT INTO contest_tickets (entry_id, contest, customer_id, weight)
    SELECT gen_random_uuid(), :contest, customer_id, CAST(sum(entries) AS bigint)
    FROM counted JOIN customers ON customers.id = customer_id
    WHERE (counted."limit" IS NULL OR number <= counted."limit")
        AND customers.external_id IS NOT NULL AND customers.erased_at IS NULL
        AND customer_id NOT IN (
            SELECT contest_tickets.customer_id FROM contest_places JOIN contest_tickets USING (entry_id)
            WHERE contest_places.contest = ANY(:excluded) AND state = 'won'
        )
    GROUP BY customer_id
    RETURNING entry_id, weight
""")


async def freeze(session: WriteSession, row: ContestDraw, contest: LiveContest, as_of: datetime) -> None:
    """Freeze the list of a contest whose row the caller has locked. Ids of lines are random and lead to nobody."""
    definition = contest.definition
    rules = [{"rule": rule.rule, "limit": rule.limit} for rule in definition.entries]
    wanted = {"contest": contest.key, "rules": orjson.dumps(rules).decode(), "excluded": definition.exclude_winners_of}
    tickets = await session.execute(_TICKETS, wanted)
    row.list = canonical_list(Ticket(entry_id, weight) for entry_id, weight in tickets)
    row.list_hash, row.frozen_at, row.version = list_hash(row.list), as_of, contest.version
    await session.flush()


async def freeze_closed(session: WriteSession, as_of: datetime) -> bool:
    """Freeze one contest that has closed, so that the hash of its list is public early; False: there is none."""
    shop = await shop_settings(session)
    live = await live_contests(session)
    closed = [each for each in live.values() if _has_closed(each, shop.zone, as_of)]
    unfrozen = select(ContestDraw.contest).where(ContestDraw.frozen_at.is_(None))
    statement = unfrozen.where(ContestDraw.contest.in_([each.key for each in closed])).order_by(ContestDraw.contest)
    key = (await session.execute(statement.limit(1))).scalar_one_or_none()
    row = None if key is None else await lock_draw(session, key)
    if row is None:
        return False
    if row.frozen_at is None:
        await freeze(session, row, live[row.contest], as_of)
    return True


def _has_closed(contest: LiveContest, shop_zone: str, as_of: datetime) -> bool:
    closes = contest.definition.closes_at(contest.definition.zone_in(shop_zone))
    return closes is not None and closes <= as_of


async def draw_winners(
    session: WriteSession, row: ContestDraw, contest: LiveContest, *, beacon: str | None, by: str, as_of: datetime
) -> None:
    """Draw from the frozen list of a contest whose row the caller has locked."""
    definition = contest.definition
    assert row.list is not None  # noqa: S101  it is frozen
    assert row.list_hash is not None  # noqa: S101
    seed = seed_of(contest.key, row.list_hash, row.secret, beacon)
    drawn = draw(read_list(row.list), seed, definition.winners + definition.alternates)
    row.beacon, row.seed, row.drawn_at, row.drawn_by = beacon, seed.hex(), as_of, by
    places = [Place(number, ticket.entry_id) for number, ticket in enumerate(drawn, 1)]
    people = await _people(session, [each.entry_id for each in places])
    places = settle(_eligible(places, people), definition.winners)
    due = parse_duration(definition.verify).after(as_of) if definition.verify else as_of
    session.add_all(_row(contest.key, place, due) for place in places)
    await session.flush()
    await _give_due(session, contest, as_of)


async def disqualify_winner(
    session: WriteSession, contest: LiveContest, entry_id: UUID, reason: Disqualification, as_of: datetime
) -> bool:
    """Let the next alternate follow whoever may not win; False: the prize was given already. The caller has locked the
    contest's row.
    """
    rows = {row.place: row for row in await places_of(session, contest.key, lock=True)}
    if any(row.entry_id == entry_id and row.given_at is not None for row in rows.values()):
        return False
    places = disqualify([_place(row) for row in rows.values()], {entry_id}, reason)
    await _settle(session, contest, places, rows, as_of)
    await _give_due(session, contest, as_of)
    return True


async def _settle(
    session: WriteSession,
    contest: LiveContest,
    places: Sequence[Place],
    rows: Mapping[int, ContestPlace],
    as_of: datetime,
) -> None:
    """Let the next ones win, without whoever may not by now, and keep it in the rows."""
    definition = contest.definition
    people = await _people(session, [each.entry_id for each in places])
    given = {row.entry_id for row in rows.values() if row.given_at is not None}
    due = parse_duration(definition.verify).after(as_of) if definition.verify else as_of
    for place in settle(_eligible(places, people, given), definition.winners):
        row = rows[place.place]
        if place.state is PlaceState.WON and row.state != PlaceState.WON:
            row.due_at = due
        row.state, row.prize_place, row.reason = place.state, place.prize_place, place.reason
    await session.flush()


def _eligible(places: Sequence[Place], people: Mapping[UUID, UUID], given: Collection[UUID] = ()) -> list[Place]:
    """The places without those of the erased, and with one a person: what was given, else the first. What was given
    stays.
    """
    gone = {each.entry_id for each in places if each.entry_id not in people} - set(given)
    served = {people[entry_id] for entry_id in given if entry_id in people}
    again: set[UUID] = set()
    for each in places:
        person = people.get(each.entry_id)
        if person is None or each.entry_id in given:
            continue
        if person in served:
            again.add(each.entry_id)
        served.add(person)
    return disqualify(disqualify(places, gone, Disqualification.ERASED), again, Disqualification.SAME_PERSON)


async def places_of(session: ReadSession, contest: str, *, lock: bool = False) -> Sequence[ContestPlace]:
    """The places in the order drawn."""
    statement = select(ContestPlace).where(ContestPlace.contest == contest).order_by(ContestPlace.place)
    statement = statement.with_for_update() if lock else statement
    return (await session.execute(statement.execution_options(populate_existing=True))).scalars().all()


async def give_due(session: WriteSession, as_of: datetime) -> int:
    """Tell the winners of one contest whose time of verification is over; the router gives them their prizes. Answers
    how many places changed.

    Relies on ix_contest_places_due; the contest's row is locked, so that two at once take different ones.
    """
    due = select(ContestPlace.contest).where(*_due(as_of))
    statement = select(ContestDraw).where(ContestDraw.contest.in_(due)).order_by(ContestDraw.contest).limit(1)
    locked = statement.with_for_update(skip_locked=True).execution_options(populate_existing=True)
    row = (await session.execute(locked)).scalar_one_or_none()
    if row is None or row.version is None:
        return 0
    contest = LiveContest(row.contest, row.version, await drawn_definition(session, row))
    return await _give_due(session, contest, as_of)


async def _give_due(session: WriteSession, contest: LiveContest, as_of: datetime) -> int:
    """Whoever turned out to be an earlier winner meanwhile, or was erased, is passed over first."""
    rows = {row.place: row for row in await places_of(session, contest.key, lock=True)}
    late = {place for place, row in rows.items() if _is_due(row, as_of)}
    if not late:
        return 0
    await _settle(session, contest, [_place(row) for row in rows.values()], rows, as_of)
    won = [row for row in rows.values() if _is_due(row, as_of)]
    people = await _people(session, [row.entry_id for row in won])
    await announce(session, [_won(row, people[row.entry_id], contest.definition) for row in won], as_of)
    for row in won:
        row.given_at = as_of
    await session.flush()
    return len(late)


def _due(as_of: datetime) -> tuple[ColumnElement[bool], ...]:
    return (ContestPlace.state == PlaceState.WON, ContestPlace.given_at.is_(None), ContestPlace.due_at <= as_of)


def _is_due(row: ContestPlace, as_of: datetime) -> bool:
    return row.state == PlaceState.WON and row.given_at is None and row.due_at is not None and row.due_at <= as_of


def _won(row: ContestPlace, customer_id: UUID, definition: ContestDefinition) -> Announcement:
    """Journeys may tell of the prize; what is given is looked up (database/won_prizes.py)."""
    prize = definition.prize_for(row.prize_place or row.place)
    about = {"contest": row.contest, "place": row.prize_place, "prize": prize_as_json(prize) if prize else {}}
    return Announcement(customer_id, WON, place_key(row.contest, row.place), about)


async def _people(session: ReadSession, entries: Sequence[UUID]) -> dict[UUID, UUID]:
    """Entry -> customer, without those who are erased."""
    statement = (
        select(ContestTicket.entry_id, ContestTicket.customer_id)
        .join(Customer, Customer.id == ContestTicket.customer_id)
        .where(ContestTicket.entry_id.in_(entries), Customer.erased_at.is_(None))
    )
    return {row.entry_id: row.customer_id for row in await session.execute(statement)}


def _row(contest: str, place: Place, due: datetime) -> ContestPlace:
    return ContestPlace(
        contest=contest,
        place=place.place,
        entry_id=place.entry_id,
        state=place.state,
        prize_place=place.prize_place,
        reason=place.reason,
        due_at=due,
    )


def _place(row: ContestPlace) -> Place:
    reason = Disqualification(row.reason) if row.reason else None
    return Place(row.place, row.entry_id, PlaceState(row.state), row.prize_place, reason)
