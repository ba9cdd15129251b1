"""Redemptions: lists, one, and its two ends that people and shops bring about."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query

from api.auth import Caller, requires
from api.dependencies import AsOf, Reading, Writing
from api.idempotency import concerns
from api.pagination import Page, PageRequest, TimeAndId, page, page_request
from api.redemption_answers import CancelWish, RedemptionAnswer
from api.routing import ApiRoute
from database.audit import write_audit
from database.customers import customer_of, external_ids
from database.redeeming import cancel, fulfil, lock_with_customer
from database.redemptions import Redemption, Wanted, find_redemption, page_of_redemptions
from database.session import ReadSession
from domain.documents import DOCUMENT_KEY
from domain.errors import NotFound
from domain.keys import Scope
from domain.redemptions import RedemptionState

router = APIRouter(prefix="/v1/redemptions", tags=["rewards"], route_class=ApiRoute)

RedemptionId = Annotated[UUID, Path(description="`id` of the answer to redeeming.")]


@router.get("", dependencies=[requires(Scope.LOYALTY_READ)], summary="List redemptions, the latest first")
async def list_redemptions(
    *,
    session: Reading,
    wanted: Annotated[PageRequest, Depends(page_request)],
    customer_id: Annotated[str | None, Query(max_length=1_000, description="The shop's own id.")] = None,
    reward: Annotated[str | None, Query(pattern=DOCUMENT_KEY)] = None,
    state: RedemptionState | None = None,
    review: Annotated[bool | None, Query(description="true: those that a person has to look at.")] = None,
) -> Page[RedemptionAnswer]:
    """All, or those of a customer, a reward, a state, or the review queue."""
    customer = None if customer_id is None else await customer_of(session, customer_id)
    if customer is None and customer_id is not None:
        return Page(data=[])
    which = Wanted(customer.id if customer else None, reward, state, review)
    rows = await page_of_redemptions(session, which, before=wanted.after(TimeAndId), limit=wanted.probe)
    names = await external_ids(session, {row.customer_id for row in rows})
    return page(
        rows,
        wanted,
        lambda row: RedemptionAnswer.of(row, names.get(row.customer_id)),
        lambda row: (row.requested_at, row.id),
    )


@router.get("/{redemption_id}", dependencies=[requires(Scope.LOYALTY_READ)], summary="One redemption")
async def get_redemption(redemption_id: RedemptionId, session: Reading) -> RedemptionAnswer:
    """As it is now."""
    row = await find_redemption(session, redemption_id)
    if row is None:
        raise NotFound(f"There is no redemption {redemption_id}.", code="redemption_not_found")
    return await _shown(session, row)


@router.post("/{redemption_id}/fulfil", dependencies=[requires(Scope.LOYALTY_WRITE)], summary="It is delivered")
async def fulfil_redemption(
    redemption_id: RedemptionId, session: Writing, caller: Caller, as_of: AsOf
) -> RedemptionAnswer:
    """The customer has it. Of two that end a redemption the second gets 409 `redemption_ended`."""
    row = await lock_with_customer(session, redemption_id)
    await fulfil(session, row, as_of)
    write_audit(session, actor=caller.id, action="fulfil", target=f"redemption/{redemption_id}", at=as_of)
    concerns(session, row.customer_id)
    return await _shown(session, row)


@router.post("/{redemption_id}/cancel", dependencies=[requires(Scope.LOYALTY_WRITE)], summary="Take it back")
async def cancel_redemption(
    redemption_id: RedemptionId, session: Writing, caller: Caller, as_of: AsOf, wish: CancelWish | None = None
) -> RedemptionAnswer:
    """Points, stock and code go back. Of two that end a redemption the second gets 409 `redemption_ended`."""
    asked = wish or CancelWish()
    row = await lock_with_customer(session, redemption_id)
    await cancel(session, row, asked.by, asked.reason, as_of)
    detail = {"by": asked.by}
    write_audit(
        session, actor=caller.id, action="cancel", target=f"redemption/{redemption_id}", at=as_of, detail=detail
    )
    concerns(session, row.customer_id)
    return await _shown(session, row)


async def _shown(session: ReadSession, row: Redemption) -> RedemptionAnswer:
    return RedemptionAnswer.of(row, (await external_ids(session, {row.customer_id})).get(row.customer_id))
