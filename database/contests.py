"""Contests: who entered how often, the frozen list, the draw and its places. How they come about: contest_draws.py.

Entering holds the contest's row in share mode, freezing and drawing hold it alone. Customers are locked before it.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import ForeignKey, Index, LargeBinary, PrimaryKeyConstraint, Text, cast, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Table
from database.documents import DocumentRow, DocumentVersion
from database.order_ids import ORDER_ID
from database.published import VersionText, readable
from database.session import ReadSession, WriteSession
from domain.conditions.predicates import Judge, compile_where
from domain.contests.definition import ContestDefinition, EntryRule
from domain.contests.draws import commitment_to
from domain.documents import DocumentState
from domain.identity_resolution import Move
from domain.published import read_published

KIND = "contest"


class ContestDraw(Table):
    """One contest: its secret from its first publication on, then its frozen list, then its draw."""

    __tablename__ = "contest_draws"

    contest: Mapped[str] = mapped_column(primary_key=True)
    secret: Mapped[bytes] = mapped_column(LargeBinary)  # told to nobody before the draw
    commitment: Mapped[str]
    opened_at: Mapped[datetime]
    version: Mapped[int | None]  # of the definition that the list was frozen under
    frozen_at: Mapped[datetime | None]
    list: Mapped[str | None]
    list_hash: Mapped[str | None]
    drawn_at: Mapped[datetime | None]
    drawn_by: Mapped[str | None]
    beacon: Mapped[str | None]
    seed: Mapped[str | None]


class ContestEntry(Table):
    """One way in that a customer took, once. `source` is natural: an order, an event, a call."""

    __tablename__ = "contest_entries"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    contest: Mapped[str]
    rule: Mapped[str]
    source: Mapped[str]
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    entries: Mapped[int]
    period: Mapped[str]  # that the rule's limit counts in
    at: Mapped[datetime]

    __table_args__ = (
        Index("uq_contest_entries_source", "contest", "rule", "source", unique=True),
        Index("ix_contest_entries_customer_id", "customer_id", "contest"),
    )


class ContestTicket(Table):
    """Who stands behind a line of the frozen list. Removed with the customer; the list stays as it was."""

    __tablename__ = "contest_tickets"

    entry_id: Mapped[UUID] = mapped_column(primary_key=True)  # random
    contest: Mapped[str]
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    weight: Mapped[int]

    __table_args__ = (
        Index("ix_contest_tickets_contest", "contest"),
        Index("ix_contest_tickets_customer_id", "customer_id"),
    )


class ContestPlace(Table):
    """One place of the draw, in the order drawn."""

    __tablename__ = "contest_places"

    contest: Mapped[str]
    place: Mapped[int]
    entry_id: Mapped[UUID]
    state: Mapped[str]  # domain.contests.places.PlaceState
    prize_place: Mapped[int | None]  # whose prize it is: an alternate takes that of whom it follows
    reason: Mapped[str | None]
    due_at: Mapped[datetime | None]  # when the prize is given
    given_at: Mapped[datetime | None]

    __table_args__ = (
        PrimaryKeyConstraint("contest", "place"),
        Index("ix_contest_places_due", "due_at", postgresql_where=text("state = 'won' AND given_at IS NULL")),
        Index("ix_contest_places_entry_id", "entry_id"),
    )


@dataclass(frozen=True)
class LiveContest:
    """The version of a contest that counts now."""

    key: str
    version: int
    definition: ContestDefinition
    is_paused: bool = False

    @cached_property
    def rules(self) -> Mapping[str, list[tuple[EntryRule, Judge]]]:
        """Event name -> the rules that it may enter by, with their predicates."""
        found: dict[str, list[tuple[EntryRule, Judge]]] = {}
        for rule in self.definition.entries:
            if rule.on is not None:
                found.setdefault(rule.on.event, []).append((rule, compile_where(rule.on.where)))
        return found


_LIVE = (
    select(DocumentRow.key, DocumentVersion.version, cast(DocumentVersion.document, Text), DocumentRow.state)
    .join(
        DocumentVersion,
        (DocumentVersion.kind == DocumentRow.kind)
        & (DocumentVersion.key == DocumentRow.key)
        & (DocumentVersion.version == DocumentRow.live_version),
    )
    .where(DocumentRow.kind == KIND, DocumentRow.state.in_([DocumentState.LIVE, DocumentState.PAUSED]))
    .order_by(DocumentRow.key)
)


async def live_contests(session: ReadSession) -> dict[str, LiveContest]:
    """The contests that are live or paused; without those that this release cannot read."""
    return {
        key: LiveContest(key, version, definition, state == DocumentState.PAUSED)
        for key, version, document, state in await session.execute(_LIVE)
        if (definition := readable(ContestDefinition, VersionText(KIND, key, version, document))) is not None
    }


async def open_contest(session: WriteSession, contest: str, as_of: datetime) -> None:
    """Choose the secret, once, when the contest is first published."""
    secret = secrets.token_bytes(32)
    fresh = insert(ContestDraw).values(
        contest=contest, secret=secret, commitment=commitment_to(secret), opened_at=as_of
    )
    await session.execute(fresh.on_conflict_do_nothing())


async def draw_of(session: ReadSession, contest: str) -> ContestDraw | None:
    """The contest's list and draw as they stand."""
    return await session.get(ContestDraw, contest, populate_existing=True)


async def lock_draw(session: WriteSession, contest: str) -> ContestDraw | None:
    """The same, locked: nobody enters any more until this transaction ends."""
    statement = select(ContestDraw).where(ContestDraw.contest == contest).with_for_update()
    return (await session.execute(statement.execution_options(populate_existing=True))).scalar_one_or_none()


async def taking_entries(session: WriteSession, contests: Collection[str]) -> set[str]:
    """Which of these are not frozen; they cannot be until this transaction ends."""
    statement = (
        select(ContestDraw.contest)
        .where(ContestDraw.contest.in_(contests), ContestDraw.frozen_at.is_(None))
        .order_by(ContestDraw.contest)
        .with_for_update(read=True)
    )
    return set((await session.execute(statement)).scalars()) if contests else set()


async def opened_at(session: ReadSession, contests: Collection[str]) -> dict[str, datetime]:
    """When each of these was first published: what happened before was never an entry."""
    statement = select(ContestDraw.contest, ContestDraw.opened_at).where(ContestDraw.contest.in_(contests))
    return {row.contest: row.opened_at for row in await session.execute(statement)}


@dataclass(frozen=True, slots=True)
class NewEntry:
    """An entry that a rule allows, if its limit does. `order_id`: none, if nothing is left of this order by now."""

    contest: str
    rule: str
    source: str
    customer_id: UUID
    entries: int
    period: str
    limit: int | None
    at: datetime
    id: UUID
    order_id: str | None = None


# Entries beyond a rule's limit are left out, the earlier one first; the customers are locked by the caller, so that no
# two of one customer are counted at once. A source that has entered before is passed over.
_ENTER = text("""
    WITH wanted AS (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
            id uuid, contest text, rule text, source text, customer_id uuid, entries bigint, period text,
            "limit" bigint, at timestamptz, order_id text
        )
    ), new AS (
        SELECT wanted.*, row_number() OVER (
            PARTITION BY contest, rule, customer_id, period ORDER BY at, id
        ) AS number
        FROM wanted WHERE NOT EXISTS (
            SELECT FROM contest_entries AS kept
            WHERE (kept.contest, kept.rule, kept.source) = (wanted.contest, wanted.rule, wanted.source)
        ) AND NOT EXISTS (
            SELECT FROM orders
            WHERE orders.order_id = wanted.order_id AND orders.state IN ('cancelled', 'refunded')
        )
    ), allowed AS (
        SELECT * FROM new WHERE "limit" IS NULL OR number + (
            SELECT count(*) FROM contest_entries AS kept
            WHERE (kept.contest, kept.rule, kept.customer_id, kept.period)
                = (new.contest, new.rule, new.customer_id, new.period)
        ) <= "limit"
    )
    INSERT INTO contest_entries (id, contest, rule, source, customer_id, entries, period, at)
    SELECT id, contest, rule, source, customer_id, entries, period, at FROM allowed
    ON CONFLICT (contest, rule, source) DO NOTHING
    RETURNING id
""")


async def enter(session: WriteSession, entries: Sequence[NewEntry]) -> set[UUID]:
    """Enter locked customers in contests that are not frozen; answers the ids of the entries that were taken."""
    if not entries:
        return set()
    distinct = {(each.contest, each.rule, each.source): each for each in reversed(entries)}
    rows = [_as_json(each) for each in reversed(distinct.values())]
    return set((await session.execute(_ENTER, {"rows": orjson.dumps(rows).decode()})).scalars())


async def entry_of(session: ReadSession, contest: str, rule: str, source: str) -> ContestEntry | None:
    """The entry of a source, if there is one."""
    statement = select(ContestEntry).where(ContestEntry.contest == contest, ContestEntry.rule == rule)
    return (await session.execute(statement.where(ContestEntry.source == source))).scalar_one_or_none()


async def known_contests(session: ReadSession, contests: Collection[str]) -> set[str]:
    """Which of these were ever published."""
    statement = select(ContestDraw.contest).where(ContestDraw.contest.in_(contests))
    return set((await session.execute(statement)).scalars()) if contests else set()


async def drawn_definition(session: ReadSession, row: ContestDraw) -> ContestDefinition:
    """The definition that the list was frozen under; before that, the latest."""
    statement = select(DocumentVersion.document).where(DocumentVersion.kind == KIND, DocumentVersion.key == row.contest)
    if row.version is not None:
        statement = statement.where(DocumentVersion.version == row.version)
    latest = statement.order_by(DocumentVersion.version.desc()).limit(1)
    return read_published(ContestDefinition, (await session.execute(latest)).scalar_one())


async def remove_entries(
    session: WriteSession, contests: Collection[str], sources: Collection[str]
) -> set[tuple[UUID, str, str]]:
    """Take entries out again, whose orders came back, from contests that the caller holds unfrozen. Answers whose they
    were: customer, contest and source.
    """
    statement = delete(ContestEntry).where(ContestEntry.contest.in_(contests), ContestEntry.source.in_(sources))
    gone = statement.returning(ContestEntry.customer_id, ContestEntry.contest, ContestEntry.source)
    return {(row.customer_id, row.contest, row.source) for row in await session.execute(gone)}


_REMOVE_MOVED = text(f"""
    DELETE FROM contest_entries AS entry USING events
    WHERE entry.contest = ANY(CAST(:contests AS text[])) AND entry.customer_id = :from_customer AND entry.at > :since
      AND events.customer_id = :to_customer AND events.subject = :subject
      AND entry.source IN ('event/' || events.id, 'order/' || ({ORDER_ID}))
    RETURNING entry.contest
""")  # noqa: S608  a condition, written in our own code


async def remove_moved(session: WriteSession, contests: Collection[str], move: Move, since: datetime) -> set[str]:
    """Take out what an anonymous history, which is another's now, entered since a moment; answers in which contests.

    The caller holds the contests unfrozen. Relies on ix_contest_entries_customer_id and ix_events_customer_name.
    """
    given = {"contests": list(contests), "subject": f"a:{move.anonymous_id}", "since": since}
    given |= {"from_customer": move.from_customer, "to_customer": move.to_customer}
    return set((await session.execute(_REMOVE_MOVED, given)).scalars()) if contests else set()


async def chances(session: ReadSession, contest: str, customer_id: UUID) -> int:
    """The entries of one customer so far."""
    total = select(func.coalesce(func.sum(ContestEntry.entries), 0))
    own = (ContestEntry.contest == contest, ContestEntry.customer_id == customer_id)
    return int((await session.execute(total.where(*own))).scalar_one())


def _as_json(entry: NewEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "contest": entry.contest,
        "rule": entry.rule,
        "source": entry.source,
        "customer_id": entry.customer_id,
        "entries": entry.entries,
        "period": entry.period,
        "limit": entry.limit,
        "at": entry.at,
        "order_id": entry.order_id,
    }
