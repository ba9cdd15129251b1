"""What the restore journal says of customers, done again: when the journal is replayed for those who are here, and as
soon as one of their ids is named for those who came after the backup.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from database.awaited_lines import take_awaited
from database.consent_addresses import settle_consents
from database.customers import lock
from database.restored import keep_withdrawals, survivors_of
from database.restrictions import standing_restriction
from database.session import WriteSession
from domain.identities import Key
from domain.restore_journal import Restricted, RestrictionLifted, Withdrawn
from triggers.batch import BatchCustomer
from triggers.restrictions import lift, restrict

REASON = "restricted before the database was restored"
"""Why a customer is restricted whose reason the restore has lost."""


async def make_good(
    session: WriteSession, arrived: Mapping[Key, UUID], customers: Mapping[UUID, BatchCustomer], as_of: datetime
) -> None:
    """Do for customers of new ids what the journal knew of these. The caller holds the customers' locks."""
    lines = await take_awaited(session, arrived) if arrived else []
    await withdraw(session, [line.entry for line in lines if isinstance(line.entry, Withdrawn)], as_of)
    for line in lines:
        if isinstance(line.entry, Restricted | RestrictionLifted):
            await restrict_again(session, line.entry)
            customers[line.entry.customer].is_restricted = isinstance(line.entry, Restricted)


async def withdraw(session: WriteSession, entries: Sequence[Withdrawn], as_of: datetime) -> list[Withdrawn]:
    """Record withdrawals anew; answers those that could be."""
    if not entries:
        return []
    survivors = await survivors_of(session, {entry.customer for entry in entries})
    await lock(session, set(survivors.values()), skip_locked=False)
    kept = await keep_withdrawals(session, entries, survivors, as_of)
    await settle_consents(session, set(survivors.values()))
    return kept


async def restrict_again(session: WriteSession, entry: Restricted | RestrictionLifted) -> bool:
    """In the order in which they were made; whether the customer is here."""
    here = await living(session, [entry.customer])
    await lock(session, here, skip_locked=False)
    for customer_id in here:
        if isinstance(entry, RestrictionLifted):
            await lift(session, customer_id, by=entry.by, as_of=entry.at)
        elif await standing_restriction(session, customer_id) is None:
            await restrict(session, customer_id, reason=entry.ground or REASON, by=entry.by, as_of=entry.at)
    return bool(here)


async def living(session: WriteSession, customers: Collection[UUID]) -> list[UUID]:
    """Those who are here, as they stand after merges."""
    return sorted(set((await survivors_of(session, set(customers))).values()))
