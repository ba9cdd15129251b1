"""Links that customers share: short, counted, and verified by somebody else who comes by them."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

import structlog
from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy.exc import SQLAlchemyError

from api.auth import requires
from api.customer_access import customer_not_found, find_customer, lock_customer
from api.dependencies import ApiDependencies, AsOf, Dependencies, Reading, Writing
from api.erased_links import missing
from api.idempotency import concerns
from api.pages import PRIVATE
from api.paths import CustomerRef
from api.referral_links import with_parameter
from api.routing import ApiRoute
from api.visits import address_to_keep, visit_of
from database.erased_links import SHARE, erased_link
from database.referral_signals import seen_signals
from database.secrets import PSEUDONYMS, secret
from database.session import ReadSession, WriteSession
from database.share_verifying import verify_share
from database.shares import (
    NewShare,
    ShareLink,
    add_visitor,
    lock_share,
    share_by,
    share_for,
    shares_of,
)
from database.shop_settings import shop_settings
from domain.engagement import Actor
from domain.keys import Scope
from domain.own_events import is_own_name
from domain.pseudonyms import pseudonym
from domain.referral_signals import SignalKind, normal_ip
from domain.shares import Follower, judge_follower
from domain.shop_settings import WebAddress

log = structlog.get_logger(__name__)
router = APIRouter(tags=["sharing"], route_class=ApiRoute)

READ, WRITE = [requires(Scope.LOYALTY_READ)], [requires(Scope.LOYALTY_WRITE)]
Action = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
Object = Annotated[str, StringConstraints(min_length=1, max_length=500)]


def _not_our_own(name: str) -> str:
    if is_own_name(name):
        raise ValueError("this is read as an event of the product's own; choose another name")
    return name


EventName = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_not_our_own)]
Token = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{12,64}$", description="Of a shared link.")]
PARAMETER = "share"
_PAGE = {"text/html": {"schema": {"type": "string"}}}
_SHOWN = 200


class ShareWish(BaseModel):
    """What is shared, and where its link shall lead. `event` is sent again once the share is verified."""

    model_config = ConfigDict(extra="forbid")

    action: Action = "share"
    object: Object = Field(description="The shop's own id of what is shared, such as a product's.")
    url: WebAddress
    event: EventName | None = Field(default=None, examples=["Product Shared"])


class ShareAnswer(BaseModel):
    """One shared link. `visitors`: people other than the sharer."""

    id: UUID
    action: str
    object: str
    link: str
    visitors: int
    made_at: datetime
    verified_at: datetime | None
    ordered_at: datetime | None

    @classmethod
    def of(cls, row: ShareLink, base: str) -> Self:
        """From the row."""
        told = {name: getattr(row, name) for name in cls.model_fields if name != "link"}
        return cls(link=f"{base}/s/{row.token}", **told)


class ShareList(BaseModel):
    """A customer's links, the latest first."""

    data: list[ShareAnswer]


@router.post("/v1/customers/{customer_id}/shares", dependencies=WRITE, status_code=201, summary="Make a link to share")
async def make_share(
    customer_id: CustomerRef, wish: ShareWish, session: Writing, dependencies: Dependencies, as_of: AsOf
) -> ShareAnswer:
    """One link for each customer, action and object; asking again answers the first."""
    customer = await lock_customer(session, customer_id)
    if customer is None:
        raise customer_not_found()
    concerns(session, customer.id)
    token = secrets.token_urlsafe(12)
    row = await share_for(session, NewShare(customer.id, token, wish.action, wish.object, wish.url, wish.event), as_of)
    return ShareAnswer.of(row, await _base(session, dependencies))


@router.get("/v1/customers/{customer_id}/shares", dependencies=READ, summary="Links that a customer shared")
async def list_shares(customer_id: CustomerRef, session: Reading, dependencies: Dependencies) -> ShareList:
    """The latest 200."""
    customer = await find_customer(session, customer_id)
    base = await _base(session, dependencies)
    return ShareList(data=[ShareAnswer.of(row, base) for row in await shares_of(session, customer.id, _SHOWN)])


@router.head("/s/{token}", include_in_schema=False)
@router.get(
    "/s/{token}",
    summary="Follow a shared link",
    status_code=302,
    response_class=RedirectResponse,
    responses={404: {"description": "A page that says that there is no such link", "content": _PAGE}},
)
async def follow_share(token: Token, request: Request, dependencies: Dependencies, as_of: AsOf) -> Response:
    """Leads where the shop has said. A person other than the sharer verifies the share, once."""
    async with dependencies.database.read() as session:
        row = await share_by(session, token)
        if row is None or await erased_link(session, SHARE, token) is not None:
            return await missing(session, SHARE, token)
    try:
        async with dependencies.database.transaction() as session:
            await _note_visit(session, row, request, as_of)
    except (SQLAlchemyError, OSError) as error:
        log.warning("share_visit_not_noted", error=type(error).__name__)
    return RedirectResponse(with_parameter(row.target, PARAMETER, row.token), 302, headers=PRIVATE)


async def _note_visit(session: WriteSession, row: ShareLink, request: Request, as_of: datetime) -> None:
    visit, address = visit_of(request, as_of - row.made_at), address_to_keep(request)
    addresses = (await seen_signals(session, row.customer_id)).get(SignalKind.IP, set())
    if judge_follower(Follower(visit, is_sharer=normal_ip(address or "") in addresses)) is not Actor.HUMAN:
        return
    share = await lock_share(session, row.id)
    key = await secret(session, PSEUDONYMS)
    visitor = pseudonym(key, "visitor", f"{address}\x00{visit.user_agent}")
    if share is not None and await add_visitor(session, share, visitor, as_of):
        await verify_share(session, share, as_of)


async def _base(session: ReadSession, dependencies: ApiDependencies) -> str:
    return ((await shop_settings(session)).link_base or dependencies.public_url).rstrip("/")
