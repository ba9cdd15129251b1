"""Personal codes of customers, and how often their links were followed. A code has one owner forever."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, PrimaryKeyConstraint, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Table
from database.session import ReadSession, WriteSession
from domain.engagement import Actor
from domain.referrals import personal_code

_MOST_TRIES = 20


class ReferralCode(Table):
    """One code. After a merge a customer has several; the oldest is shown, all work."""

    __tablename__ = "referral_codes"

    code: Mapped[str] = mapped_column(primary_key=True)
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    made_at: Mapped[datetime]

    __table_args__ = (Index("ix_referral_codes_customer_id", "customer_id"),)


class ReferralClicks(Table):
    """How often the link of a code was followed on a day (UTC), by whom. Counts only, so that a flood stays small."""

    __tablename__ = "referral_clicks"

    code: Mapped[str]
    day: Mapped[date]
    actor: Mapped[str]  # domain.engagement.Actor
    clicks: Mapped[int]

    __table_args__ = (PrimaryKeyConstraint("code", "day", "actor"),)


async def code_for(session: WriteSession, customer_id: UUID, as_of: datetime) -> str:
    """The customer's code, made now if there is none. Two who ask at once get the same one, for it follows the id."""
    for attempt in range(_MOST_TRIES):
        if known := await codes_of(session, customer_id):
            return known[0]
        code = personal_code(customer_id, attempt)
        fresh = insert(ReferralCode).values(code=code, customer_id=customer_id, made_at=as_of)
        await session.execute(fresh.on_conflict_do_nothing())
    raise RuntimeError("no code is free for this customer")


async def codes_of(session: ReadSession, customer_id: UUID) -> Sequence[str]:
    """The customer's codes, the oldest first."""
    statement = select(ReferralCode.code).where(ReferralCode.customer_id == customer_id)
    return (await session.execute(statement.order_by(ReferralCode.made_at, ReferralCode.code))).scalars().all()


async def owner_of(session: ReadSession, code: str) -> UUID | None:
    """Whose code this is."""
    return await session.scalar(select(ReferralCode.customer_id).where(ReferralCode.code == code))


async def count_click(session: WriteSession, code: str, actor: Actor, as_of: datetime) -> bool:
    """Count one visit; whether it was the first by a person on its day."""
    fresh = insert(ReferralClicks).values(code=code, day=as_of.date(), actor=actor, clicks=1)
    more = fresh.on_conflict_do_update(
        index_elements=["code", "day", "actor"], set_={"clicks": ReferralClicks.clicks + 1}
    )
    count = (await session.execute(more.returning(ReferralClicks.clicks))).scalar_one()
    return actor is Actor.HUMAN and count == 1


async def clicks_on(session: ReadSession, codes: Sequence[str]) -> tuple[int, int]:
    """How often these links were followed by people, and by machines."""
    counted = func.coalesce(func.sum(ReferralClicks.clicks), 0)
    statement = (
        select(ReferralClicks.actor, counted).where(ReferralClicks.code.in_(codes)).group_by(ReferralClicks.actor)
    )
    by_actor = {actor: int(clicks) for actor, clicks in await session.execute(statement)}
    people = by_actor.get(Actor.HUMAN, 0)
    return people, sum(by_actor.values()) - people
