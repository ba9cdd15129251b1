"""Links that customers share, and submissions that people review. Nobody is paid for what they felt."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter
from sqlalchemy.exc import SQLAlchemyError

from api.auth import Caller, requires
from api.customer_access import customer_not_found, find_customer, lock_customer
from api.dependencies import ApiDependencies, AsOf, Dependencies, Reading, Writing
from api.idempotency import concerns
from api.pages import PRIVATE, show
from api.pagination import Page, PageRequest, page, page_request
from api.paths import CustomerRef
from api.referral_links import with_parameter
from api.routing import ApiRoute
from api.visits import visit_of
from database.audit import write_audit
from database.referral_signals import seen_signals
from database.secrets import PSEUDONYMS, secret
from database.session import ReadSession, WriteSession
from database.share_verifying import tell_decision, verify_share
from database.shares import (
    NewShare,
    ShareLink,
    Submission,
    add_visitor,
    lock_share,
    lock_submission,
    share_by,
    share_for,
    shares_of,
    submissions,
    submit,
)
from database.shop_settings import shop_settings
from domain.engagement import Actor
from domain.errors import Conflict, NotFound
from domain.ids import new_id
from domain.keys import Scope
from domain.pseudonyms import pseudonym
from domain.referral_signals import SignalKind
from domain.shares import Follower, SubmissionReason, SubmissionState, judge_follower
from domain.shop_settings import WebAddress

log = structlog.get_logger(__name__)
router = APIRouter(tags=["sharing"], route_class=ApiRoute)

READ, WRITE = [requires(Scope.LOYALTY_READ)], [requires(Scope.LOYALTY_WRITE)]
Wanted = Annotated[PageRequest, Depends(page_request)]
ById = TypeAdapter(tuple[UUID])
Action = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
Object = Annotated[str, StringConstraints(min_length=1, max_length=500)]
EventName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Token = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{12,64}$", description="Of a shared link.")]
PARAMETER = "share"
_PAGE = {"text/html": {"schema": {"type": "string"}}}
_SHOWN = 200


class ShareWish(BaseModel):
    """What is shared, and where its link shall lead. `event` is told anew once the share is verified."""

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


class SubmissionWish(BaseModel):
    """What a customer says to have done. `event` is told as verified once a person approves."""

    model_config = ConfigDict(extra="forbid")

    customer_id: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    action: Action = Field(examples=["photo", "mention"])
    object: Object = Field(description="Where it stands, such as the address of a post.")
    event: EventName | None = None
    detail: dict[str, Annotated[str, StringConstraints(max_length=1_000)]] = Field(default={}, max_length=20)


class SubmissionAnswer(BaseModel):
    """One submission."""

    id: UUID
    action: str
    object: str
    state: SubmissionState
    reason: SubmissionReason | None
    detail: dict[str, Any]
    submitted_at: datetime
    decided_at: datetime | None

    @classmethod
    def of(cls, row: Submission) -> Self:
        """From the row."""
        return cls.model_validate(row, from_attributes=True)


class SubmissionRejection(BaseModel):
    """Why a person rejects it: never for what was said or felt."""

    model_config = ConfigDict(extra="forbid")

    reason: SubmissionReason


# Shared links --------------------------------------------------------------------------------------------


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
        if row is None:
            settings = await shop_settings(session)
            text = "This link is not one of ours, or what it led to is gone."
            return show(
                "notice", status=404, shop=settings.name, accent=settings.accent_color, heading="Gone", text=text
            )
    try:
        async with dependencies.database.transaction() as session:
            await _note_visit(session, row, request, as_of)
    except (SQLAlchemyError, OSError) as error:
        log.warning("share_visit_not_noted", error=type(error).__name__)
    return RedirectResponse(with_parameter(row.target, PARAMETER, row.token), 302, headers=PRIVATE)


async def _note_visit(session: WriteSession, row: ShareLink, request: Request, as_of: datetime) -> None:
    visit = visit_of(request, as_of - row.made_at)
    addresses = (await seen_signals(session, row.customer_id)).get(SignalKind.IP, set())
    if judge_follower(Follower(visit, is_sharer=visit.address in addresses)) is not Actor.HUMAN:
        return
    share = await lock_share(session, row.id)
    key = await secret(session, PSEUDONYMS)
    visitor = pseudonym(key, "visitor", f"{visit.address}\x00{visit.user_agent}")
    if share is not None and await add_visitor(session, share, visitor, as_of):
        await verify_share(session, share, as_of)


async def _base(session: ReadSession, dependencies: ApiDependencies) -> str:
    return ((await shop_settings(session)).link_base or dependencies.public_url).rstrip("/")


# Submissions ---------------------------------------------------------------------------------------------


@router.post(
    "/v1/submissions",
    dependencies=WRITE,
    status_code=201,
    summary="Submit something for review",
    responses={200: {"model": SubmissionAnswer, "description": "It was submitted before; it as it is now"}},
)
async def make_submission(wish: SubmissionWish, response: Response, session: Writing, as_of: AsOf) -> SubmissionAnswer:
    """One for each customer, action and object. A person decides; points and journeys follow the decision."""
    customer = await lock_customer(session, wish.customer_id)
    if customer is None:
        raise customer_not_found()
    concerns(session, customer.id)
    wanted = Submission(
        id=new_id(),
        customer_id=customer.id,
        action=wish.action,
        object=wish.object,
        event=wish.event,
        state=SubmissionState.PENDING,
        detail=dict(wish.detail),
        submitted_at=as_of,
    )
    row, is_new = await submit(session, wanted)
    response.status_code = 201 if is_new else 200
    return SubmissionAnswer.of(row)


@router.get("/v1/submissions", dependencies=READ, summary="Submissions, the latest first")
async def list_submissions(
    *,
    session: Reading,
    wanted: Wanted,
    state: Annotated[SubmissionState | None, Query(description="`pending` is the queue for people.")] = None,
) -> Page[SubmissionAnswer]:
    """For the shop's own people."""
    after = wanted.after(ById)
    statement = submissions(state=state, before=after[0] if after else None)
    rows = (await session.execute(statement.limit(wanted.probe))).scalars().all()
    return page(rows, wanted, SubmissionAnswer.of, lambda row: (row.id,))


@router.post("/v1/submissions/{submission_id}/approve", dependencies=WRITE, summary="Approve a submission")
async def approve_submission(submission_id: UUID, session: Writing, caller: Caller, as_of: AsOf) -> SubmissionAnswer:
    """It was done: what it says does not matter. Kept in the audit log."""
    return await _decide(session, submission_id, caller.id, as_of, None)


@router.post("/v1/submissions/{submission_id}/reject", dependencies=WRITE, summary="Reject a submission")
async def reject_submission(
    submission_id: UUID, wish: SubmissionRejection, session: Writing, caller: Caller, as_of: AsOf
) -> SubmissionAnswer:
    """It was not done, not by them, or breaks the rules. Kept in the audit log."""
    return await _decide(session, submission_id, caller.id, as_of, wish.reason)


async def _decide(
    session: WriteSession, submission_id: UUID, actor: str, as_of: datetime, reason: SubmissionReason | None
) -> SubmissionAnswer:
    row = await lock_submission(session, submission_id)
    if row is None:
        raise NotFound("There is no such submission.", code="submission_not_found")
    if row.state != SubmissionState.PENDING:
        raise Conflict("Somebody has decided about this submission already.", code="decided_already")
    row.state = SubmissionState.APPROVED if reason is None else SubmissionState.REJECTED
    row.reason, row.decided_at = reason, as_of
    await session.flush()
    await tell_decision(session, row, as_of)
    act: Literal["approve", "reject"] = "approve" if reason is None else "reject"
    write_audit(session, actor=actor, action=f"submission.{act}", target=f"submission/{row.id}", at=as_of)
    return SubmissionAnswer.of(row)
