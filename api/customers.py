"""Customers: their profile, and what happened to them as lists."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api.auth import requires
from api.beforehand import beforehand, occasion
from api.customer_access import find_customer, tell
from api.customer_lists import EventAnswer, HappeningAnswer, OrderAnswer
from api.dependencies import AsOf, Dependencies, Reading, Writing
from api.idempotency import concerns
from api.message_answers import MessageAnswer
from api.messages import messages_page
from api.pagination import Number, Page, PageRequest, TimeAndId, TimeAndText, TimeAndTexts, page, page_request
from api.paths import CustomerRef
from api.profiles import Profile, ProfileChange, changed_profile, read_profile
from api.routing import ApiRoute
from api.run_answers import RunAnswer
from database import history
from database.customers import customer_of
from database.run_lists import page_of_runs
from domain.keys import Scope

router = APIRouter(prefix="/v1/customers/{customer_id}", tags=["customers"], route_class=ApiRoute)

READ = [requires(Scope.CUSTOMERS_READ)]
Wanted = Annotated[PageRequest, Depends(page_request)]


@router.get("", dependencies=READ, summary="A customer's profile")
async def get_customer(customer_id: CustomerRef, session: Reading, dependencies: Dependencies, as_of: AsOf) -> Profile:
    """Traits, identities and consent; tier, points, scores and segments where the shop has them."""
    customer = await find_customer(session, customer_id)
    return await read_profile(session, customer, customer_id, dependencies.temporal_ui, as_of)


@router.patch(
    "",
    dependencies=[requires(Scope.CUSTOMERS_WRITE)],
    summary="Change traits",
    responses={202: {"model": Profile, "description": "Stored, and routed soon; the profile as it will be"}},
)
async def patch_customer(
    *,
    customer_id: CustomerRef,
    change: ProfileChange,
    response: Response,
    session: Writing,
    dependencies: Dependencies,
    as_of: AsOf,
) -> Profile:
    """Merges traits, null deletes; creates the customer if the id is new. It is an event like any other, so it can
    start journeys and end waits. Answers 200 once the profile shows it, 202 if that takes longer than two seconds.
    """
    message_id = f"profile/{occasion(session)}"
    is_routed = await beforehand(
        session, "told", lambda: tell(dependencies, customer_id, message_id, change.traits, as_of)
    )
    customer = await customer_of(session, customer_id)
    profile = None
    if customer is not None:
        profile = await read_profile(session, customer, customer_id, dependencies.temporal_ui, as_of)
    if profile and profile.internal_id:
        concerns(session, profile.internal_id)
    if profile and is_routed:
        return profile
    response.status_code = 202
    return changed_profile(profile, customer_id, change, as_of)


@router.get("/events", dependencies=READ, summary="Events, the latest first")
async def list_customer_events(
    *,
    customer_id: CustomerRef,
    session: Reading,
    wanted: Wanted,
    name: Annotated[str | None, Query(max_length=200, description="Only events of this name.")] = None,
) -> Page[EventAnswer]:
    """Events that have been routed, in the order in which the customer's journeys saw them."""
    customer = await find_customer(session, customer_id)
    after = wanted.after(Number)
    rows = await history.page_of_events(
        session, customer.id, name=name, before=after[0] if after else None, limit=wanted.probe
    )
    return page(rows, wanted, EventAnswer.of, lambda row: (row.number,))


@router.get("/orders", dependencies=READ, summary="Orders, the latest first")
async def list_customer_orders(customer_id: CustomerRef, session: Reading, wanted: Wanted) -> Page[OrderAnswer]:
    """Orders with their refunds; money in minor units."""
    customer = await find_customer(session, customer_id)
    rows = await history.page_of_orders(session, customer.id, before=wanted.after(TimeAndText), limit=wanted.probe)
    return page(rows, wanted, OrderAnswer.of, lambda row: (row.completed_at or history.NEVER, row.order_id))


@router.get("/messages", dependencies=READ, summary="Messages, the latest first")
async def list_customer_messages(customer_id: CustomerRef, session: Reading, wanted: Wanted) -> Page[MessageAnswer]:
    """Also those that were skipped, held or cancelled: each says why."""
    customer = await find_customer(session, customer_id)
    return await messages_page(session, wanted, customer.id)


@router.get("/runs", dependencies=READ, summary="Runs of journeys, the latest first")
async def list_customer_runs(
    customer_id: CustomerRef, session: Reading, wanted: Wanted, dependencies: Dependencies
) -> Page[RunAnswer]:
    """Where the customer stands in which journey, and where earlier ones ended."""
    customer = await find_customer(session, customer_id)
    rows = await page_of_runs(session, customer_id=customer.id, before=wanted.after(TimeAndId), limit=wanted.probe)
    return page(rows, wanted, lambda row: RunAnswer.of(row, dependencies), lambda row: (row.run.entered_at, row.run.id))


@router.get("/timeline", dependencies=READ, summary="Everything that happened, the latest first")
async def list_customer_timeline(customer_id: CustomerRef, session: Reading, wanted: Wanted) -> Page[HappeningAnswer]:
    """Events, messages, steps of runs and consents as one stream."""
    customer = await find_customer(session, customer_id)
    rows = await history.page_of_timeline(session, customer.id, before=wanted.after(TimeAndTexts), limit=wanted.probe)
    return page(rows, wanted, HappeningAnswer.of, lambda row: (row.at, row.kind, row.id))
