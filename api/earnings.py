"""What a customer's events earned, decision by decision, with the inputs that each was made from."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import TypeAdapter

from api.auth import requires
from api.customer_access import find_customer
from api.dependencies import Reading
from api.earning_answers import EarningAnswer
from api.pagination import Page, PageRequest, page, page_request
from api.paths import CustomerRef
from api.routing import ApiRoute
from database.earnings import page_of_earnings
from database.programmes import live_programme
from domain.keys import Scope

router = APIRouter(tags=["points"], route_class=ApiRoute)

_LAST_SEEN = TypeAdapter(tuple[UUID])


@router.get(
    "/v1/customers/{customer_id}/earnings",
    dependencies=[requires(Scope.LOYALTY_READ)],
    summary="What was earned, and why",
)
async def list_earnings(
    customer_id: CustomerRef, session: Reading, wanted: Annotated[PageRequest, Depends(page_request)]
) -> Page[EarningAnswer]:
    """Decisions about the customer's events, the latest first; also those that paid nothing, with the reason."""
    customer = await find_customer(session, customer_id)
    before = wanted.after(_LAST_SEEN)
    live = await live_programme(session)
    rows = (
        await page_of_earnings(session, live.key, customer.id, before=before[0] if before else None, limit=wanted.probe)
        if live is not None
        else []
    )
    return page(rows, wanted, EarningAnswer.of, lambda row: (row.id,))
