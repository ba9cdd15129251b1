"""The development inbox: every message as its reader would see it, and why others were not sent.

It stands open only where `is_inbox_open` says so (the `outbox` provider, for development); anywhere else it asks for a
key that may read messages.
"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from api.auth import get_key_ring, presented_key
from api.dependencies import Dependencies, Reading
from api.message_answers import MessageDetail
from api.messages import messages_page
from api.pages import show, show_message
from api.pagination import PageRequest, page_request
from api.routing import ApiRoute
from database.message_lists import find_message, reports_about
from database.session import ReadSession
from database.shop_settings import shop_settings
from domain.emails import without_open_picture
from domain.errors import Forbidden, NotFound
from domain.keys import Scope


async def _may_look(request: Request, dependencies: Dependencies) -> None:
    if dependencies.is_inbox_open:
        return
    key = await get_key_ring(request).identify(presented_key(request))
    if not key.may(Scope.MESSAGES_READ):
        raise Forbidden(f"this key lacks the scope {Scope.MESSAGES_READ}", code="scope_missing")


router = APIRouter(prefix="/inbox", tags=["inbox"], route_class=ApiRoute, dependencies=[Depends(_may_look)])


@router.get("", summary="The inbox", response_class=Response)
async def show_inbox(session: Reading, wanted: Annotated[PageRequest, Depends(page_request)]) -> Response:
    """All messages, the latest first."""
    return await _inbox(session, wanted, None)


@router.get("/{message_id}", summary="A message in the inbox", response_class=Response)
async def open_message(
    message_id: UUID, session: Reading, wanted: Annotated[PageRequest, Depends(page_request)]
) -> Response:
    """One message beside the list."""
    return await _inbox(session, wanted, await _detail(session, message_id))


@router.get("/{message_id}/html", summary="A message's own HTML", response_class=Response)
async def message_html(message_id: UUID, session: Reading) -> Response:
    """For the frame: without scripts, forms or an origin of its own."""
    detail = await _detail(session, message_id)
    if detail.html is None:
        raise NotFound("This message has no HTML part.")
    return show_message(without_open_picture(detail.html))


async def _detail(session: ReadSession, message_id: UUID) -> MessageDetail:
    shown = await find_message(session, message_id)
    if shown is None:
        raise NotFound("There is no message with this id.", code="message_not_found")
    return MessageDetail.with_reports(shown, await reports_about(session, message_id))


async def _inbox(session: ReadSession, wanted: PageRequest, opened: MessageDetail | None) -> Response:
    settings = await shop_settings(session)
    page = await messages_page(session, wanted, None)
    return show(
        "inbox",
        shop=settings.name,
        accent=settings.accent_color,
        rows=page.data,
        next_cursor=page.next_cursor,
        cursor=wanted.cursor,
        opened=opened,
    )
