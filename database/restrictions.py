"""Restriction of processing (GDPR, article 18): when a customer asked for it, why, and when it was lifted.

`customers.restricted_at` says that one stands. It is read with the row that everything locks that decides about a
person, so nothing begins after a restriction was acknowledged.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, func, select, update
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Table
from database.customers import Customer
from database.session import ReadSession, WriteSession
from domain.ids import new_id


class Restriction(Table):
    """One restriction. After a merge of two restricted customers several stand, and are lifted together."""

    __tablename__ = "restrictions"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    reason: Mapped[str]  # in a person's words
    at: Mapped[datetime]
    restricted_by: Mapped[str]
    lifted_at: Mapped[datetime | None]
    lifted_by: Mapped[str | None]

    __table_args__ = (Index("ix_restrictions_customer", "customer_id", "at"),)


async def standing_restriction(session: ReadSession, customer_id: UUID) -> Restriction | None:
    """The earliest restriction of a customer that has not been lifted, or None."""
    statement = select(Restriction).where(Restriction.customer_id == customer_id, Restriction.lifted_at.is_(None))
    return (await session.execute(statement.order_by(Restriction.at, Restriction.id).limit(1))).scalar_one_or_none()


async def add_restriction(
    session: WriteSession, customer_id: UUID, *, reason: str, by: str, at: datetime
) -> Restriction:
    """Restrict a customer whom the caller has locked and who is not restricted."""
    row = Restriction(id=new_id(), customer_id=customer_id, reason=reason, at=at, restricted_by=by)
    session.add(row)
    await session.execute(update(Customer).where(Customer.id == customer_id).values(restricted_at=at))
    await session.flush()
    return row


async def end_restrictions(session: WriteSession, customer_id: UUID, *, by: str, at: datetime) -> None:
    """Lift all restrictions of a customer whom the caller has locked."""
    standing = (Restriction.customer_id == customer_id, Restriction.lifted_at.is_(None))
    await session.execute(update(Restriction).where(*standing).values(lifted_at=at, lifted_by=by))
    await session.execute(update(Customer).where(Customer.id == customer_id).values(restricted_at=None))


async def restricted_customers(session: ReadSession, limit: int) -> tuple[int, Sequence[Customer]]:
    """How many customers are restricted now, and those who are longest."""
    standing = select(Restriction.customer_id).where(Restriction.lifted_at.is_(None))
    whose = (Customer.id.in_(standing), Customer.restricted_at.is_not(None))
    count = await session.scalar(select(func.count()).select_from(Customer).where(*whose))
    rows = await session.scalars(select(Customer).where(*whose).order_by(Customer.restricted_at).limit(limit))
    return count or 0, rows.all()
