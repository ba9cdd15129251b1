"""Finding the customer of a path, locked or not, or making one known; and saying something that is to be routed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import select

from api.beforehand import beforehand, occasion
from api.dependencies import ApiDependencies
from database.acts import act_on_traits
from database.customers import Customer, customer_of, lock
from database.events import Event, append
from database.session import ReadSession, WriteSession
from domain.client_addresses import with_networks_only
from domain.errors import NotFound, Unavailable
from domain.events import KIND_NAMES, EventKind, NewEvent

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


async def lock_customer(
    session: WriteSession, id_: str, find: Callable[[ReadSession, str], Awaitable[Customer | None]] = customer_of
) -> Customer | None:
    """The same, locked until the transaction ends; None if there is none. Raises Unavailable if merges overtake us."""
    for _ in range(_TRIES):
        customer = await find(session, id_)
        if customer is None:
            return None
        await lock(session, [customer.id], skip_locked=False)
        again = await find(session, id_)
        if again is not None and again.id == customer.id:
            await session.refresh(again)
            return again
    raise Unavailable("This customer is being merged at this moment.", code="customer_moves", retry_after=1)


def customer_not_found() -> NotFound:
    """Nobody is known under the id in the path."""
    return NotFound("No customer is known under this id.", code="customer_not_found")


async def find_or_make_customer(
    session: WriteSession, dependencies: ApiDependencies, customer_id: str, as_of: datetime
) -> Customer:
    """The customer, made known by an event of ours if this is the first we hear of them.

    Raises Unavailable `customer_pending` when no router has taken that up within two seconds.
    """
    customer = await customer_of(session, customer_id)
    if customer is None:
        message_id = f"customer/{occasion(session)}"
        await beforehand(session, "made", lambda: tell(dependencies, customer_id, message_id, {}, as_of))
        customer = await customer_of(session, customer_id)
    if customer is None:
        detail = "The customer is new and may exist in a moment; the request was not applied. Send it again."
        raise Unavailable(detail, code="customer_pending", retry_after=1)
    return customer


async def tell(
    dependencies: ApiDependencies, customer_id: str, message_id: str, traits: dict[str, Any], as_of: datetime
) -> bool:
    """Store an identify event of ours and wait for a router, without a connection; whether one took it up in time."""
    event = our_event(message_id, EventKind.IDENTIFY, customer_id, as_of, traits=traits)
    async with dependencies.database.transaction() as session:  # committed now, so that a router sees it
        if (customer := await lock_customer(session, customer_id)) is not None:
            event = replace(event, timestamp=await act_on_traits(session, customer, traits, as_of))
        await append(session, [with_networks_only(event) if dependencies.truncate_ip else event])
    return await wait_until_routed(dependencies, event)


def our_event(
    message_id: str, kind: EventKind, customer_id: str, as_of: datetime, *, name: str | None = None, **members: Any
) -> NewEvent:
    """An event that the API makes itself, of a customer, now. `name`: by default its kind's."""
    return NewEvent(
        source=SOURCE,
        message_id=message_id,
        kind=kind,
        name=name or KIND_NAMES[kind],
        timestamp=as_of,
        received_at=as_of,
        user_id=customer_id,
        **members,
    )


async def wait_until_routed(dependencies: ApiDependencies, event: NewEvent) -> bool:
    """Whether a router takes the event up within two seconds; it was told when the event was committed."""
    statement = select(Event.status).where(Event.source == event.source, Event.message_id == event.message_id)
    for _ in range(int(PATIENCE_SECONDS / POLL_SECONDS)):
        async with dependencies.database.read() as session:
            if (await session.execute(statement)).scalar_one_or_none() == "routed":
                return True
        await asyncio.sleep(POLL_SECONDS)
    return False
