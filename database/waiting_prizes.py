"""Points of prizes that were won while no programme was live: kept as they were decided, and paid once one is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

import orjson
from sqlalchemy import ForeignKey, Index, delete, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from database import customers
from database.base import Table
from database.customers import Customer
from database.points import post
from database.programmes import LiveProgramme, live_programme
from database.session import WriteSession
from domain.durations import parse_duration
from domain.earned_dates import expiry
from domain.points import Credit, CreditKind, Moved

AT_ONCE = 500


class WaitingPrize(Table):
    """Points that a customer has won. `key` is natural: the ledger pays under it, once."""

    __tablename__ = "waiting_prizes"

    key: Mapped[str] = mapped_column(primary_key=True)
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    points: Mapped[int]
    expires: Mapped[str | None]  # how long the points last, from when they are paid
    source: Mapped[str]
    earned_at: Mapped[datetime]
    waits_since: Mapped[datetime]

    __table_args__ = (
        Index("ix_waiting_prizes_customer_id", "customer_id"),
        Index("ix_waiting_prizes_waits_since", "waits_since", "key"),
    )


@dataclass(frozen=True, slots=True)
class PrizePoints:
    """The points of a prize, as the version says that decided."""

    key: str
    customer_id: UUID
    points: int
    expires: str | None
    source: str
    earned_at: datetime

    def credit(self, programme: LiveProgramme, as_of: datetime) -> Credit:
        """What the programme pays. Points of a prize that says nothing lapse as the programme says."""
        if self.expires is not None:
            lapses: datetime | None = parse_duration(self.expires).after(as_of.astimezone(programme.zone))
        else:
            lapses = expiry(programme.definition.expires, as_of, programme.zone)
        return Credit(
            account=self.customer_id,
            key=self.key,
            points=self.points,
            kind=CreditKind.REWARD,
            earned_at=self.earned_at,
            source=self.source,
            expires_at=lapses,
        )


async def let_wait(session: WriteSession, prizes: Sequence[PrizePoints], as_of: datetime) -> None:
    """Keep points until a programme is live; under one key once. The customers are locked by the caller."""
    if prizes:
        rows = [asdict(each) | {"waits_since": as_of} for each in prizes]
        await session.execute(insert(WaitingPrize).on_conflict_do_nothing(), rows)


async def give_up(session: WriteSession, keys: Collection[str]) -> None:
    """What was won under these keys is taken back before it was paid. The customers are locked by the caller."""
    if keys:
        await session.execute(delete(WaitingPrize).where(WaitingPrize.key.in_(keys)))


# What a completion said that it had not given.
_NOTE_PAID = text("""
    UPDATE challenge_completions AS done
    SET points = paid.points,
        not_given = CASE
            WHEN paid.refusal IS NULL THEN nullif(done.not_given - 'points', '{}')
            ELSE done.not_given || jsonb_build_object('points', paid.refusal)
        END
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS paid (key text, customer_id uuid, points bigint, refusal text)
    WHERE done.customer_id = paid.customer_id AND done.credit = paid.key
""")


async def pay_waiting(session: WriteSession, as_of: datetime, *, at_once: int = AT_ONCE) -> int:
    """Pay one page of what waits, the oldest first, once a programme is live; answers how many.

    Whoever is locked elsewhere, or restricted, is left for a later pass.
    """
    programme = await live_programme(session)
    if programme is None:
        return 0
    theirs = select(WaitingPrize).join(Customer, Customer.id == WaitingPrize.customer_id)
    theirs = theirs.where(Customer.restricted_at.is_(None))  # else they would hold up whoever is behind them
    oldest = theirs.order_by(WaitingPrize.waits_since, WaitingPrize.key).limit(at_once)
    waiting = {row.key: row.customer_id for row in (await session.execute(oldest)).scalars()}
    if not waiting:
        return 0
    found = await customers.lock(session, set(waiting.values()))
    locked = {id_ for id_, state in found.items() if not state.is_restricted}
    due = [key for key, customer_id in waiting.items() if customer_id in locked]
    # Read again under the locks: what was merged, taken back or paid meanwhile is another's or gone.
    statement = select(WaitingPrize).where(WaitingPrize.key.in_(due), WaitingPrize.customer_id.in_(locked))
    statement = statement.order_by(WaitingPrize.waits_since, WaitingPrize.key)
    rows = (await session.execute(statement.execution_options(populate_existing=True))).scalars().all()
    prizes = [_prize(row) for row in rows]
    moved = await post(session, programme.key, [each.credit(programme, as_of) for each in prizes], as_of)
    paid = [_paid(each, one) for each, one in zip(prizes, moved, strict=True)]
    await session.execute(_NOTE_PAID, {"rows": orjson.dumps(paid).decode()})
    await give_up(session, [each.key for each in prizes])
    return len(prizes)


def _prize(row: WaitingPrize) -> PrizePoints:
    return PrizePoints(row.key, row.customer_id, row.points, row.expires, row.source, row.earned_at)


def _paid(prize: PrizePoints, moved: Moved) -> dict[str, object]:
    points = moved.points if moved.refusal is None else None
    return {"key": prize.key, "customer_id": prize.customer_id, "points": points, "refusal": moved.refusal}
