"""Histories that are folded again: an anonymous visitor's events pass to another customer, and both start afresh."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import and_, select, text, tuple_, update

from database.consent import Consent
from database.customers import Identity
from database.earnings import Earning, Stored, stored
from database.events import Event
from database.orders import Refund, forget_carts
from database.products import forget_views
from database.routing import PendingEvent, loaded
from database.session import ReadSession, WriteSession
from database.tiers import TierStanding
from database.vouching import is_vouched
from domain.identities import Stamp
from domain.unpaid import Unpaid

_PAGE = 1_000

# Purely anonymous events only: what came with a user id belongs to that user. Their numbers sort before all others of
# their new customer, so that no wait takes them for news.
_MOVE = text("""
    UPDATE events SET customer_id = :to_customer, number = number - (
        SELECT last_number FROM customers WHERE id = :from_customer
    )
    WHERE subject = :subject AND customer_id = :from_customer
""")


# An order belongs to the customer of the first event that told about it.
_MOVE_ORDERS = text("""
    UPDATE orders SET customer_id = :to_customer
    FROM events
    WHERE orders.customer_id = :from_customer AND events.subject = :subject AND events.customer_id = :to_customer
      AND (
        events.id::text = orders.changed_at -> 'customer' ->> 2
        OR events.message_id = orders.changed_at -> 'customer' ->> -1 AND (
            orders.changed_at -> 'customer' ->> 1 = '' OR jsonb_array_length(orders.changed_at -> 'customer') = 2
        )
      )
""")


async def move_history(session: WriteSession, anonymous_id: str, from_customer: UUID, to_customer: UUID) -> None:
    """Pass what an anonymous visitor did to another customer. Both are locked by the caller, who folds them again."""
    moved = {"subject": f"a:{anonymous_id}", "from_customer": from_customer, "to_customer": to_customer}
    await session.execute(_MOVE, moved)
    await session.execute(_MOVE_ORDERS, moved)
    theirs = select(Event.id).where(Event.subject == moved["subject"], Event.customer_id == to_customer)
    for table in (Consent, Refund):
        told = (table.customer_id == from_customer, table.event_id.in_(theirs))
        await session.execute(update(table).where(*told).values(customer_id=to_customer))
    unpaid = (Earning.customer_id == from_customer, Earning.event_id.in_(theirs), Earning.reason == Unpaid.GUEST)
    await session.execute(update(Earning).where(*unpaid).values(customer_id=to_customer))


async def earned_by_moved(
    session: WriteSession, anonymous_id: str, from_customer: UUID, to_customer: UUID, since: datetime
) -> list[Stored]:
    """What events that have moved had earned since a moment for whom they were of. Relies on ix_earnings_customer."""
    theirs = select(Event.id).where(Event.subject == f"a:{anonymous_id}", Event.customer_id == to_customer)
    return await stored(
        session, and_(Earning.customer_id == from_customer, Earning.at > since, Earning.event_id.in_(theirs))
    )


async def weigh_again(session: WriteSession, customer_ids: Collection[UUID]) -> None:
    """The tiers of these customers are due: what they did is another's now."""
    due = datetime.fromtimestamp(0, UTC)
    await session.execute(update(TierStanding).where(TierStanding.customer_id.in_(customer_ids)).values(due_at=due))


# Relies on ix_events_customer_name.
_DESCRIBED = text("""
    SELECT DISTINCT wanted.customer_id
    FROM unnest(CAST(:subjects AS text[]), CAST(:customers AS uuid[])) AS wanted (subject, customer_id)
    JOIN events ON events.customer_id = wanted.customer_id AND events.name = 'Identified'
        AND events.subject = wanted.subject
    WHERE events.trusted
""")


async def whom_visitors_described(session: ReadSession, links: Collection[tuple[str, UUID]]) -> frozenset[UUID]:
    """Those of these customers of whom a trusted source said something under that anonymous id alone."""
    if not links:
        return frozenset()
    bounds = {"subjects": [f"a:{value}" for value, _ in links], "customers": [customer for _, customer in links]}
    return frozenset((await session.execute(_DESCRIBED, bounds)).scalars())


async def vouched_events(
    session: ReadSession, since: Mapping[UUID, datetime], names: Collection[str], *, of_guests: bool = False
) -> list[tuple[UUID, PendingEvent]]:
    """What these customers did after a moment of theirs that counts for value, in order; `of_guests`: without user id.

    Relies on ix_events_customer_name.
    """
    if not since or not names:
        return []
    theirs = [Event.customer_id.in_(since), Event.name.in_(names), Event.timestamp > min(since.values())]
    theirs += [Event.status == "routed", is_vouched(Event), *([Event.user_id.is_(None)] if of_guests else [])]
    statement = loaded.add_columns(Event.customer_id).where(*theirs)
    rows = await session.execute(statement.order_by(Event.timestamp, Event.sent, Event.id))
    found = [(row[-1], PendingEvent(*tuple(row)[:-1])) for row in rows]
    return [(id_, event) for id_, event in found if event.timestamp > since[id_]]


async def doubted_visitors(session: ReadSession, customer_id: UUID) -> frozenset[str]:
    """The customer's anonymous ids of which only a browser says whose they are. Relies on ix_identities_customer_id."""
    statement = select(Identity.value).where(Identity.customer_id == customer_id, Identity.linked_trusted.is_(False))
    return frozenset((await session.execute(statement)).scalars())


async def forget(session: WriteSession, customer_ids: Collection[UUID]) -> None:
    """Drop the carts and views of these customers, which are about to be folded again from their events."""
    await forget_carts(session, customer_ids)
    await forget_views(session, customer_ids)


async def history(session: ReadSession, customer_id: UUID) -> AsyncIterator[list[PendingEvent]]:
    """All routed events of a customer in their order, in pages."""
    order = tuple_(Event.timestamp, Event.sent, Event.id)
    after: Stamp | None = None
    while True:
        statement = loaded.where(Event.customer_id == customer_id, Event.status == "routed")
        if after is not None:
            statement = statement.where(order > tuple_(*after))
        rows = await session.execute(statement.order_by(Event.timestamp, Event.sent, Event.id).limit(_PAGE))
        page = [PendingEvent(*tuple(row)) for row in rows]
        if not page:
            return
        yield page
        after = page[-1].stamp
