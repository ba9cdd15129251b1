"""Messages as the API shows them: with the shop's own id of the customer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select, tuple_

from database.customers import Customer
from database.messages import Message, MessageEvent
from database.session import ReadSession
from domain.messages import MessageState


class ShownMessage(NamedTuple):
    """A message and the shop's own id of its customer."""

    message: Message
    external_id: str | None


async def page_of_messages(
    session: ReadSession,
    *,
    customer_id: UUID | None = None,
    journey: str | None = None,
    state: MessageState | None = None,
    before: tuple[datetime, UUID] | None = None,
    limit: int,
) -> Sequence[ShownMessage]:
    """Messages, the latest first. By ix_messages_customer for one customer, else by ix_messages_created_at."""
    statement = select(Message, Customer.external_id).outerjoin(Customer, Customer.id == Message.customer_id)
    for column, value in ((Message.customer_id, customer_id), (Message.journey, journey), (Message.state, state)):
        if value is not None:
            statement = statement.where(column == value)
    if before is not None:
        statement = statement.where(tuple_(Message.created_at, Message.id) < before)
    rows = await session.execute(statement.order_by(Message.created_at.desc(), Message.id.desc()).limit(limit))
    return [ShownMessage(*row) for row in rows]


async def find_message(session: ReadSession, message_id: UUID) -> ShownMessage | None:
    """One message, or None."""
    statement = (
        select(Message, Customer.external_id)
        .outerjoin(Customer, Customer.id == Message.customer_id)
        .where(Message.id == message_id)
    )
    row = (await session.execute(statement.execution_options(populate_existing=True))).one_or_none()
    return None if row is None else ShownMessage(*row)


async def reports_about(session: ReadSession, message_id: UUID) -> Sequence[MessageEvent]:
    """What was reported about a message, in order of time. By ix_message_events_message."""
    statement = select(MessageEvent).where(MessageEvent.message_id == message_id).order_by(MessageEvent.at)
    return (await session.execute(statement)).scalars().all()
