"""Visitors whom nobody knows yet: what is stored under an anonymous id can be exported and erased by that id.

The id proves nothing: whoever has used the same browser may know it. So once it is linked to a customer, only the
shop's own id leads to what is stored.
"""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.auth import Caller, requires
from api.customer_access import lock_customer
from api.dependencies import AsOf, Dependencies, Writing
from api.erasures import LOCATION, ErasureAnswer
from api.exports import Export, export_of
from api.paths import AnonymousRef
from api.profiles import read_profile
from api.routing import ApiRoute
from database.audit import write_audit
from database.customers import Customer, holder_of, user_id_counts
from database.erasures import open_erasure_of_visitor
from database.session import WriteSession
from domain.errors import Conflict, NotFound
from domain.keys import Scope
from triggers.erasures import request_erasure

router = APIRouter(prefix="/v1/visitors/{anonymous_id}", tags=["customers"], route_class=ApiRoute)


@router.get("/export", dependencies=[requires(Scope.CUSTOMERS_READ)], summary="Everything about an anonymous visitor")
async def export_visitor(
    *, anonymous_id: AnonymousRef, response: Response, dependencies: Dependencies, caller: Caller, as_of: AsOf
) -> Export:
    """As a customer's export; `profile.id` is the anonymous id. 409 `visitor_known` once it is a customer's."""
    async with dependencies.database.transaction() as session:
        await session.take_long()
        visitor = await _lock_visitor(session, anonymous_id)
        if visitor is None:
            raise _visitor_not_found()
        profile = await read_profile(session, visitor, anonymous_id, dependencies.temporal_ui, as_of)
        return await export_of(session, visitor, profile, response, caller=caller, as_of=as_of)


@router.delete(
    "",
    status_code=202,
    responses=LOCATION,
    dependencies=[requires(Scope.CUSTOMERS_WRITE)],
    summary="Erase an anonymous visitor",
)
async def erase_visitor(
    anonymous_id: AnonymousRef, session: Writing, caller: Caller, as_of: AsOf, response: Response
) -> ErasureAnswer:
    """As the erasure of a customer, with the same job and proof. 409 `visitor_known` once the id is a customer's."""
    visitor = await _lock_visitor(session, anonymous_id)
    if visitor is not None:
        job = await request_erasure(session, visitor.id, by=caller.id, as_of=as_of)
        write_audit(session, actor=caller.id, action="erase", target=f"customer/{visitor.id}", at=as_of)
    elif (running := await open_erasure_of_visitor(session, anonymous_id)) is not None:
        job = running
    else:
        raise _visitor_not_found()
    response.headers["Location"] = f"/v1/erasures/{job.id}"
    return ErasureAnswer.of(job)


async def _lock_visitor(session: WriteSession, anonymous_id: str) -> Customer | None:
    """The visitor, who cannot become known until the transaction ends; raises Conflict for a customer's id."""
    found = await lock_customer(session, anonymous_id, holder_of)
    if found is not None and await user_id_counts(session, [found.id]):
        message = "This anonymous id is linked to a customer: ask by the shop's own id of the customer."
        raise Conflict(message, code="visitor_known")
    return found


def _visitor_not_found() -> NotFound:
    return NotFound("No visitor is known under this anonymous id.", code="visitor_not_found")
