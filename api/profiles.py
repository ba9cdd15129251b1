"""The profile of a customer as the API shows it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.point_answers import BalanceAnswer
from api.suppression_answers import SuppressionAnswer
from api.temporal_ui import TemporalUi, query_for
from database import consent
from database.confirmed_addresses import standing_of
from database.consent import Consent
from database.customers import Customer, Identity, identities_of
from database.loyalty import loyalty_of
from database.restrictions import Restriction, standing_restriction
from database.session import ReadSession
from database.suppression_lists import suppressions_about
from domain.addresses import Standing
from domain.consent import ConsentState
from domain.document import AnyObject


class IdentityAnswer(BaseModel):
    """One id under which the customer is known. A `superseded` one was aliased to another."""

    kind: Literal["user", "anonymous"]
    value: str
    first_seen: datetime
    superseded: bool


class ConsentAnswer(BaseModel):
    """The consent that counts for a purpose on a channel, and where it comes from."""

    purpose: str
    channel: str
    state: ConsentState
    at: datetime
    source: str

    @classmethod
    def of(cls, row: Consent) -> ConsentAnswer:
        """From the row."""
        state = ConsentState(row.state)
        return cls(purpose=row.purpose, channel=row.channel, state=state, at=row.at, source=row.source)


class RestrictionAnswer(BaseModel):
    """Why nothing is done with a customer at present, since when, and who said so (a key's id)."""

    reason: str
    at: datetime
    by: str

    @classmethod
    def of(cls, row: Restriction) -> RestrictionAnswer:
        """From the row."""
        return cls(reason=row.reason, at=row.at, by=row.restricted_by)


class TemporalQuery(BaseModel):
    """How to find all workflows of the customer in Temporal."""

    query: str
    url: str


class Profile(BaseModel):
    """One customer. `id` is the shop's own; `internal_id` is ours, which Temporal knows too."""

    id: str
    customer_id: str
    internal_id: UUID | None = Field(description="Null until the first event of the customer has been routed.")
    email: str | None
    email_standing: Standing | None = Field(
        default=None,
        description="How far the address is confirmed. `trusted`: a trusted source set it. `answered`: a browser named "
        "it before any trusted source knew the customer, and its mailbox has answered. Messages of value go to those "
        "two. `named_late`: its mailbox has answered, but a browser named it for somebody who was known before. "
        "`unanswered`: a browser named it, and its mailbox has not answered.",
    )
    email_advice: str | None = Field(default=None, description="Why no message of value goes there, and what to do.")
    traits: dict[str, Any]
    zone: str | None
    locale: str | None
    identities: list[IdentityAnswer]
    consent: list[ConsentAnswer]
    restriction: RestrictionAnswer | None = Field(
        default=None, description="Restriction of processing: while it stands no message leaves and no run begins."
    )
    suppressions: list[SuppressionAnswer] = Field(default=[], description="Of the present addresses, those in force.")
    tier: str | None = Field(default=None, description="Of the loyalty programme; null without one.")
    points: BalanceAnswer | None = Field(default=None, description="Of the loyalty programme; null without one.")
    scores: dict[str, Any] = Field(default={}, description="Predictions with their reasons, by name.")
    segments: list[str] = []
    first_seen: datetime
    last_seen: datetime
    temporal: TemporalQuery | None


class ProfileChange(BaseModel):
    """Traits to set; a trait that is null is deleted, one that is not named stays."""

    model_config = ConfigDict(extra="forbid")

    traits: AnyObject


async def read_profile(
    session: ReadSession, customer: Customer, asked_for: str, ui: TemporalUi, as_of: datetime
) -> Profile:
    """The profile of a customer who was asked for under one of the shop's ids."""
    user_id = customer.external_id or asked_for
    loyalty = await loyalty_of(session, customer.id, as_of)
    standing = await standing_of(session, customer, "email")
    return Profile(
        id=user_id,
        customer_id=user_id,
        internal_id=customer.id,
        email=customer.email,
        email_standing=standing,
        email_advice=None if standing is None else standing.advice,
        traits=customer.traits,
        zone=customer.zone,
        locale=customer.locale,
        identities=[_identity(row) for row in await identities_of(session, customer.id)],
        consent=[ConsentAnswer.of(row) for row in await consent.current(session, customer.id)],
        restriction=await _restriction(session, customer),
        suppressions=[SuppressionAnswer.of(row) for row in await suppressions_about(session, customer.traits, as_of)],
        tier=loyalty.tier,
        points=BalanceAnswer(**loyalty.points) if loyalty.points else None,
        first_seen=customer.first_seen,
        last_seen=customer.last_seen,
        temporal=TemporalQuery(query=query_for(customer.id), url=ui.workflows_of(customer.id)),
    )


async def _restriction(session: ReadSession, customer: Customer) -> RestrictionAnswer | None:
    row = await standing_restriction(session, customer.id) if customer.restricted_at else None
    return None if row is None else RestrictionAnswer.of(row)


def changed_profile(before: Profile | None, customer_id: str, change: ProfileChange, as_of: datetime) -> Profile:
    """The profile as it will be once a change that is stored has been routed."""
    known = before or _new_profile(customer_id, as_of)
    merged = {**known.traits, **change.traits}
    return known.model_copy(update={"traits": {name: value for name, value in merged.items() if value is not None}})


def _new_profile(customer_id: str, as_of: datetime) -> Profile:
    return Profile(
        id=customer_id,
        customer_id=customer_id,
        internal_id=None,
        email=None,
        traits={},
        zone=None,
        locale=None,
        identities=[],
        consent=[],
        first_seen=as_of,
        last_seen=as_of,
        temporal=None,
    )


def _identity(row: Identity) -> IdentityAnswer:
    kind: Literal["user", "anonymous"] = "user" if row.kind == "user" else "anonymous"
    return IdentityAnswer(kind=kind, value=row.value, first_seen=row.first_seen, superseded=row.superseded)
