"""The links of referrals and shares: short, counted, and leading only where the shop has said."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Annotated
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import structlog
from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.exc import SQLAlchemyError

from api.dependencies import ApiDependencies, AsOf, Dependencies
from api.erased_links import missing, notice, shop_words
from api.pages import PRIVATE
from api.routing import ApiRoute
from api.visits import visit_of
from database import referrals
from database.announcements import Announcement, announce
from database.code_tries import Budget, spend, waits
from database.erased_links import REFERRAL, erased_link
from database.referral_codes import count_click, owner_of
from database.referrals import tell
from database.session import WriteSession
from database.shop_settings import shop_settings
from domain.client_addresses import client_of
from domain.engagement import Actor, judge_click
from domain.referrals import CLICKED, ReferralState, Side, read_code
from domain.shop_settings import ShopSettings

log = structlog.get_logger(__name__)
_PAGE = {"text/html": {"schema": {"type": "string"}}}
router = APIRouter(
    tags=["links"],
    route_class=ApiRoute,
    responses={
        404: {"description": "A page that says that there is no such link", "content": _PAGE},
        429: {"description": "A page that asks for a minute: too many wrong links from one address", "content": _PAGE},
    },
)

Token = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{8,64}$", description="A referral code, or that of an invitation.")]
PARAMETER = "ref"
"""Under which the shop's pages find the code, to claim with it after the friend has signed up."""


@router.head("/r/{token}", include_in_schema=False)
@router.get("/r/{token}", summary="Follow a referral link", status_code=302, response_class=RedirectResponse)
async def follow_referral_link(token: Token, request: Request, dependencies: Dependencies, as_of: AsOf) -> Response:
    """Leads to the shop's website with `?ref=<code>`. Only counts: what a friend is worth is decided by the claim."""
    async with dependencies.database.transaction() as session:
        settings = await shop_settings(session)
        code = await _code(session, token)
        if wait := await _guessed_too_much(session, dependencies, request, as_of, wrong=code is None):
            return _slow_down(settings, wait)
        if code is None:
            return await missing(session, REFERRAL, token, read_code(token))
    await _count(dependencies, request, code, as_of)
    if settings.website is None:
        words = shop_words(settings)
        text = words("A friend has sent you. Name this code when you sign up: %(code)s", code=code)
        return notice(settings, words, words("Welcome"), text)
    return RedirectResponse(with_parameter(settings.website, PARAMETER, code), 302, headers=PRIVATE)


async def _guessed_too_much(
    session: WriteSession, dependencies: ApiDependencies, request: Request, as_of: datetime, *, wrong: bool
) -> timedelta:
    """How long whoever asks has to wait for having tried too many wrong links, so that nobody finds one by guessing:
    then good ones are not told apart either. Good ones cost nothing.
    """
    budget = Budget("address", dependencies.code_limits.per_address)
    whose = client_of(request.client.host if request.client else "")
    if not wrong:
        return await waits(session, budget, whose, as_of)
    return (await spend(session, budget, whose, 1, as_of)).wait


def _slow_down(settings: ShopSettings, wait: timedelta) -> Response:
    words = shop_words(settings)
    text = words("Many links that are not ours were opened from here. Please wait a minute and open yours again.")
    answer = notice(settings, words, words("One moment"), text, status=429)
    answer.headers["Retry-After"] = str(math.ceil(wait.total_seconds()))
    return answer


async def _code(session: WriteSession, token: str) -> str | None:
    """The token as it is known: of an invitation, or a personal code however it was typed; None for one that leads to
    nobody, or to somebody who was erased."""
    code = read_code(token)
    if await erased_link(session, REFERRAL, token) or await erased_link(session, REFERRAL, code):
        return None
    if await referrals.invitation(session, token) is not None:
        return token
    return code if await owner_of(session, code) is not None else None


async def _count(dependencies: ApiDependencies, request: Request, code: str, as_of: datetime) -> None:
    """Who follows a link is led on even while we cannot write down that they did."""
    actor = judge_click(visit_of(request))
    try:
        async with dependencies.database.transaction() as session:
            await _note(session, code, actor, as_of)
    except (SQLAlchemyError, OSError) as error:
        log.warning("referral_click_not_counted", error=type(error).__name__)


async def _note(session: WriteSession, code: str, actor: Actor, as_of: datetime) -> None:
    is_first = await count_click(session, code, actor, as_of)
    invitation = await referrals.invitation(session, code)
    row = await referrals.lock_referral(session, invitation) if invitation is not None else None
    if row is not None and actor is Actor.HUMAN and row.state == ReferralState.INVITED and row.lapses_at > as_of:
        row.state, row.clicked_at = ReferralState.CLICKED, as_of
        await session.flush()
        await tell(session, row, CLICKED, as_of, sides=[Side.REFERRER])
    elif row is None and is_first and (owner := await owner_of(session, code)) is not None:
        day = as_of.date().isoformat()
        told = Announcement(owner, CLICKED, f"referral/{code}/clicked/{day}", {"side": Side.REFERRER, "day": day})
        await announce(session, [told], as_of)


def with_parameter(address: str, name: str, value: str) -> str:
    """The address with one more parameter in its query; one of that name is replaced."""
    parts = urlsplit(address)
    query = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != name]
    return urlunsplit(parts._replace(query=urlencode([*query, (name, value)])))
