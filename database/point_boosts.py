"""Temporary multipliers of single customers, for one rule of the programme or for all of them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from fractions import Fraction
from uuid import UUID

from sqlalchemy import ForeignKey, Index, select, text
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Table
from database.session import ReadSession, WriteSession
from domain.earning import Boost


class PointBoost(Table):
    """A temporary multiplier of one customer; `by` is a decimal as it was written."""

    __tablename__ = "point_boosts"

    key: Mapped[str] = mapped_column(primary_key=True)
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    rule: Mapped[str | None]  # None: all rules
    by: Mapped[str]
    start: Mapped[datetime]
    end: Mapped[datetime]

    __table_args__ = (Index("ix_point_boosts_customer", "customer_id", "end"),)


_BOOST = text("""
    INSERT INTO point_boosts (key, customer_id, rule, by, start, "end")
    VALUES (:key, :customer_id, :rule, :by, :start, :end)
    ON CONFLICT (key) DO NOTHING
""")


async def raise_multiplier(
    session: WriteSession,
    customer_id: UUID,
    *,
    key: str,
    by: float,
    start: datetime,
    end: datetime,
    rule: str | None = None,
) -> None:
    """Multiply what a customer earns by events from `start` up to `end`, by all rules or one; once for each key."""
    given = {"key": key, "customer_id": customer_id, "rule": rule, "by": str(by), "start": start, "end": end}
    await session.execute(_BOOST, given)


async def boosts_of(session: ReadSession, customer_ids: Collection[UUID], since: datetime) -> dict[UUID, list[Boost]]:
    """The multipliers of these customers that end after a moment."""
    statement = select(PointBoost).where(PointBoost.customer_id.in_(customer_ids), PointBoost.end > since)
    found: dict[UUID, list[Boost]] = {}
    for row in (await session.execute(statement.order_by(PointBoost.start, PointBoost.key))).scalars():
        found.setdefault(row.customer_id, []).append(Boost(Fraction(row.by), row.start, row.end, row.rule, row.key))
    return found
