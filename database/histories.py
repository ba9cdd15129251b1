"""Histories that are folded again: an anonymous visitor's events pass to another customer, and both start afresh."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, or_, select, text, update

from database.consent import Consent
from database.events import Event
from database.orders import forget_commerce
from database.products import forget_views
from database.routing import PendingEvent, loaded
from database.session import ReadSession, WriteSession

_PAGE = 1_000

# Purely anonymous events only: what came with a user id belongs to that user. Their numbers sort before all others of
# their new customer, so that no wait takes them for news.
_MOVE = text("""
    UPDATE events SET customer_id = :to_customer, number = number - (
        SELECT last_number FROM customers WHERE id = :from_customer
    )
    WHERE subject = :subject AND customer_id = :from_customer
""")


async def move_history(session: WriteSession, anonymous_id: str, from_customer: UUID, to_customer: UUID) -> None:
    """Pass what an anonymous visitor did to another customer. Both are locked by the caller, who folds them again."""
    moved = {"subject": f"a:{anonymous_id}", "from_customer": from_customer, "to_customer": to_customer}
    await session.execute(_MOVE, moved)
    theirs = select(Event.id).where(Event.subject == moved["subject"], Event.customer_id == to_customer)
    await session.execute(
        update(Consent)
        .where(Consent.customer_id == from_customer, Consent.event_id.in_(theirs))
        .values(customer_id=to_customer)
    )


async def forget(session: WriteSession, customer_ids: Collection[UUID]) -> None:
    """Drop what is folded from the events of these customers, but for the profile, which is written over."""
    await forget_commerce(session, customer_ids)
    await forget_views(session, customer_ids)


async def history(session: ReadSession, customer_id: UUID) -> AsyncIterator[list[PendingEvent]]:
    """All routed events of a customer by the time they happened, in pages."""
    after: tuple[datetime, UUID] | None = None
    while True:
        statement = loaded.where(Event.customer_id == customer_id, Event.status == "routed")
        if after is not None:
            later = and_(Event.timestamp == after[0], Event.id > after[1])
            statement = statement.where(or_(Event.timestamp > after[0], later))
        rows = await session.execute(statement.order_by(Event.timestamp, Event.id).limit(_PAGE))
        page = [PendingEvent(*tuple(row)) for row in rows]
        if not page:
            return
        yield page
        after = (page[-1].timestamp, page[-1].id)
