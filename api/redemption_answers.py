"""What the routes of rewards and redemptions take and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from database.redeeming import Offer
from database.redemptions import Redemption, shown_code
from domain.coupons import CODE
from domain.programmes.rules import MOST_POINTS
from domain.redemptions import Canceller, RedemptionState, Review
from domain.rewards import Reason, RewardKind


class CatalogueEntry(BaseModel):
    """One reward as the customer sees it. `points` is this customer's price; `reasons` say why it cannot be had."""

    reward: str
    name: str | None
    description: str | None
    kind: RewardKind
    gives: dict[str, Any] = Field(description="What it is, as the reward says it.")
    points: int | None
    available: bool
    reason: Reason | None = Field(description="The first of the reasons.")
    reasons: list[Reason]
    message: str | None = Field(description="What the reward says to who is not eligible.")
    left: int | None = Field(description="How many there are still; null: no limit.")
    valid_until: datetime | None

    @classmethod
    def of(cls, offer: Offer) -> Self:
        """From the offer."""
        definition = offer.reward.definition
        return cls(
            reward=offer.reward.key,
            name=definition.name,
            description=definition.description,
            kind=definition.kind,
            gives=definition.gives.model_dump(mode="json", exclude_none=True),
            points=offer.points,
            available=not offer.reasons,
            reason=next(iter(offer.reasons), None),
            reasons=list(offer.reasons),
            message=offer.told,
            left=offer.left,
            valid_until=definition.valid.until,
        )


class RedeemWish(BaseModel):
    """`points`: the price that the customer has seen; another one is refused instead of taken."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    points: int | None = Field(default=None, ge=0, le=MOST_POINTS)


class RedemptionAnswer(BaseModel):
    """One redemption. `code` is null until it is issued; `expires_at` is of the state that it is in."""

    id: UUID
    customer_id: str | None = Field(description="The shop's own id; null for who is known by none.")
    reward: str
    version: int
    points: int
    given: bool = Field(description="For nothing: by a journey, a referral or a challenge.")
    state: RedemptionState
    code: str | None
    expires_at: datetime | None
    requested_at: datetime
    issued_at: datetime | None
    ended_at: datetime | None
    reason: str | None = Field(description="Why it ended.")
    review: Review | None = Field(description="Why a person has to say whether the shop has delivered.")

    @classmethod
    def of(cls, row: Redemption, customer_id: str | None) -> Self:
        """From the row."""
        return cls(
            id=row.id,
            customer_id=customer_id,
            reward=row.reward,
            version=row.version,
            points=row.points,
            given=row.is_given,
            state=RedemptionState(row.state),
            code=shown_code(row),
            expires_at=row.expires_at,
            requested_at=row.requested_at,
            issued_at=row.issued_at,
            ended_at=row.ended_at,
            reason=row.reason,
            review=None if row.review is None else Review(row.review),
        )


class CancelWish(BaseModel):
    """By the customer points come back as they were; by the shop with time to use them (`restore_grace`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: Literal[Canceller.CUSTOMER, Canceller.SHOP] = Canceller.CUSTOMER
    reason: str = Field(default="cancelled", min_length=1, max_length=200)


Code = Annotated[str, StringConstraints(pattern=CODE), Field(examples=["TEA-4F7K2M"])]


class CodesToLoad(BaseModel):
    """Codes of the shop's own for a reward whose `codes` is `pool`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    codes: list[Code] = Field(min_length=1, max_length=10_000)


class CodesLoaded(BaseModel):
    """How many were new, and which were known already, here or as any other coupon."""

    loaded: int
    known: list[str]


class StockAnswer(BaseModel):
    """How many of a reward there are; null: no limit, or no pool."""

    reward: str
    stock: int | None
    taken: int
    left: int | None
    codes_left: int | None
