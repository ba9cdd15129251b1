"""When an act on our own pages or by our API counts: later than all of its kind that was recorded before.

Clocks of processes differ, and releases before believed a sender's time up to a day ahead; whoever unsubscribes now has
unsubscribed nevertheless.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text

from database.customers import Customer
from database.session import WriteSession

_TICK = timedelta(microseconds=1)

# What waits to be routed was recorded before, too. Relies on ix_consents_customer and ix_events_pending_subject.
_LAST = text("""
    SELECT greatest(
        (SELECT max(at) FROM consents WHERE customer_id = :customer_id AND :of_consent),
        (
            SELECT max(events.timestamp)
            FROM identities
            JOIN events ON events.subject = left(identities.kind, 1) || ':' || identities.value
                AND events.status = 'pending'
            WHERE identities.customer_id = :customer_id
        )
    )
""")


async def act_on_consent(session: WriteSession, customer_id: UUID, as_of: datetime) -> datetime:
    """When an act about a customer's consent counts. The caller holds the customer's lock."""
    return _after(await session.scalar(_LAST, {"customer_id": customer_id, "of_consent": True}), as_of)


async def act_on_traits(
    session: WriteSession, customer: Customer, traits: Collection[str], as_of: datetime
) -> datetime:
    """When a change of these traits counts. The caller holds the customer's lock."""
    waiting = _after(await session.scalar(_LAST, {"customer_id": customer.id, "of_consent": False}), as_of)
    return after_traits(customer, traits, waiting)


def after_traits(customer: Customer, traits: Collection[str], as_of: datetime) -> datetime:
    """The later of now and just after what was last said of any of these traits."""
    writers = (customer.trait_times[name] for name in traits if name in customer.trait_times)
    return max((_after(datetime.fromisoformat(writer[0]), as_of) for writer in writers), default=as_of)


def _after(last: datetime | None, as_of: datetime) -> datetime:
    return as_of if last is None else max(as_of, last + _TICK)
