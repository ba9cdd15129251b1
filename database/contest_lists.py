"""What the shop's own people look at: who entered a contest, what entries came to, who stands behind its places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Text, case, cast, distinct, func, select, tuple_

from database.contests import ContestEntry, ContestPlace, ContestTicket
from database.customers import Customer
from database.session import ReadSession

_NAME = func.coalesce(Customer.external_id, cast(Customer.id, Text))
"""The shop's own id of a customer, else ours."""


async def page_of_entries(
    session: ReadSession, contest: str, *, customer_id: UUID | None, after: tuple[str, str] | None, limit: int
) -> Sequence[tuple[ContestEntry, str]]:
    """Entries with whose they are, by rule and source.

    Relies on uq_contest_entries_source, for one customer on ix_contest_entries_customer_id.
    """
    statement = select(ContestEntry, _NAME).join(Customer, Customer.id == ContestEntry.customer_id)
    statement = statement.where(ContestEntry.contest == contest)
    if customer_id is not None:
        statement = statement.where(ContestEntry.customer_id == customer_id)
    if after is not None:
        statement = statement.where(tuple_(ContestEntry.rule, ContestEntry.source) > tuple_(*after))
    rows = await session.execute(statement.order_by(ContestEntry.rule, ContestEntry.source).limit(limit))
    return [(entry, name) for entry, name in rows]


class Entered(NamedTuple):
    """What came in by a rule, or by all of them together."""

    rule: str | None
    people: int
    times: int
    chances: int


async def what_entered(session: ReadSession, contest: str) -> list[Entered]:
    """By rule, and in all (rule None, last). By uq_contest_entries_source."""
    statement = (
        select(
            ContestEntry.rule,
            func.count(distinct(ContestEntry.customer_id)),
            func.count(),
            func.coalesce(func.sum(ContestEntry.entries), 0),
        )
        .where(ContestEntry.contest == contest)
        .group_by(func.grouping_sets(tuple_(ContestEntry.rule), tuple_()))
        .order_by(case((func.grouping(ContestEntry.rule) == 0, 0), else_=1), ContestEntry.rule)
    )
    rows = await session.execute(statement)
    return [Entered(rule, people, times, int(entries)) for rule, people, times, entries in rows]


async def people_of_places(session: ReadSession, contest: str) -> list[tuple[ContestPlace, str | None, int | None]]:
    """The places in the order drawn, with who stands behind each and with how many chances; nobody who is erased."""
    statement = (
        select(ContestPlace, _NAME, ContestTicket.weight)
        .outerjoin(ContestTicket, ContestTicket.entry_id == ContestPlace.entry_id)
        .outerjoin(Customer, Customer.id == ContestTicket.customer_id)
        .where(ContestPlace.contest == contest)
        .order_by(ContestPlace.place)
    )
    return [(place, name, weight) for place, name, weight in await session.execute(statement)]
