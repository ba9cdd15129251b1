"""Submissions: what customers say to have done, and what people decide. Nobody is paid for what they felt."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from api.auth import Caller, requires
from api.customer_access import customer_not_found, lock_customer
from api.dependencies import AsOf, Dependencies, Reading, Writing
from api.idempotency import concerns
from api.pagination import Page, PageRequest, page, page_request
from api.routing import ApiRoute
from api.shares import Action, EventName, Object
from database.audit import write_audit
from database.customers import external_ids
from database.session import ReadSession, WriteSession
from database.share_verifying import tell_decision
from database.shares import Submission, lock_submission, submissions, submit
from domain.client_addresses import truncate_addresses
from domain.errors import Conflict, NotFound
from domain.ids import new_id
from domain.keys import Scope
from domain.shares import SubmissionReason, SubmissionState

router = APIRouter(prefix="/v1/submissions", tags=["sharing"], route_class=ApiRoute)

READ, WRITE = [requires(Scope.LOYALTY_READ)], [requires(Scope.LOYALTY_WRITE)]
Wanted = Annotated[PageRequest, Depends(page_request)]
ById = TypeAdapter(tuple[UUID])


class SubmissionWish(BaseModel):
    """What a customer claims to have done. `event` is sent as verified once a person approves."""

    model_config = ConfigDict(extra="forbid")

    customer_id: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    action: Action = Field(examples=["photo", "mention"])
    object: Object = Field(description="Where it stands, such as the address of a post.")
    event: EventName | None = None
    detail: dict[str, Annotated[str, StringConstraints(max_length=1_000)]] = Field(default={}, max_length=20)


class SubmissionAnswer(BaseModel):
    """One submission."""

    id: UUID
    customer_id: str = Field(description="Whose it is: the shop's own id of the customer, else ours.")
    action: str
    object: str
    state: SubmissionState
    reason: SubmissionReason | None
    detail: dict[str, Any]
    submitted_at: datetime
    decided_at: datetime | None

    @classmethod
    def of(cls, row: Submission, names: Mapping[UUID, str]) -> Self:
        """From the row, and the shop's ids of customers."""
        members = {name: getattr(row, name) for name in cls.model_fields}
        return cls(**members | {"customer_id": names.get(row.customer_id, str(row.customer_id))})


class SubmissionRejection(BaseModel):
    """Why a person rejects it: never for what was said or felt."""

    model_config = ConfigDict(extra="forbid")

    reason: SubmissionReason


@router.post(
    "",
    dependencies=WRITE,
    status_code=201,
    summary="Submit something for review",
    responses={200: {"model": SubmissionAnswer, "description": "It was submitted before; it as it is now"}},
)
async def make_submission(
    *, wish: SubmissionWish, response: Response, session: Writing, dependencies: Dependencies, as_of: AsOf
) -> SubmissionAnswer:
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
        detail=truncate_addresses(wish.detail) if dependencies.truncate_ip else dict(wish.detail),
        submitted_at=as_of,
    )
    row, is_new = await submit(session, wanted)
    response.status_code = 201 if is_new else 200
    return await _shown(session, row)


@router.get("", dependencies=READ, summary="Submissions, the latest first")
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
    names = await external_ids(session, {row.customer_id for row in rows})
    return page(rows, wanted, lambda row: SubmissionAnswer.of(row, names), lambda row: (row.id,))


@router.post("/{submission_id}/approve", dependencies=WRITE, summary="Approve a submission")
async def approve_submission(submission_id: UUID, session: Writing, caller: Caller, as_of: AsOf) -> SubmissionAnswer:
    """It was done: what it says does not matter. Kept in the audit log."""
    return await _decide(session, submission_id, caller.id, as_of, None)


@router.post("/{submission_id}/reject", dependencies=WRITE, summary="Reject a submission")
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
    return await _shown(session, row)


async def _shown(session: ReadSession, row: Submission) -> SubmissionAnswer:
    return SubmissionAnswer.of(row, await external_ids(session, {row.customer_id}))
