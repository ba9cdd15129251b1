"""What is asked and answered about referrals."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from api.one_of import one_of
from database.referrals import Referral
from domain.client_addresses import truncate_address
from domain.referral_signals import SignalKind
from domain.referrals import Reason, ReferralState

Text = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Code = Annotated[str, StringConstraints(min_length=4, max_length=64, pattern=r"^[A-Za-z0-9 _-]+$")]


class Wish(BaseModel):
    """A body without unknown members."""

    model_config = ConfigDict(extra="forbid")


class SignalsWish(Wish):
    """What the shop knows of whoever claims; kept as keyed hashes only. `address` and `payment` may be hashes too."""

    ip: Text | None = Field(default=None, examples=["93.184.216.34"])
    device: Text | None = None
    address: Text | None = Field(default=None, description="Of delivery: normalised, or a hash of it.")
    payment: Text | None = Field(default=None, description="A fingerprint of the means of payment.")

    def known(self, *, truncate_ip: bool) -> dict[SignalKind, str]:
        """Those that were reported, the address as its network alone where addresses are truncated."""
        told = {SignalKind(name): value for name, value in self.model_dump(exclude_none=True).items()}
        if truncate_ip and self.ip is not None:
            told[SignalKind.IP] = truncate_address(self.ip)
        return told


class ClaimWish(Wish):
    """Who was brought, and by whom: by a `code` (personal or of an invitation) or by the `referrer`'s own id."""

    model_config = ConfigDict(json_schema_extra=one_of("code", "referrer"))

    code: Code | None = None
    referrer: Text | None = Field(default=None, description="The shop's own id of who brought the friend.")
    referee: Text = Field(description="The shop's own id of the friend; `customer_id` is taken for it too.")
    signals: SignalsWish = SignalsWish()

    @model_validator(mode="before")
    @classmethod
    def _read_customer_id(cls, raw: Any) -> Any:  # any JSON
        if isinstance(raw, dict) and "customer_id" in raw and "referee" not in raw:
            return {"referee" if key == "customer_id" else key: value for key, value in raw.items()}
        return raw

    @model_validator(mode="after")
    def _names_one_origin(self) -> Self:
        if (self.code is None) == (self.referrer is None):
            raise ValueError("name the code or the referrer, one of them")
        return self


class ReferralAnswer(BaseModel):
    """One referral, for the shop. `suspicions` and `score` say why it is under review or rejected."""

    id: UUID
    referrer: str = Field(description="Who brings the friend: the shop's own id of the customer, else ours.")
    referee: str | None = Field(description="The friend, likewise; null as long as nobody has claimed.")
    state: ReferralState
    reason: Reason | None
    invited_at: datetime | None
    clicked_at: datetime | None
    claimed_at: datetime | None
    qualified_at: datetime | None
    due_at: datetime | None = Field(description="When the hold ends and both sides are rewarded.")
    rewarded_at: datetime | None
    ended_at: datetime | None
    order_id: str | None
    score: int
    suspicions: list[str]

    @classmethod
    def of(cls, row: Referral, names: Mapping[UUID, str]) -> Self:
        """From the row, and the shop's ids of customers."""
        sides: dict[str, Any] = {
            "referrer": names.get(row.referrer_id, str(row.referrer_id)),
            "referee": names.get(row.referee_id, str(row.referee_id)) if row.referee_id is not None else None,
        }
        return cls(**sides, **{name: getattr(row, name) for name in cls.model_fields if name not in sides})


class FriendAnswer(BaseModel):
    """Where one friend stands, for whoever brought them: nothing says who the friend is, nor what was suspected."""

    referral_id: UUID
    state: ReferralState
    since: datetime
    due_at: datetime | None

    @classmethod
    def of(cls, row: Referral) -> Self:
        """From the row; `since` is the latest thing that happened."""
        times = (row.invited_at, row.clicked_at, row.claimed_at, row.qualified_at, row.rewarded_at, row.ended_at)
        since = max(time for time in times if time is not None)
        return cls(referral_id=row.id, state=ReferralState(row.state), since=since, due_at=row.due_at)


class ClicksAnswer(BaseModel):
    """How often a customer's link was followed; scanners and previews apart."""

    people: int
    machines: int


class CustomerReferralAnswer(BaseModel):
    """A customer's code and link, and what came of them. `counts`: state -> friends; `friends`: the latest 100."""

    code: str
    link: str
    active: bool = Field(description="Whether a programme with referrals is live.")
    clicks: ClicksAnswer
    counts: dict[ReferralState, int]
    friends: list[FriendAnswer]
    referred_by_link: bool = Field(description="Whether this customer was brought by somebody.")


class InvitationAnswer(BaseModel):
    """A link for one friend: what comes of it is seen apart from the personal link."""

    referral_id: UUID
    code: str
    link: str
    expires_at: datetime


class RejectWish(Wish):
    """Why a person rejects a claim."""

    reason: Literal[Reason.FRAUD, Reason.POLICY, Reason.SELF_REFERRAL, Reason.EXISTING_CUSTOMER]
