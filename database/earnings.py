"""Decisions of earning rules: what each made of each event, by which version and inputs, and the credits it posted.

The natural key (programme, rule, occasion) is unique among final decisions, so no order earns twice whoever routes it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from math import prod
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import ForeignKey, Index, delete, func, select, text, update
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Json, JsonList, Table, among
from database.events import Event
from database.session import ReadSession, WriteSession
from database.vouching import VOUCHED
from domain.earned_amounts import Share
from domain.earned_credits import Posted, credits_of, credits_row
from domain.earned_edits import Change
from domain.earning import Decision, EarningEvent, Occasion
from domain.identities import Stamp
from domain.lateness import LATE
from domain.refunds import Frozen
from domain.shares import VERIFIED_BY
from domain.unpaid import Unpaid


class Earning(Table):
    """One decision. `points` are paid after clipping; what refunds took of them is `taken_back`."""

    __tablename__ = "earnings"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    programme: Mapped[str]
    rule: Mapped[str]
    version: Mapped[int]
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    event_id: Mapped[UUID]
    message_id: Mapped[str]
    at: Mapped[datetime]  # when the event counts
    sent: Mapped[datetime] = mapped_column(server_default=text("now()"))  # orders what counts at the same instant
    is_late: Mapped[bool]  # it came more than a day after it happened, and counts as of when it came
    decided_at: Mapped[datetime]
    occasion: Mapped[str]
    owner: Mapped[UUID | None]  # the customer, where `once_per` names them
    is_final: Mapped[bool]  # the occasion is taken
    points: Mapped[int]
    wanted: Mapped[int]
    reason: Mapped[str | None]  # domain.earning.Unpaid
    tier: Mapped[str | None]
    inputs: Mapped[Json]  # exact, counted, factors, failed: what it was decided by
    order_id: Mapped[str | None]
    basis: Mapped[int | None]  # minor units of `currency`: what refunds are measured against
    currency: Mapped[str | None]
    shares: Mapped[JsonList]  # of the order's lines, frozen: product_id, sku, quantity, amount
    activates_at: Mapped[datetime | None]
    activates_on: Mapped[str | None]  # the event that makes the points available sooner
    expires_at: Mapped[datetime | None]
    taken_back: Mapped[int]
    credits: Mapped[JsonList]  # domain.earned_credits.Posted

    __table_args__ = (
        Index("uq_earnings_event", "event_id", "programme", "rule", unique=True),
        Index(
            *("uq_earnings_occasion", "programme", "rule", "occasion", "owner"),
            unique=True,
            postgresql_where=text("is_final"),
            postgresql_nulls_not_distinct=True,
        ),
        Index("ix_earnings_customer", "customer_id", "at", "message_id"),
        Index("ix_earnings_order", "order_id", postgresql_where=text("order_id IS NOT NULL")),
    )


@dataclass(frozen=True, slots=True)
class Stored:
    """A decision as it is stored."""

    id: UUID
    programme: str
    rule: str
    version: int
    customer_id: UUID
    event_id: UUID
    stamp: Stamp
    is_late: bool
    occasion: Occasion
    is_final: bool
    reason: Unpaid | None
    order_id: str | None
    tier: str | None
    frozen: Frozen
    activates_at: datetime | None
    expires_at: datetime | None
    taken_back: int
    credits: Sequence[Posted]
    failed: str | None  # the pointer of the condition that did not hold
    factors: frozenset[str]  # the places of the multipliers that counted
    factor: Fraction = Fraction(1)  # all of them together
    room: int | None = None  # what the limit had left; None where it has none, and in rows of earlier releases


# Reading what was decided --------------------------------------------------------------------------------


async def decided_events(session: ReadSession, programme: str, event_ids: Collection[UUID]) -> set[UUID]:
    """Which of these events have been decided: a replay never decides again. Relies on uq_earnings_event."""
    statement = select(Earning.event_id).where(Earning.programme == programme, among(Earning.event_id, event_ids))
    return set((await session.execute(statement)).scalars()) if event_ids else set()


_AFTER = text("""
    SELECT earnings.id
    FROM jsonb_to_recordset(CAST(:moments AS jsonb)) AS moment (
        customer_id uuid, at timestamptz, sent timestamptz, event_id uuid
    )
    JOIN earnings ON earnings.customer_id = moment.customer_id
        AND (earnings.at, earnings.sent, earnings.event_id) > (moment.at, moment.sent, moment.event_id)
    WHERE earnings.programme = :programme AND coalesce(earnings.reason, '') NOT IN ('guest', 'edit_window_over')
""")


async def decided_after(
    session: ReadSession, programme: str, moments: Mapping[UUID, Stamp], *, lock: bool = True
) -> list[Stored]:
    """What was decided about events that happened after a moment of their customers. Relies on ix_earnings_customer."""
    rows = [
        {"customer_id": id_, "at": stamp.timestamp, "sent": stamp.sent, "event_id": stamp.event_id}
        for id_, stamp in moments.items()
    ]
    given = {"programme": programme, "moments": orjson.dumps(rows).decode()}
    ids = (await session.execute(_AFTER, given)).scalars().all()
    return await stored(session, among(Earning.id, ids), lock=lock) if ids else []


_UNDECIDED = text(f"""
    SELECT events.id
    FROM unnest(CAST(:customers AS uuid[]), CAST(:since AS timestamptz[])) AS opened (customer_id, since)
    JOIN events ON events.customer_id = opened.customer_id AND events.name = ANY(CAST(:names AS text[]))
        AND events.timestamp > opened.since
    WHERE events.status = 'routed' AND {VOUCHED} AND events.received_at - events.timestamp <= CAST(:late AS interval)
      AND NOT EXISTS (
          SELECT FROM earnings WHERE earnings.event_id = events.id AND earnings.programme = :programme
      )
""")  # noqa: S608  our own words


async def undecided_events(
    session: ReadSession, programme: str, names: Collection[str], since: Mapping[UUID, datetime]
) -> Sequence[Event]:
    """What these customers did after a moment that no row was kept of, such as what another event had earned before.

    Relies on ix_events_customer_name and uq_earnings_event.
    """
    given = {"programme": programme, "names": sorted(names), "late": LATE}
    given |= {"customers": list(since), "since": list(since.values())}
    ids = (await session.execute(_UNDECIDED, given)).scalars().all()
    return (await session.execute(select(Event).where(among(Event.id, ids)))).scalars().all() if ids else []


async def events_by_id(session: ReadSession, earlier: Iterable[Stored]) -> list[EarningEvent]:
    """The events of these decisions once more, counting when they counted then."""
    by_event = {each.event_id: each for each in earlier}
    rows = (await session.execute(select(Event).where(among(Event.id, by_event)))).scalars() if by_event else ()
    return [
        EarningEvent(
            *(row.id, row.message_id, by_event[row.id].customer_id, row.name, row.properties),
            at=by_event[row.id].stamp.timestamp,
            trusted=row.trusted,
            is_history=row.is_history,
            is_late=by_event[row.id].is_late,
            sent=by_event[row.id].stamp.sent,
            verified_by=row.properties.get(VERIFIED_BY) if row.own else None,
            version=by_event[row.id].version,
        )
        for row in rows
    ]


async def page_of_earnings(
    session: ReadSession, programme: str, customer_id: UUID, *, before: UUID | None, limit: int
) -> Sequence[Earning]:
    """A customer's decisions, the latest first."""
    statement = select(Earning).where(Earning.programme == programme, Earning.customer_id == customer_id)
    if before is not None:
        statement = statement.where(Earning.id < before)
    return (await session.execute(statement.order_by(Earning.id.desc()).limit(limit))).scalars().all()


async def paid_between(session: ReadSession, programme: str, start: datetime, end: datetime) -> int:
    """The points that were paid for events of a period, from `start` on and before `end`."""
    paid = select(func.coalesce(func.sum(Earning.points), 0)).where(
        Earning.programme == programme, Earning.at >= start, Earning.at < end
    )
    return int(await session.scalar(paid) or 0)


# Writing -------------------------------------------------------------------------------------------------

_COLUMNS = """
    id uuid, programme text, rule text, version bigint, customer_id uuid, event_id uuid, message_id text,
    at timestamptz, sent timestamptz, is_late boolean, decided_at timestamptz, occasion text, owner uuid,
    is_final boolean, points bigint, wanted bigint, reason text, tier text, inputs jsonb, order_id text, basis bigint,
    currency text, shares jsonb, activates_at timestamptz, activates_on text, expires_at timestamptz
"""
_NAMES = ", ".join(part.split()[0] for part in _COLUMNS.strip().split(",") if part.strip())

# Whoever takes an occasion first has it; another router that takes the same at this moment is waited for. In the order
# of keys, so that two routers never wait for each other.
_ADD = text(f"""
    INSERT INTO earnings ({_NAMES}, taken_back, credits)
    SELECT {_NAMES}, 0, credits FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS row ({_COLUMNS}, credits jsonb)
    ORDER BY rule, occasion, owner
    ON CONFLICT DO NOTHING
    RETURNING id
""")  # noqa: S608  names of columns, written above

_CHANGE = text(f"""
    UPDATE earnings SET ({_NAMES}) = (
        SELECT {_NAMES} FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS row ({_COLUMNS}) WHERE row.id = earnings.id
    )
    WHERE earnings.id = ANY(CAST(:ids AS uuid[]))
""")  # noqa: S608  names of columns, written above


async def add(
    session: WriteSession,
    programme: str,
    decisions: Mapping[UUID, Decision],
    posted: Mapping[UUID, Sequence[Posted]],
    as_of: datetime,
) -> set[UUID]:
    """Store new decisions by their ids, with the credits that the caller posts for those that this answers.

    The occasions of the others were taken just now.
    """
    rows = [
        _row(id_, programme, decision, as_of) | {"credits": credits_row(posted[id_], 0)}
        for id_, decision in decisions.items()
    ]
    if not rows:
        return set()
    return set((await session.execute(_ADD, {"rows": orjson.dumps(rows).decode()})).scalars())


async def change(session: WriteSession, programme: str, decisions: Mapping[UUID, Decision], as_of: datetime) -> None:
    """Put other decisions in the place of those with these ids."""
    rows = [_row(id_, programme, decision, as_of) for id_, decision in decisions.items()]
    for takes in (False, True):  # whoever gives an occasion up does so before another takes it
        some = [row for row in rows if row["is_final"] is takes]
        if some:
            given = {"rows": orjson.dumps(some).decode(), "ids": [row["id"] for row in some]}
            await session.execute(_CHANGE, given)


_WRITE_CREDITS = text("""
    UPDATE earnings SET credits = row.credits, taken_back = row.taken_back
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS row (id uuid, credits jsonb, taken_back bigint)
    WHERE earnings.id = row.id
""")


async def write_credits(session: WriteSession, changed: Mapping[UUID, tuple[Sequence[Posted], int]]) -> None:
    """Keep which credits decisions have posted, and how many points refunds took back of each decision."""
    rows = [
        {
            "id": id_,
            "taken_back": taken_back,
            "credits": credits_row(posted, taken_back),
        }
        for id_, (posted, taken_back) in changed.items()
    ]
    if rows:
        await session.execute(_WRITE_CREDITS, {"rows": orjson.dumps(rows).decode()})


async def remove(session: WriteSession, ids: Collection[UUID]) -> None:
    """Decisions that posted nothing, and whose event has got the row of its occasion."""
    if ids:
        await session.execute(delete(Earning).where(among(Earning.id, ids)))


async def withdraw(session: WriteSession, ids: Collection[UUID]) -> None:
    """Decisions whose occasion an earlier event has taken since: they pay nothing, and take nothing."""
    if ids:
        gone = {"points": 0, "reason": Unpaid.ONCE, "is_final": False}
        await session.execute(update(Earning).where(among(Earning.id, ids)).values(gone))


def _row(id_: UUID, programme: str, decision: Decision, as_of: datetime) -> dict[str, Any]:
    worth, event = decision.worth, decision.event
    return {
        "id": id_,
        "programme": programme,
        "rule": decision.rule,
        "version": decision.version,
        "customer_id": event.customer_id,
        "event_id": event.id,
        "message_id": event.message_id,
        "at": event.at,
        "sent": event.sent,
        "is_late": event.is_late,
        "decided_at": as_of,
        "occasion": decision.occasion.value,
        "owner": decision.occasion.owner,
        "is_final": decision.is_final,
        "points": decision.points,
        "wanted": decision.wanted,
        "reason": decision.reason,
        "tier": decision.tier,
        "inputs": _inputs(decision),
        "order_id": decision.order_id,
        "basis": worth.basis if worth else None,
        "currency": worth.currency if worth else None,
        "shares": shares_row(decision.shares),
        "activates_at": decision.activates_at,
        "activates_on": decision.activates_on,
        "expires_at": decision.expires_at,
    }


def _inputs(decision: Decision) -> dict[str, Any]:
    return {
        "exact": str(decision.exact),
        "counted": decision.worth.counted if decision.worth else None,
        "factors": [{"place": factor.place, "by": str(factor.by)} for factor in decision.factors],
        "failed": decision.failed,
        "room": decision.room,
        "edits": changes_row(decision.changes),
    }


def changes_row(changes: Iterable[Change]) -> list[dict[str, Any]]:
    """What later edits made of a decision, as it is stored."""
    return [{"at": each.at.isoformat(), "by": each.by} for each in changes]


def frozen_of(
    points: int, basis: int | None, currency: str | None, shares: Iterable[Any], edits: Iterable[Any] | None
) -> Frozen:
    """What a row keeps of its decision. Rows without edits, and those of earlier releases, say none."""
    changes = [Change(datetime.fromisoformat(each["at"]), each["by"]) for each in edits or ()]
    return Frozen(points, basis, currency, [Share(**share) for share in shares], changes)


def shares_row(shares: Iterable[Share]) -> list[dict[str, Any]]:
    """The frozen shares of an order's lines, as they are stored."""
    names = ("product_id", "sku", "quantity", "amount")
    return [{name: getattr(share, name) for name in names} for share in shares]


async def stored(
    session: ReadSession,
    wanted: Any,
    *,
    lock: bool = True,  # a condition of SQLAlchemy's
) -> list[Stored]:
    """The decisions for which a condition holds, in order of id; locked, unless they are only looked at."""
    statement = select(Earning).where(wanted).order_by(Earning.id)
    statement = (statement.with_for_update() if lock else statement).execution_options(populate_existing=True)
    return [_read(row) for row in (await session.execute(statement)).scalars()]


def _read(row: Earning) -> Stored:
    return Stored(
        *(row.id, row.programme, row.rule, row.version, row.customer_id, row.event_id),
        stamp=Stamp(row.at, row.sent, row.event_id),
        is_late=row.is_late,
        occasion=Occasion(row.rule, row.occasion, row.customer_id if row.owner else None),
        is_final=row.is_final,
        reason=None if row.reason is None else Unpaid(row.reason),
        order_id=row.order_id,
        tier=row.tier,
        frozen=frozen_of(row.points, row.basis, row.currency, row.shares, row.inputs.get("edits")),
        activates_at=row.activates_at,
        expires_at=row.expires_at,
        taken_back=row.taken_back,
        credits=credits_of(row.credits, row.taken_back),
        failed=row.inputs.get("failed"),
        factors=frozenset(factor["place"] for factor in row.inputs.get("factors", ())),
        factor=prod((Fraction(each["by"]) for each in row.inputs.get("factors", ())), start=Fraction(1)),
        room=row.inputs.get("room"),
    )
