"""Forgetting what is over its time: a page in a transaction, and how far each class has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import TextClause, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Table
from database.customers import Customer
from database.session import ReadSession, WriteSession
from domain.ids import first_id_at
from domain.retention import Class


class Ageing(Table):
    """One class of what is kept for a time."""

    __tablename__ = "ageing"

    name: Mapped[str] = mapped_column(primary_key=True)  # domain.retention.Class
    position: Mapped[UUID | None]  # the last row that was looked at, of classes that are walked by id
    looked_at: Mapped[datetime]
    forgotten: Mapped[int]  # rows, in all


@dataclass(frozen=True, slots=True)
class Page:
    """What became of one page. `position`: where the next begins; None at the end."""

    count: int
    position: UUID | None
    is_last: bool


# One router at a time ages; never waits for the one that does.
_TURN = text("SELECT pg_try_advisory_xact_lock(hashtextextended('ageing', 0))")

# What is over its time. By pk_events (ids are made in the order of receipt), pk_messages, ix_runs_saved,
# ix_idempotency_keys_answered and ix_audit_log_at.
_DUE: Final[Mapping[Class, str]] = {
    Class.EVENT_CONTEXT: """
        FROM events
        WHERE id > :after AND id < :before AND status <> 'pending' AND context - ARRAY['timezone', 'locale'] <> '{}'
    """,
    Class.MAIL_BODIES: """
        FROM messages
        WHERE id > :after AND id < :before AND state NOT IN ('planned', 'claimed', 'attempting', 'unknown')
            AND (html IS NOT NULL OR text IS NOT NULL OR subject IS NOT NULL)
    """,
    Class.WEBHOOK_ANSWERS: "FROM runs WHERE ended_at < :since AND saved <> '{}'",
    Class.IDEMPOTENCY_ANSWERS: "FROM idempotency_keys WHERE created_at < :since AND status <> 0",
    Class.AUDIT: "FROM audit_log WHERE at < :since",
    Class.ANONYMOUS_VISITORS: """
        FROM customers
        WHERE last_seen < :since AND merged_into IS NULL AND erased_at IS NULL AND external_id IS NULL
    """,
    Class.INACTIVE_CUSTOMERS: """
        FROM customers
        WHERE last_seen < :since AND merged_into IS NULL AND erased_at IS NULL AND external_id IS NOT NULL
    """,
}

# Profiles are made of zone and language, which stay.
_EVENT_CONTEXT = text(
    f"""
    WITH page AS (SELECT id {_DUE[Class.EVENT_CONTEXT]} ORDER BY id LIMIT :limit)
    UPDATE events SET context = (
        SELECT coalesce(jsonb_object_agg(key, value), '{{}}') FROM jsonb_each(context)
        WHERE key IN ('timezone', 'locale')
    )
    FROM page WHERE events.id = page.id
    RETURNING events.id
"""  # noqa: S608  constants of ours
)

_MAIL_BODIES = text(
    f"""
    WITH page AS (SELECT id {_DUE[Class.MAIL_BODIES]} ORDER BY id LIMIT :limit)
    UPDATE messages SET html = NULL, text = NULL, subject = NULL, headers = '{{}}'
    FROM page WHERE messages.id = page.id
    RETURNING messages.id
"""  # noqa: S608  constants of ours
)

_WEBHOOK_ANSWERS = text(
    f"""
    WITH page AS (SELECT id {_DUE[Class.WEBHOOK_ANSWERS]} ORDER BY ended_at LIMIT :limit)
    UPDATE runs SET saved = '{{}}' FROM page WHERE runs.id = page.id RETURNING runs.id
"""  # noqa: S608  constants of ours
)

# The key stays used: what was asked for under it is never done again.
_IDEMPOTENCY_ANSWERS = text(
    f"""
    WITH page AS (SELECT scope, key {_DUE[Class.IDEMPOTENCY_ANSWERS]} ORDER BY created_at LIMIT :limit)
    UPDATE idempotency_keys SET body = '', headers = '{{}}', status = 0
    FROM page WHERE idempotency_keys.scope = page.scope AND idempotency_keys.key = page.key
    RETURNING idempotency_keys.customer_id
"""  # noqa: S608  constants of ours
)

_AUDIT = text(
    f"""
    WITH page AS (SELECT id {_DUE[Class.AUDIT]} ORDER BY at, id LIMIT :limit)
    DELETE FROM audit_log USING page WHERE audit_log.id = page.id RETURNING audit_log.id
"""  # noqa: S608  constants of ours
)

_BY_ID: Final[Mapping[Class, TextClause]] = {Class.EVENT_CONTEXT: _EVENT_CONTEXT, Class.MAIL_BODIES: _MAIL_BODIES}
_BY_TIME: Final[Mapping[Class, TextClause]] = {
    Class.WEBHOOK_ANSWERS: _WEBHOOK_ANSWERS,
    Class.IDEMPOTENCY_ANSWERS: _IDEMPOTENCY_ANSWERS,
    Class.AUDIT: _AUDIT,
}
ROWS: Final = frozenset({*_BY_ID, *_BY_TIME})
"""Classes whose rows are blanked or removed here; the others are people, who are erased."""

_NOBODY = UUID(int=0)

# By pk_customers, a stretch at a time: last_seen changes with every event, so it has no index.
_UNSEEN = text("""
    WITH stretch AS (
        SELECT id, external_id, last_seen, merged_into, erased_at FROM customers
        WHERE id > :after ORDER BY id LIMIT :limit
    )
    SELECT
        (SELECT max(id::text)::uuid FROM stretch) AS reached,
        (SELECT count(*) FROM stretch) AS looked_at,
        coalesce(array_agg(id ORDER BY id) FILTER (
            WHERE last_seen < :since AND merged_into IS NULL AND erased_at IS NULL
                AND (external_id IS NULL) = :are_anonymous
        ), '{}') AS due
    FROM stretch
""")


async def take_turn(session: WriteSession) -> bool:
    """Whether this transaction may age; another router does otherwise."""
    return bool(await session.scalar(_TURN))


async def forget_page(session: WriteSession, what: Class, since: datetime, limit: int, as_of: datetime) -> Page:
    """Forget a page of rows of a class that are older than `since`."""
    await session.take_long()
    if what in _BY_TIME:
        rows = (await session.execute(_BY_TIME[what], {"since": since, "limit": limit})).all()
        page = Page(len(rows), None, is_last=len(rows) < limit)
    else:
        after = await position_of(session, what) or _NOBODY
        bounds = {"after": after, "before": first_id_at(since), "limit": limit}
        ids = (await session.scalars(_BY_ID[what], bounds)).all()
        is_last = len(ids) < limit
        starts_over = is_last and await _is_first_look_of_day(session, what, as_of)
        page = Page(len(ids), None if starts_over else max([after, *ids]), is_last=is_last)
    await note_page(session, what, page, as_of)
    return page


async def _is_first_look_of_day(session: ReadSession, what: Class, as_of: datetime) -> bool:
    """The walk starts over once a day: what waited to be routed or sent when it was passed is over its time as well."""
    looked_at = await session.scalar(select(Ageing.looked_at).where(Ageing.name == what))
    return looked_at is not None and looked_at.date() != as_of.date()


async def unseen(session: ReadSession, what: Class, since: datetime, limit: int) -> tuple[list[UUID], UUID | None]:
    """The people of the next stretch of customers who were last seen before `since`, and where the stretch ends; None
    at the end of all."""
    after = await position_of(session, what) or _NOBODY
    bounds = {"after": after, "limit": limit, "since": since, "are_anonymous": what is Class.ANONYMOUS_VISITORS}
    row = (await session.execute(_UNSEEN, bounds)).one()
    return list(row.due), row.reached if row.looked_at == limit else None


async def is_unseen(session: WriteSession, customer_id: UUID, since: datetime) -> bool:
    """Whether that still holds. Locks the customer, so that it goes on holding until the transaction ends."""
    still = select(Customer.id).where(Customer.id == customer_id, Customer.last_seen < since)
    found = await session.scalar(still.where(Customer.erased_at.is_(None)).with_for_update())
    return found is not None


async def left(session: ReadSession, what: Class, since: datetime) -> int:
    """How many rows or people are over their time and not forgotten yet. Counts them all: for people to look at."""
    statement = text(f"SELECT count(*) {_DUE[what]}")
    bounds: dict[str, Any] = {"since": since}
    if what in _BY_ID:
        bounds = {"after": _NOBODY, "before": first_id_at(since)}
    return int(await session.scalar(statement, bounds) or 0)


async def position_of(session: ReadSession, what: Class) -> UUID | None:
    """Where the class has come to."""
    return (await session.execute(select(Ageing.position).where(Ageing.name == what))).scalar_one_or_none()


async def note_page(session: WriteSession, what: Class, page: Page, as_of: datetime) -> None:
    """Remember how far a class has come."""
    new = insert(Ageing).values(name=what, position=page.position, looked_at=as_of, forgotten=page.count)
    changes: dict[str, Any] = {
        "position": new.excluded.position,
        "looked_at": new.excluded.looked_at,
        "forgotten": Ageing.forgotten + new.excluded.forgotten,
    }
    await session.execute(new.on_conflict_do_update(index_elements=["name"], set_=changes))


async def looked_at(session: ReadSession) -> dict[str, tuple[datetime, int]]:
    """By class, when it was last looked at, and how many rows have been forgotten in all."""
    rows = await session.execute(select(Ageing.name, Ageing.looked_at, Ageing.forgotten))
    return {row.name: (row.looked_at, row.forgotten) for row in rows}
