"""Erasing a customer: the request that takes effect at once, and the job whose proof can be read afterwards."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field

from api.auth import Caller, requires
from api.customer_access import customer_not_found, lock_customer
from api.dependencies import AsOf, Reading, Writing
from api.paths import CustomerRef
from api.routing import ApiRoute
from database.audit import write_audit
from database.erasures import Erasure, find_erasure, open_erasure_of
from domain.errors import NotFound
from domain.keys import Scope
from triggers.erasures import request_erasure

router = APIRouter(tags=["customers"], route_class=ApiRoute)

LOCATION: Final[dict[int | str, dict[str, Any]]] = {  # FastAPI's type of `responses`
    202: {"headers": {"Location": {"description": "Path of the erasure job.", "schema": {"type": "string"}}}}
}


class Searched(BaseModel):
    """What the last search looked for, as counts: the job forgets what it was."""

    addresses: int
    phones: int
    user_ids: int
    anonymous_ids: int
    everywhere: int = Field(description="Addresses, phone numbers and long ids: looked for in every column.")
    forms: list[str] = Field(description="In which forms: plain, encoded, hashed.")
    tables: int


class EventOfOthers(BaseModel):
    """An event of another customer (our own id) that shows the person's address or id, in which forms."""

    event_id: UUID
    customer_id: UUID
    forms: list[str]


class Proof(BaseModel):
    """What the job did. `found` counts what the last search still saw, by table; it should be empty.

    `others` counts rows of other customers that show an address or a long id of the person: a mailbox that two people
    share, or an order that somebody made for them. Nothing of them is touched; `events_of_others` lists up to 500 of
    their events, so that you can decide.
    """

    searched: Searched | None = Field(default=None, description="What the last search looked for; null before it.")

    workflows: dict[str, int] = Field(default={}, description="Executions deleted in Temporal.")
    removed: dict[str, int] = Field(default={}, description="Rows removed, by table.")
    blanked: dict[str, int] = Field(default={}, description="Rows that stay for reports, emptied, by table.")
    found: dict[str, int] | None = Field(default=None, description="What the last search found; null before it.")
    others: dict[str, int] = Field(default={}, description="Rows of other customers that it found, by table.")
    events_of_others: list[EventOfOthers] = []


class ErasureAnswer(BaseModel):
    """One erasure job. `clean` says that the search at the end found nothing of the person's own, and nothing that
    shows them in other customers' rows; null until then."""

    id: UUID
    state: Literal["requested", "running", "completed"]
    requested_at: datetime
    completed_at: datetime | None
    clean: bool | None
    proof: Proof

    @classmethod
    def of(cls, row: Erasure) -> Self:
        """From the row."""
        proof = Proof.model_validate(row.proof)
        return cls.model_validate(
            {
                "id": row.id,
                "state": row.state,
                "requested_at": row.requested_at,
                "completed_at": row.completed_at,
                "clean": None if proof.found is None else not (proof.found or proof.others),
                "proof": proof,
            }
        )


@router.delete(
    "/v1/customers/{customer_id}",
    status_code=202,
    responses=LOCATION,
    dependencies=[requires(Scope.CUSTOMERS_WRITE)],
    summary="Erase a customer",
)
async def erase_customer(
    customer_id: CustomerRef, session: Writing, caller: Caller, as_of: AsOf, response: Response
) -> ErasureAnswer:
    """From this answer on the customer cannot be found, entered into journeys or mailed; the job removes the data.

    What happened before now is not taken in again, also not by an import; what the same person does later is a new
    customer's, who gets mail only after the address has been released. While the job runs, the call answers it again.
    """
    customer = await lock_customer(session, customer_id)
    if customer is not None:
        job = await request_erasure(session, customer.id, by=caller.id, as_of=as_of)
        write_audit(session, actor=caller.id, action="erase", target=f"customer/{customer.id}", at=as_of)
    elif (running := await open_erasure_of(session, customer_id)) is not None:
        job = running
    else:
        raise customer_not_found()
    response.headers["Location"] = f"/v1/erasures/{job.id}"
    return ErasureAnswer.of(job)


@router.get(
    "/v1/erasures/{erasure_id}", dependencies=[requires(Scope.CUSTOMERS_READ)], summary="An erasure and its proof"
)
async def get_erasure(
    erasure_id: Annotated[UUID, Path(description="`id` of the answer to the erasure.")], session: Reading
) -> ErasureAnswer:
    """How far the job is; when it has completed, what it removed and that nothing is left."""
    job = await find_erasure(session, erasure_id)
    if job is None:
        raise NotFound("There is no erasure with this id.")
    return ErasureAnswer.of(job)
