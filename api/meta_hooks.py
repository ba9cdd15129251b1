"""Mentions and comments from Meta's webhooks, stored as events. Reading them: connectors/meta_events.py."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from api.dependencies import ApiDependencies, AsOf, Dependencies
from api.routing import ApiRoute
from connectors.meta_events import SIGNATURE_HEADER, read_events, verify
from database.events import append
from database.unread_reports import note_unread
from domain.errors import Forbidden, NotFound

router = APIRouter(prefix="/v1/hooks", tags=["hooks"], route_class=ApiRoute)


class MetaHookAnswer(BaseModel):
    """How many mentions and comments were read, how many of them were new, and how many could not be read, if any."""

    received: int
    new: int
    unread: int = 0


@dataclass(frozen=True, slots=True)
class _Secrets:
    app_secret: str
    verify_token: str


@router.get(
    "/meta",
    summary="Meta asks whether this address is ours",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "The challenge"}},
)
async def verify_meta_webhook(
    dependencies: Dependencies,
    mode: Annotated[str, Query(alias="hub.mode", max_length=100)] = "",
    token: Annotated[str, Query(alias="hub.verify_token", max_length=1_000)] = "",
    challenge: Annotated[str, Query(alias="hub.challenge", max_length=1_000)] = "",
) -> PlainTextResponse:
    """The challenge, for whoever knows the verify token."""
    known = _secrets(dependencies)
    if mode != "subscribe" or not hmac.compare_digest(token.encode(), known.verify_token.encode()):
        raise Forbidden("This is not the verify token.", code="verify_token_invalid")
    return PlainTextResponse(challenge)


@router.post("/meta", summary="Meta's webhook", response_model_exclude_defaults=True)
async def meta_events(request: Request, dependencies: Dependencies, as_of: AsOf) -> MetaHookAnswer:
    """Signed by Meta. Each mention or comment counts once, however often it comes; likes are passed over."""
    known = _secrets(dependencies)
    body = await request.body()
    verify(known.app_secret, signature=request.headers.get(SIGNATURE_HEADER, ""), body=body)
    told = read_events(body, as_of)
    async with dependencies.database.transaction() as session:
        appended = await append(session, told.events)
    await note_unread(dependencies.database, "meta", told.unread, as_of)
    return MetaHookAnswer(received=len(told.events), new=len(appended.accepted), unread=told.unread.total())


def _secrets(dependencies: ApiDependencies) -> _Secrets:
    if dependencies.meta_app_secret is None or dependencies.meta_verify_token is None:
        raise NotFound("Meta's webhook is not set up here.", code="hook_not_set_up")
    return _Secrets(dependencies.meta_app_secret, dependencies.meta_verify_token)
