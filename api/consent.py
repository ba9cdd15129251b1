"""Consent of a customer: append-only records, effective in the moment in which they are acknowledged."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.auth import Caller, requires
from api.customer_access import customer_not_found, find_customer, find_or_make_customer, lock_customer, our_event
from api.dependencies import AsOf, Dependencies, Reading, Writing
from api.idempotency import concerns
from api.paths import CustomerRef
from api.profiles import ConsentAnswer
from api.routing import ApiRoute
from database import consent
from database.acts import act_on_consent
from database.audit import write_audit
from database.consent_addresses import settle_consents
from database.events import append
from database.messages import cancel_claimed
from database.session import WriteSession
from domain.addresses import TRAIT_OF_CHANNEL
from domain.client_addresses import truncate_addresses
from domain.consent import (
    EVERY_CHANNEL,
    MARKETING,
    PURPOSE,
    STATE_OF_EVENT,
    ConsentRecord,
    ConsentSource,
    ConsentState,
    addressed_channel,
)
from domain.document import AnyObject
from domain.events import EventKind, NewEvent
from domain.ids import new_id
from domain.keys import Scope
from domain.messages import Reason

router = APIRouter(prefix="/v1/customers/{customer_id}/consent", tags=["customers"], route_class=ApiRoute)

Short = Annotated[str, StringConstraints(max_length=500)]
ConsentChannel = Literal["email", "push", "sms", "webhook", "all"]


class ConsentChange(BaseModel):
    """What the customer consented to or withdrew, and the evidence of it, of which `text` is what the customer read."""

    model_config = ConfigDict(extra="forbid")

    purpose: Annotated[str, StringConstraints(pattern=PURPOSE)] = "marketing"
    channel: ConsentChannel = "email"
    address: Short | None = Field(
        default=None,
        description="The mail address, or phone number, that it is given for. Absent: the customer's at that moment, "
        "else the first that a trusted source sets.",
    )
    state: ConsentState = Field(description="`pending` permits nothing until the customer confirms it.")
    source: Short | None = Field(default=None, description="The form, page or shop where it was given.")
    text: Annotated[str, StringConstraints(max_length=10_000)] | None = None
    ip: Short | None = None
    user_agent: Short | None = None
    url: Short | None = None
    evidence: AnyObject = Field(default={}, description="Anything else that proves it.")

    def proof(self) -> dict[str, Any]:
        """The evidence as one object."""
        named = self.model_dump(include={"source", "text", "ip", "user_agent", "url"}, exclude_none=True)
        address = {} if self.address is None else {"address": self.address}
        return {**self.evidence, **named, **address}


class ConsentHistory(BaseModel):
    """The consents that count, one for each purpose and channel."""

    data: list[ConsentAnswer]


@router.get("", dependencies=[requires(Scope.CUSTOMERS_READ)], summary="The consents that count")
async def get_consent(customer_id: CustomerRef, session: Reading) -> ConsentHistory:
    """One for each purpose and channel; where there is none, the shop's default counts."""
    customer = await find_customer(session, customer_id)
    return ConsentHistory(data=[ConsentAnswer.of(row) for row in await consent.current(session, customer.id)])


@router.put(
    "",
    dependencies=[requires(Scope.CUSTOMERS_WRITE)],
    summary="Record a consent or its withdrawal",
)
async def put_consent(
    *,
    customer_id: CustomerRef,
    change: ConsentChange,
    session: Writing,
    dependencies: Dependencies,
    caller: Caller,
    as_of: AsOf,
) -> ConsentAnswer:
    """Counts at once: a withdrawal cancels messages that wait for the provider. For an id that is new the customer is
    created; 503 `customer_pending` when that takes longer than two seconds.
    """
    answer = ConsentAnswer(
        purpose=change.purpose, channel=change.channel, state=change.state, at=as_of, source=ConsentSource.API
    )
    event = _event(customer_id, change, as_of)
    customer = await lock_customer(session, customer_id)
    if customer is None:
        await find_or_make_customer(session, dependencies, customer_id, as_of)
        customer = await lock_customer(session, customer_id)
    if customer is None:
        raise customer_not_found()
    concerns(session, customer.id)
    answer.at = moment = await act_on_consent(session, customer.id, as_of)
    event = replace(event, timestamp=moment)
    record = ConsentRecord(
        customer_id=customer.id,
        purpose=change.purpose,
        channel=change.channel,
        state=change.state,
        at=moment,
        source=ConsentSource.API,
        event_id=event.id,
        evidence=truncate_addresses(change.proof()) if dependencies.truncate_ip else change.proof(),
        address=change.address,
    )
    await append(session, [event])
    await consent.record(session, [record])
    await settle_consents(session, [customer.id])
    if change.state is ConsentState.UNSUBSCRIBED:
        await _cancel_waiting_messages(session, record)
    detail = {"purpose": change.purpose, "channel": change.channel, "state": change.state}
    write_audit(session, actor=caller.id, action="consent", target=f"customer/{customer.id}", at=as_of, detail=detail)
    return answer


async def _cancel_waiting_messages(session: WriteSession, withdrawn: ConsentRecord) -> None:
    """Whoever withdraws marketing gets no topic either; the gate decides anew about what comes later."""
    await cancel_claimed(
        session,
        withdrawn.customer_id,
        channel=None if withdrawn.channel == EVERY_CHANNEL else withdrawn.channel,
        purpose=None if withdrawn.purpose == MARKETING else withdrawn.purpose,
        reason=Reason.UNSUBSCRIBED,
    )


def _address_of(change: ConsentChange) -> dict[str, str]:
    trait = TRAIT_OF_CHANNEL.get(addressed_channel(change.channel))
    return {} if trait is None or not change.address else {trait: change.address}


def _event(customer_id: str, change: ConsentChange, as_of: datetime) -> NewEvent:
    """The same as an event, so that journeys can wait for it. Its record is made here; the router makes no second."""
    name = next(name for name, state in STATE_OF_EVENT.items() if state is change.state)
    properties = {"purpose": change.purpose, "channel": change.channel, **_address_of(change)}
    return our_event(f"consent/{new_id()}", EventKind.TRACK, customer_id, as_of, name=name, properties=properties)
