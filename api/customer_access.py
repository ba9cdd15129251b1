"""Finding the customer of a path, locked or not, and waiting until what was said about one is routed."""

from __future__ import annotations

import asyncio
from uuid import UUID

from sqlalchemy import select

from api.dependencies import ApiDependencies
from database.customers import Customer, customer_of, lock
from database.events import Event
from database.session import ReadSession, WriteSession
from domain.errors import NotFound, Unavailable

SOURCE = "api"
"""Under which events are stored that the API makes itself."""
POLL_SECONDS = 0.02
PATIENCE_SECONDS = 2.0
_TRIES = 3


async def find_customer(session: ReadSession, customer_id: str) -> Customer:
    """The customer whom the shop knows under this id; raises NotFound."""
    customer = await customer_of(session, customer_id)
    if customer is None:
        raise customer_not_found()
    return customer


async def lock_customer(session: WriteSession, customer_id: str) -> Customer | None:
    """The same, locked until the transaction ends; None if there is none. Raises Unavailable if merges overtake us."""
    for _ in range(_TRIES):
        customer = await customer_of(session, customer_id)
        if customer is None:
            return None
        await lock(session, [customer.id], skip_locked=False)
        again = await customer_of(session, customer_id)
        if again is not None and again.id == customer.id:
            await session.refresh(again)
            return again
    raise Unavailable("This customer is being merged at this moment.", code="customer_moves", retry_after=1)


def customer_not_found() -> NotFound:
    """Nobody is known under the id in the path."""
    return NotFound("No customer is known under this id.", code="customer_not_found")


async def wait_until_routed(dependencies: ApiDependencies, event_id: UUID) -> bool:
    """Whether a router takes the event up within two seconds; it was told when the event was committed."""
    statement = select(Event.status).where(Event.id == event_id)
    for _ in range(int(PATIENCE_SECONDS / POLL_SECONDS)):
        async with dependencies.database.read() as session:
            if (await session.execute(statement)).scalar_one_or_none() == "routed":
                return True
        await asyncio.sleep(POLL_SECONDS)
    return False
