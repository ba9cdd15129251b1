"""Suppressions as people see them: listed, added, released, taken in from files, shown with a customer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, tuple_, update

from database import restore_journal
from database.customers import Customer, lock
from database.messages import Suppression, cancel_claimed
from database.secrets import PSEUDONYMS, known_secret
from database.session import ReadSession, WriteSession
from database.suppressions import stands, suppress, suppressions_of
from domain.addresses import TRAIT_OF_CHANNEL, address_of
from domain.messages import Reason
from domain.pseudonyms import address_pseudonyms
from domain.restore_journal import Released
from domain.suppressions import Cause


async def page_of_suppressions(
    session: ReadSession,
    *,
    as_of: datetime,
    address: str | None = None,
    channel: str = "email",
    cause: Cause | None = None,
    standing: bool = True,
    before: tuple[datetime, UUID] | None = None,
    limit: int,
) -> Sequence[Suppression]:
    """Suppressions, the latest first; `standing`: only those in force. By ix_suppressions_at or pk_suppressions."""
    statement = select(Suppression)
    if address is not None:
        key = await known_secret(session, PSEUDONYMS)
        hashes = [] if key is None else address_pseudonyms(key, channel, address)
        statement = statement.where(Suppression.address_hash.in_(hashes), Suppression.channel == channel)
    if cause is not None:
        statement = statement.where(Suppression.reason == cause)
    if standing:
        statement = statement.where(stands(as_of))
    if before is not None:
        statement = statement.where(tuple_(Suppression.at, Suppression.id) < before)
    order = (Suppression.at.desc(), Suppression.id.desc())
    return (await session.scalars(statement.order_by(*order).limit(limit))).all()


async def find_suppression(session: ReadSession, suppression_id: UUID) -> Suppression | None:
    """One suppression, released or not."""
    statement = select(Suppression).where(Suppression.id == suppression_id)
    return (await session.execute(statement.execution_options(populate_existing=True))).scalar_one_or_none()


async def add_suppression(
    session: WriteSession, channel: str, address: str, cause: Cause, *, at: datetime, actor: str, note: str | None
) -> Suppression:
    """Suppress an address, a customer's or not, and cancel the marketing that waits for it; answers the row."""
    email = address.strip().lower()
    whose = select(Customer.id).where(Customer.email == email, Customer.merged_into.is_(None))
    customers = (await session.scalars(whose)).all() if channel == "email" else []
    await lock(session, customers, skip_locked=False)
    await suppress(session, channel, [address], reason=cause, at=at, actor=actor, note=note)
    for customer_id in sorted(customers):
        await cancel_claimed(session, customer_id, channel=channel, reason=Reason.SUPPRESSED)
    found = await page_of_suppressions(session, as_of=at, address=address, channel=channel, cause=cause, limit=1)
    return found[0]


async def release_suppression(
    session: WriteSession, suppression_id: UUID, *, at: datetime, actor: str, note: str
) -> bool:
    """Let mail go to the address again as far as this suppression is concerned; whether it was not released before."""
    waiting = update(Suppression).where(Suppression.id == suppression_id, Suppression.released_at.is_(None))
    ended = waiting.values(released_at=at, released_by=actor, release_note=note).returning(Suppression)
    row = (await session.execute(ended)).scalar_one_or_none()
    if row is None:
        return False
    released = Released(channel=row.channel, address=row.address_hash, reason=row.reason, at=at, by=actor)
    await restore_journal.note(session, [released])
    return True


async def suppressions_about(session: ReadSession, traits: Mapping[str, Any], as_of: datetime) -> list[Suppression]:
    """Those in force for a customer's present addresses."""
    found = []
    for channel in TRAIT_OF_CHANNEL:
        address = address_of(traits, channel)
        of_channel = {} if address is None else await suppressions_of(session, channel, [address], as_of)
        found += [row for rows in of_channel.values() for row in rows]
    return found
