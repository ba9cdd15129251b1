"""Restricting what is done with a customer, and lifting that. The caller holds the customer's lock.

While it stands, steps with an effect wait as those of a paused journey do, and nobody is entered.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from database.restore_journal import note
from database.restrictions import Restriction, add_restriction, end_restrictions, standing_restriction
from database.run_changes import let_customer_go
from database.session import WriteSession
from domain.restore_journal import GROUNDS, Restricted, RestrictionLifted


async def restrict(session: WriteSession, customer_id: UUID, *, reason: str, by: str, as_of: datetime) -> Restriction:
    """Nothing more is done with this customer. One who is restricted already stays so since then, for the new reason.

    What has been handed to a provider has left.
    """
    standing = await standing_restriction(session, customer_id)
    if standing is not None:
        standing.reason = reason
        return standing
    ground = reason if reason in GROUNDS else None
    await note(session, [Restricted(customer=customer_id, at=as_of, by=by, ground=ground)])
    return await add_restriction(session, customer_id, reason=reason, by=by, at=as_of)


async def lift(session: WriteSession, customer_id: UUID, *, by: str, as_of: datetime) -> bool:
    """Runs that stand still go on from where they stand; answers whether there was a restriction."""
    if await standing_restriction(session, customer_id) is None:
        return False
    await note(session, [RestrictionLifted(customer=customer_id, at=as_of, by=by)])
    await end_restrictions(session, customer_id, by=by, at=as_of)
    await let_customer_go(session, customer_id)
    return True
