"""Who belongs to an audience now: customers whom the shop knows, page by page."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select

from database.conditions import ShopDefaults, matching
from database.customers import Customer
from database.session import ReadSession
from domain.conditions.model import Condition
from domain.conditions.trust import depends_on_trust


class Person(NamedTuple):
    """One customer of an audience: our id, and the shop's. `is_trusted`: trusted facts alone put it there."""

    id: UUID
    user_id: str
    is_trusted: bool


async def audience(
    session: ReadSession,
    condition: Condition,
    as_of: datetime,
    shop: ShopDefaults,
    *,
    after: UUID | None,
    limit: int,
) -> Sequence[Person]:
    """The customers for whom the condition holds, in the order of their ids, from the one after `after`."""
    known = (Customer.merged_into.is_(None), Customer.erased_at.is_(None), Customer.external_id.is_not(None))
    statement = select(Customer.id, Customer.external_id).where(
        *known, Customer.id.in_(matching(condition, as_of, shop))
    )
    if after is not None:
        statement = statement.where(Customer.id > after)
    rows = (await session.execute(statement.order_by(Customer.id).limit(limit))).all()
    trusted = await _by_trusted_facts(session, condition, as_of, shop, [row.id for row in rows])
    return [Person(row.id, row.external_id, row.id in trusted) for row in rows]


async def _by_trusted_facts(
    session: ReadSession, condition: Condition, as_of: datetime, shop: ShopDefaults, ids: Sequence[UUID]
) -> Collection[UUID]:
    """Those of these members whom trusted facts alone make members."""
    if not depends_on_trust(condition):
        return ids
    statement = matching(condition, as_of, shop, trusted=True).where(Customer.id.in_(ids))
    return set((await session.execute(statement)).scalars())


async def people(session: ReadSession, ids: Collection[UUID]) -> dict[UUID, Customer]:
    """These customers, but for those who were erased."""
    statement = select(Customer).where(Customer.id.in_(ids), Customer.erased_at.is_(None))
    return {customer.id: customer for customer in (await session.execute(statement)).scalars()}
