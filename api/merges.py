"""Making two customers one on a person's word: what a merge that was refused needs, whatever its reason."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.auth import Caller, requires
from api.beforehand import beforehand, occasion
from api.customer_access import find_customer, our_event, wait_until_routed
from api.dependencies import ApiDependencies, AsOf, Dependencies, Writing
from api.idempotency import concerns
from api.paths import CustomerRef
from api.profiles import Profile, read_profile
from api.routing import ApiRoute
from database.audit import write_audit
from database.events import append
from domain.errors import Conflict
from domain.events import MERGE_ASKED, EventKind, NewEvent
from domain.keys import Scope, StoredKey
from domain.placeholders import is_placeholder

router = APIRouter(prefix="/v1/customers/{customer_id}/merge", tags=["customers"], route_class=ApiRoute)

UserId = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00]*$")]


class MergeRequest(BaseModel):
    """The other id of the same person."""

    model_config = ConfigDict(extra="forbid")

    from_: UserId = Field(alias="from", description="The shop's own id of the customer who becomes this one.")


@router.post(
    "",
    dependencies=[requires(Scope.CUSTOMERS_WRITE)],
    summary="Make another customer this one",
    responses={202: {"model": Profile, "description": "Stored, and routed soon; the profile as it is until then"}},
)
async def merge_customer(
    *,
    customer_id: CustomerRef,
    asked: MergeRequest,
    response: Response,
    session: Writing,
    dependencies: Dependencies,
    caller: Caller,
    as_of: AsOf,
) -> Profile:
    """Works as a trusted alias does, without its limit, and cannot be undone: events, orders, points and runs of `from`
    become this customer's. Asking again changes nothing. Answers 202 if it takes longer than two seconds.
    """
    for value in (customer_id, asked.from_):
        if is_placeholder(value):
            raise Conflict(f"{value!r} names nobody; no customer is merged on it.", code="placeholder_id")
    customer, other = await find_customer(session, customer_id), await find_customer(session, asked.from_)
    concerns(session, customer.id)
    if customer.id != other.id:
        event = our_event(
            *(f"merge/{occasion(session)}", EventKind.ALIAS, customer_id, as_of),
            name=MERGE_ASKED,
            previous_id=asked.from_,
        )
        ids = customer.id, other.id
        if not await beforehand(session, "asked", lambda: _ask(dependencies, event, caller, *ids)):
            response.status_code = 202
    return await read_profile(session, customer, customer_id, dependencies.temporal_ui, as_of)


async def _ask(
    dependencies: ApiDependencies, event: NewEvent, caller: StoredKey, customer_id: UUID, other_id: UUID
) -> bool:
    """Store what was asked and wait for a router, without a connection; whether one took it up in time."""
    target, detail = f"customer/{customer_id}", {"from": str(other_id)}
    async with dependencies.database.transaction() as session:  # committed now, so that a router sees it
        if (await append(session, [event])).accepted:
            write_audit(session, actor=caller.id, action="merge", target=target, at=event.timestamp, detail=detail)
    return await wait_until_routed(dependencies, event)
