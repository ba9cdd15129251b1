"""The links in messages: clicks and opens are recorded, preferences shown and changed. What a link does is looked up.

GET only shows: scanners fetch every link of every message. POST acts, without cookies and without redirect (RFC 8058).
"""

from __future__ import annotations

from base64 import b64decode
from datetime import datetime
from typing import Annotated

import structlog
from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import PlainTextResponse, RedirectResponse
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException

from api.dependencies import ApiDependencies, AsOf, Dependencies, Reading, Writing
from api.erased_links import deleted, missing, nothing_kept, notice, shop_words
from api.pages import PRIVATE, show, show_message
from api.preferences import (
    asked,
    choices_of,
    confirm_button,
    offer,
    question,
    save_button,
    subscribe,
    unsubscribe,
    words_for,
)
from api.routing import ApiRoute
from api.visits import address_to_keep
from connectors.translations import Words
from database.erased_links import UNSUBSCRIBE, erased_link, silence
from database.message_reports import report
from database.messages import Link, Message, MessageEvent, link_of
from database.session import ReadSession, WriteSession
from database.shop_settings import shop_settings
from domain.consent import MARKETING, TRANSACTIONAL, TRIAL, ConsentSource
from domain.engagement import BURST, Actor, Visit, judge_click, judge_open
from domain.ids import new_id
from domain.link_hosts import host_of
from domain.message_events import Kind, Report

log = structlog.get_logger(__name__)
_PAGE = {"text/html": {"schema": {"type": "string"}}}
router = APIRouter(
    tags=["links"],
    route_class=ApiRoute,
    responses={404: {"description": "A page that says that there is no such link", "content": _PAGE}},
)

Token = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{10,64}$", description="From a link in a message.")]
_PICTURE = b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_LONGEST_AGENT = 300


@router.head("/c/{token}", include_in_schema=False)
@router.get("/c/{token}", summary="Follow a link", status_code=302, response_class=RedirectResponse)
async def follow_link(token: Token, request: Request, dependencies: Dependencies, as_of: AsOf) -> Response:
    """Leads to where the message's author wanted; the target is ours, never taken from the address."""
    async with dependencies.database.read() as session:
        found = await link_of(session, token, "click")
        target = found and found[0].target
        if found is None or target is None or host_of(target) is None:
            return await missing(session, "click", token)
    await _record(dependencies, request, Kind.CLICKED, found, as_of)
    return RedirectResponse(target, 302, headers=PRIVATE)


@router.head("/o/{token}", include_in_schema=False)
@router.get("/o/{token}", summary="The picture of an opening", response_class=Response)
async def note_opening(token: Token, request: Request, dependencies: Dependencies, as_of: AsOf) -> Response:
    """One transparent pixel, whoever asks."""
    async with dependencies.database.read() as session:
        found = await link_of(session, token, "open")
    if found is not None:
        await _record(dependencies, request, Kind.OPENED, found, as_of)
    return Response(_PICTURE, media_type="image/gif", headers=PRIVATE)


@router.get("/v/{token}", summary="View a message in the browser", response_class=Response)
async def view_message(token: Token, session: Reading) -> Response:
    """The message as it was sent, one of text only as text."""
    found = await link_of(session, token, "view")
    if found is None and await erased_link(session, "view", token) is None:
        return await missing(session, "view", token)
    if found is not None and found[1].html is None and found[1].text is not None:
        return PlainTextResponse(found[1].text, headers=PRIVATE)
    if found is None or found[1].html is None:
        settings = await shop_settings(session)
        words = shop_words(settings) if found is None else await words_for(session, found[1], settings)
        text = words("We do not keep what this message said any more.")
        return notice(settings, words, words("No longer kept"), text)
    return show_message(found[1].html)


@router.get("/u/{token}", summary="Preferences", response_class=Response)
async def show_preferences(token: Token, session: Reading) -> Response:
    """Shows the customer's choices and changes nothing."""
    found = await link_of(session, token, UNSUBSCRIBE)
    if found is not None:
        return await _preferences(session, found[1], await _words(session, found[1]))
    if await erased_link(session, UNSUBSCRIBE, token) is not None:
        return await nothing_kept(session)
    return await missing(session, UNSUBSCRIBE, token)


@router.post("/u/{token}", summary="Unsubscribe, or save preferences", response_class=Response)
async def change_preferences(token: Token, request: Request, session: Writing, as_of: AsOf) -> Response:
    """The inbox's one-click button (`List-Unsubscribe=One-Click`) or the page's own forms. Counts at once."""
    found = await link_of(session, token, UNSUBSCRIBE)
    form = await _form(request)
    if found is None:
        return await _change_nobodys(session, token, form, as_of)
    message, words = found[1], await _words(session, found[1])
    evidence = {"form": f"/u/{token[:6]}...", "user_agent": _agent(request), "ip": address_to_keep(request)}
    if form.get("action") == "save":
        await _save(session, message, words, form=form, evidence=evidence, as_of=as_of)
        return await _preferences(session, message, words, words("Your choices are saved."))
    purposes = [MARKETING] if form.get("action") == "unsubscribe" else [_purpose(message)]
    is_page = form.get("action") == "unsubscribe"
    source = ConsentSource.PREFERENCES if is_page else ConsentSource.ONE_CLICK
    await unsubscribe(session, message, purposes, source=source, evidence=evidence, as_of=as_of)
    if is_page:
        text = words("You are unsubscribed. It may be lonely here, but it is quiet.")
        return await _preferences(session, message, words, text)
    return PlainTextResponse(words("You are unsubscribed."), headers=PRIVATE)


@router.get("/u/{token}/confirm", summary="Confirm a double opt-in", response_class=Response)
async def ask_to_confirm(token: Token, session: Reading) -> Response:
    """Asks the question and changes nothing. Where nothing waits for a yes, it leads to the preferences."""
    found = await link_of(session, token, UNSUBSCRIBE)
    purposes = [] if found is None else await asked(session, found[1])
    if found is None or not purposes:
        return RedirectResponse(f"../{token}", 303, headers=PRIVATE)
    settings = await shop_settings(session)
    words = await words_for(session, found[1], settings)
    return show(
        "confirm",
        words=words,
        shop=settings.name,
        accent=settings.accent_color,
        question=question(words, settings.name, _hidden(found[1].to or ""), purposes),
        button=confirm_button(words),
    )


@router.post("/u/{token}/confirm", summary="Say yes to a double opt-in", response_class=Response)
async def confirm(token: Token, request: Request, session: Writing, as_of: AsOf) -> Response:
    """Grants what was asked for, to the address that the message went to."""
    found = await link_of(session, token, UNSUBSCRIBE)
    purposes = [] if found is None else await asked(session, found[1])
    if found is None or not purposes:
        return RedirectResponse(f"../{token}", 303, headers=PRIVATE)
    message, settings = found[1], await shop_settings(session)
    words = await words_for(session, message, settings)
    asked_for = question(words, settings.name, _hidden(message.to or ""), purposes)
    evidence = {
        "form": f"/u/{token[:6]}.../confirm",
        "user_agent": _agent(request),
        "ip": address_to_keep(request),
        "text": f"{asked_for} [{confirm_button(words)}]",
    }
    await subscribe(session, message, purposes, words, evidence=evidence, as_of=as_of)
    return notice(settings, words, words("Thank you"), words("You will hear from us."))


async def _change_nobodys(session: WriteSession, token: str, form: FormData, as_of: datetime) -> Response:
    """What is left for the mailbox of an erased person to choose: no more mail."""
    link = await erased_link(session, UNSUBSCRIBE, token)
    if link is None:
        return await missing(session, UNSUBSCRIBE, token)
    if form.get("action") == "save" and form.get("subscribed"):
        return await nothing_kept(session)
    await silence(session, link, as_of)
    settings = await shop_settings(session)
    words = shop_words(settings)
    if form.get("action"):
        no_more = words("This address gets no more news and offers.")
        return notice(settings, words, words("You are unsubscribed"), f"{deleted(words)} {no_more}")
    return PlainTextResponse(words("You are unsubscribed."), headers=PRIVATE)


async def _words(session: ReadSession, message: Message) -> Words:
    return await words_for(session, message, await shop_settings(session))


async def _save(
    session: WriteSession,
    message: Message,
    words: Words,
    *,
    form: FormData,
    evidence: dict[str, str | None],
    as_of: datetime,
) -> None:
    """Only what the page offered can be chosen, and only what differs is recorded."""
    wanted = {value for value in form.getlist("subscribed") if isinstance(value, str)}
    choices = await choices_of(session, message, await shop_settings(session), words)
    off = [choice.purpose for choice in choices if choice.is_on and choice.purpose not in wanted]
    on = [choice.purpose for choice in choices if not choice.is_on and choice.purpose in wanted]
    await unsubscribe(session, message, off, source=ConsentSource.PREFERENCES, evidence=evidence, as_of=as_of)
    await subscribe(session, message, on, words, evidence=evidence, as_of=as_of)


async def _preferences(session: ReadSession, message: Message, words: Words, notice: str | None = None) -> Response:
    settings = await shop_settings(session)
    return show(
        "preferences",
        words=words,
        shop=settings.name,
        accent=settings.accent_color,
        address=_hidden(message.to or ""),
        choices=await choices_of(session, message, settings, words),
        offer=offer(words),
        save=save_button(words),
        notice=notice,
    )


async def _record(
    dependencies: ApiDependencies, request: Request, kind: Kind, found: tuple[Link, Message], as_of: datetime
) -> None:
    """Who follows a link is led on even while we cannot write down that they did."""
    link, message = found
    try:
        async with dependencies.database.transaction() as session:
            actor = await _judge(session, request, kind, found, as_of)
            told = Report(
                provider="perennial",
                event_id=f"{kind}/{new_id()}",
                kind=kind,
                at=as_of,
                actor=actor,
                detail={"link": link.token, "url": link.target, "user_agent": _agent(request)},
            )
            await report(session, [(message.id, told)], as_of)
    except (SQLAlchemyError, OSError) as error:
        log.warning("visit_not_recorded", kind=kind, message_id=str(message.id), error=type(error).__name__)


async def _judge(
    session: ReadSession, request: Request, kind: Kind, found: tuple[Link, Message], as_of: datetime
) -> Actor:
    link, message = found
    sent_at = message.accepted_at or message.attempting_at
    purpose = request.headers.get("sec-purpose", request.headers.get("purpose", "")).lower()
    visit = Visit(
        method=request.method,
        user_agent=_agent(request),
        since_accepted=None if sent_at is None else as_of - sent_at,
        address=_address(request),
        is_prefetch="prefetch" in purpose or "preview" in purpose,
        is_burst=kind is Kind.CLICKED and await _is_burst(session, message, link, as_of),
    )
    return judge_click(visit) if kind is Kind.CLICKED else judge_open(visit)


async def _is_burst(session: ReadSession, message: Message, link: Link, as_of: datetime) -> bool:
    """Whether another link of the message was followed a moment ago. By ix_message_events_message."""
    others = select(MessageEvent.provider_event_id).where(
        MessageEvent.message_id == message.id,
        MessageEvent.kind == Kind.CLICKED,
        MessageEvent.at > as_of - BURST,
        MessageEvent.detail["link"].astext != link.token,
    )
    return (await session.execute(others.limit(1))).first() is not None


async def _form(request: Request) -> FormData:
    """The form of either encoding; what cannot be read counts as an empty one, which unsubscribes."""
    try:
        return await request.form(max_files=0, max_fields=200)
    except (HTTPException, ValueError):
        return FormData()


def _purpose(message: Message) -> str:
    return MARKETING if message.purpose in (TRANSACTIONAL, TRIAL) else message.purpose


def _hidden(address: str) -> str:
    """Enough of an address for its owner to know it: links are forwarded with their messages."""
    name, at, domain = address.partition("@")
    return f"{name[:2]}…{at}{domain}" if at else "you"


def _agent(request: Request) -> str:
    return request.headers.get("user-agent", "").encode("ascii", "replace").decode()[:_LONGEST_AGENT]


def _address(request: Request) -> str | None:
    return request.client.host if request.client else None
