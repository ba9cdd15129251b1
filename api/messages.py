"""Messages: what was sent, what was not and why, and what became of each."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from api.auth import requires
from api.customer_access import find_customer
from api.dependencies import Reading
from api.message_answers import MessageAnswer, MessageDetail
from api.pagination import Page, PageRequest, TimeAndId, page, page_request
from api.routing import ApiRoute
from database.message_lists import find_message, page_of_messages, reports_about
from database.session import ReadSession
from domain.documents import DOCUMENT_KEY
from domain.errors import NotFound
from domain.keys import Scope
from domain.messages import MessageState

router = APIRouter(prefix="/v1/messages", tags=["messages"], route_class=ApiRoute)


@router.get("", dependencies=[requires(Scope.MESSAGES_READ)], summary="List messages, the latest first")
async def list_messages(
    session: Reading,
    wanted: Annotated[PageRequest, Depends(page_request)],
    customer_id: Annotated[str | None, Query(min_length=1, max_length=255, description="The shop's own id.")] = None,
    journey: Annotated[str | None, Query(pattern=DOCUMENT_KEY)] = None,
    state: MessageState | None = None,
) -> Page[MessageAnswer]:
    """Also those that were skipped, held or cancelled: each says why."""
    customer = None if customer_id is None else await find_customer(session, customer_id)
    return await messages_page(session, wanted, None if customer is None else customer.id, journey=journey, state=state)


@router.get("/{message_id}", dependencies=[requires(Scope.MESSAGES_READ)], summary="One message with its content")
async def get_message(message_id: UUID, session: Reading) -> MessageDetail:
    """What was sent, each attempt, and what was reported since."""
    shown = await find_message(session, message_id)
    if shown is None:
        raise NotFound("There is no message with this id.", code="message_not_found")
    return MessageDetail.with_reports(shown, await reports_about(session, message_id))


async def messages_page(
    session: ReadSession,
    wanted: PageRequest,
    customer_id: UUID | None,
    *,
    journey: str | None = None,
    state: MessageState | None = None,
) -> Page[MessageAnswer]:
    """One page of messages, for this list and for the customer's own."""
    rows = await page_of_messages(
        session,
        customer_id=customer_id,
        journey=journey,
        state=state,
        before=wanted.after(TimeAndId),
        limit=wanted.probe,
    )
    return page(rows, wanted, MessageAnswer.of, lambda row: (row.message.created_at, row.message.id))
