"""What providers tell us: signatures are verified on the raw body, repetitions dropped, hostile input assumed."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel
from sqlalchemy import select

from api.dependencies import AsOf, Dependencies
from api.routing import ApiRoute
from connectors.sendgrid_events import SIGNATURE_HEADER, TIMESTAMP_HEADER, Told, read_events, verify
from database.message_reports import report
from database.messages import Message
from database.session import ReadSession
from database.unread_reports import note_unread
from domain.errors import NotFound
from domain.message_events import Report

router = APIRouter(prefix="/v1/hooks", tags=["hooks"], route_class=ApiRoute)

_AT_ONCE = 200
"""Reports in one transaction, so that a large delivery never holds locks for long."""


class HookAnswer(BaseModel):
    """How many events were read, how many of them were new, and how many could not be read, if any."""

    received: int
    new: int
    unread: int = 0


@router.post("/sendgrid", summary="SendGrid's event webhook", response_model_exclude_defaults=True)
async def sendgrid_events(request: Request, dependencies: Dependencies, as_of: AsOf) -> HookAnswer:
    """A list of events, signed by SendGrid (ECDSA). Each counts once, by its `sg_event_id`, however often it comes.

    Each is read by itself: one that cannot be read is counted and costs no other.
    """
    if dependencies.sendgrid_webhook_key is None:
        raise NotFound("SendGrid's webhook is not set up here.", code="hook_not_set_up")
    body = await request.body()
    verify(
        dependencies.sendgrid_webhook_key,
        signature=request.headers.get(SIGNATURE_HEADER, ""),
        timestamp=request.headers.get(TIMESTAMP_HEADER, ""),
        body=body,
        as_of=as_of,
    )
    delivery, new = read_events(body, as_of), 0
    events = delivery.told
    for start in range(0, len(events), _AT_ONCE):
        async with dependencies.database.transaction() as session:
            new += await report(session, await _by_message(session, events[start : start + _AT_ONCE]), as_of)
    await note_unread(dependencies.database, "sendgrid", delivery.unread, as_of)
    return HookAnswer(received=len(events), new=new, unread=delivery.unread.total())


async def _by_message(session: ReadSession, events: list[Told]) -> list[tuple[UUID, Report]]:
    """Our own id is in every event that we can expect; asynchronous bounces may carry only SendGrid's."""
    unnamed = {event.provider_id for event in events if event.message_id is None and event.provider_id}
    known: dict[str | None, UUID] = {}
    if unnamed:  # by ix_messages_provider_id
        rows = await session.execute(select(Message.provider_id, Message.id).where(Message.provider_id.in_(unnamed)))
        known = {row.provider_id: row.id for row in rows}
    found = ((event.message_id or known.get(event.provider_id), event.report) for event in events)
    return [(message_id, told) for message_id, told in found if message_id is not None]
