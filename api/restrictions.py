"""Restriction of processing (GDPR, article 18): a customer is stored and left alone, short of being erased."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, StringConstraints

from api.auth import Caller, requires
from api.customer_access import customer_not_found, lock_customer
from api.dependencies import AsOf, Writing
from api.paths import CustomerRef
from api.profiles import RestrictionAnswer
from api.routing import ApiRoute
from database.audit import write_audit
from domain.errors import NotFound
from domain.keys import Scope
from triggers.restrictions import lift, restrict

router = APIRouter(
    prefix="/v1/customers/{customer_id}/restriction",
    tags=["customers"],
    route_class=ApiRoute,
    dependencies=[requires(Scope.CUSTOMERS_WRITE)],
)

Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\x00]*$")]


class RestrictionRequest(BaseModel):
    """Why nothing may be done with the customer, in your own words; it is part of the customer's export."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason


@router.put("", summary="Restrict what is done with a customer")
async def restrict_customer(
    customer_id: CustomerRef, asked: RestrictionRequest, session: Writing, caller: Caller, as_of: AsOf
) -> RestrictionAnswer:
    """From this answer on no message leaves, also no transactional one, and no run begins; active runs wait at their
    next step with an effect. Events are stored and kept in the profile; export and erasure work. Again: a new reason.
    """
    customer = await lock_customer(session, customer_id)
    if customer is None:
        raise customer_not_found()
    row = await restrict(session, customer.id, reason=asked.reason, by=caller.id, as_of=as_of)
    write_audit(session, actor=caller.id, action="restrict", target=f"customer/{customer.id}", at=as_of)
    return RestrictionAnswer.of(row)


@router.delete("", status_code=204, summary="Lift a customer's restriction")
async def lift_restriction(customer_id: CustomerRef, session: Writing, caller: Caller, as_of: AsOf) -> Response:
    """Runs go on from where they stand; a message whose `not_after` has passed is left out. Entries that were refused
    meanwhile are not made up for.
    """
    customer = await lock_customer(session, customer_id)
    if customer is None:
        raise customer_not_found()
    if not await lift(session, customer.id, by=caller.id, as_of=as_of):
        raise NotFound("This customer is not restricted.", code="not_restricted")
    write_audit(session, actor=caller.id, action="lift_restriction", target=f"customer/{customer.id}", at=as_of)
    return Response(status_code=204)
