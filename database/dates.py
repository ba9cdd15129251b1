"""When date entries fall due, per customer and entry. The table: journeys.py."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, false, select
from sqlalchemy.dialects.postgresql import array, insert

from database.base import among
from database.customers import Customer
from database.journeys import DateDue
from database.session import ReadSession, WriteSession


@dataclass(frozen=True, slots=True)
class Due:
    """One entry of a journey falls due for a customer. `occasion` is the local date, so that a date fires once."""

    journey: str
    entry: int
    customer_id: UUID
    due_at: datetime
    occasion: str


async def replace(session: WriteSession, customer_ids: Collection[UUID], dues: Collection[Due]) -> None:
    """Write what falls due for these customers, whom the caller has locked, in place of what was there."""
    await session.execute(delete(DateDue).where(among(DateDue.customer_id, customer_ids)))
    if dues:
        await session.execute(insert(DateDue), [asdict(due) for due in dues])


async def replace_for(
    session: WriteSession, journey: str, customer_ids: Collection[UUID], dues: Collection[Due]
) -> None:
    """The same for one journey only."""
    mine = (DateDue.journey == journey, among(DateDue.customer_id, customer_ids))
    await session.execute(delete(DateDue).where(*mine))
    if dues:
        await session.execute(insert(DateDue), [asdict(due) for due in dues])


async def forget(session: WriteSession, journey: str) -> None:
    """A journey without date entries, or one that is archived: nothing falls due for it."""
    await session.execute(delete(DateDue).where(DateDue.journey == journey))


async def take_due(session: WriteSession, as_of: datetime, limit: int) -> Sequence[Due]:
    """What has fallen due, the oldest first, with its customers locked; whom somebody else holds comes next time."""
    statement = (
        select(DateDue.journey, DateDue.entry, DateDue.customer_id, DateDue.due_at, DateDue.occasion)
        .join(Customer, Customer.id == DateDue.customer_id)
        .where(DateDue.due_at <= as_of)
        .order_by(DateDue.due_at)
        .limit(limit)
        .with_for_update(of=Customer, skip_locked=True)
    )
    return [Due(**row) for row in (await session.execute(statement)).mappings()]


async def advance(session: WriteSession, taken: Sequence[Due], following: Collection[Due]) -> None:
    """What was taken is done; what follows it (the next anniversary) is written."""
    for due in taken:
        done: Any = (DateDue.journey == due.journey, DateDue.entry == due.entry)
        await session.execute(delete(DateDue).where(*done, DateDue.customer_id == due.customer_id))
    if following:
        await session.execute(insert(DateDue), [asdict(due) for due in following])


async def holders(session: ReadSession, traits: Collection[str], after: UUID | None, limit: int) -> Sequence[UUID]:
    """Customers whom the shop knows and who may hold one of these traits, in the order of their ids, for a backfill."""
    statement = select(Customer.id).where(Customer.merged_into.is_(None), Customer.external_id.is_not(None))
    firsts = [trait.split(".", maxsplit=1)[0] for trait in traits]
    statement = statement.where(Customer.traits.has_any(array(firsts))) if firsts else statement.where(false())
    if after is not None:
        statement = statement.where(Customer.id > after)
    return (await session.execute(statement.order_by(Customer.id).limit(limit))).scalars().all()
