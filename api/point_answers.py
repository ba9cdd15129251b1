"""Points and their moves as the API takes and answers them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from api.money import MoneyAnswer
from api.paths import MAX_ID_LENGTH
from database.points import Happened, Holdings
from domain.accounts import Lot
from domain.document import WholeNumber
from domain.instants import Instant
from domain.points import Balance, Moved

MOST_POINTS = 1_000_000_000
LONGEST_HOLD = timedelta(days=366)
Words = Annotated[str, StringConstraints(min_length=1, max_length=1_000)]
Reference = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_LENGTH)]
# The bounds once more for the schema, which does not see them behind a validator.
Points = Annotated[
    WholeNumber,
    Field(ge=1, le=MOST_POINTS, json_schema_extra={"minimum": 1, "maximum": MOST_POINTS}),
]


_SIGNED: dict[str, JsonValue] = {"minimum": -MOST_POINTS, "maximum": MOST_POINTS, "not": {"const": 0}}


def _is_not_zero(points: int) -> int:
    if points == 0:
        raise ValueError("an adjustment of 0 points changes nothing")
    return points


class _Wish(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: Words | None = Field(default=None, description="For people; removed when the customer is erased.")
    reference: Reference | None = Field(default=None, description="The shop's own, such as an order's id.")


OrderId = Annotated[
    Reference | None,
    Field(description="The order that they pay for: what is refunded or cancelled of it gives them back."),
]


class MoveWish(_Wish):
    """Points for a customer, outside the rules of the programme."""

    points: Points
    expires_at: Instant | None = Field(default=None, description="Null: never.")


class Spending(_Wish):
    """Points to take, those first that expire first."""

    points: Points
    order_id: OrderId = None


class Correction(_Wish):
    """Points to add or, below zero, to take. Who did it is kept with the reason."""

    points: Annotated[
        WholeNumber,
        Field(ge=-MOST_POINTS, le=MOST_POINTS, json_schema_extra=_SIGNED),
        AfterValidator(_is_not_zero),
    ]
    reason: Words
    expires_at: Instant | None = Field(default=None, description="Of points that are added; null: never.")


class HoldWish(_Wish):
    """Points to reserve until they are captured, released or `expires_at` has come: an hour, at most a year."""

    points: Points
    expires_at: Instant | None = None
    order_id: OrderId = None


class TransferWish(_Wish):
    """Points for another customer of the shop."""

    to: Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_LENGTH)]
    points: Points


class CaptureWish(BaseModel):
    """How much of a hold to spend; all of it where nothing is said, else the rest comes back.

    `order_id` null: the order that the hold names.
    """

    model_config = ConfigDict(extra="forbid")

    points: Points | None = None
    order_id: OrderId = None


class ReversalWish(BaseModel):
    """Why points that were spent come back."""

    model_config = ConfigDict(extra="forbid")

    reason: Words = Field(description="For people; removed when the customer is erased.")


class BalanceAnswer(BaseModel):
    """Points that can be spent, that come later, and that are reserved. `available` below zero is owed."""

    available: int
    pending: int
    held: int

    @classmethod
    def of(cls, balance: Balance) -> Self:
        """From the ledger's."""
        return cls(available=balance.available, pending=balance.pending, held=balance.held)


class MoveAnswer(BaseModel):
    """What was written, and what it left."""

    transaction_id: UUID
    balance: BalanceAnswer

    @classmethod
    def of(cls, moved: Moved, transaction_id: UUID) -> Self:
        """From a move that was done."""
        return cls(transaction_id=transaction_id, balance=BalanceAnswer.of(moved.balance))


class HoldAnswer(BaseModel):
    """A reservation; capture or release it by its id."""

    hold_id: UUID
    points: int
    expires_at: datetime


class LotAnswer(BaseModel):
    """Points that came in together, and what is left of them."""

    original: int
    remaining: int
    earned_at: datetime
    activates_at: datetime | None
    expires_at: datetime | None
    source: str

    @classmethod
    def of(cls, lot: Lot) -> Self:
        """From the ledger's."""
        dates = {"earned_at": lot.earned_at, "activates_at": lot.activates_at, "expires_at": lot.expires_at}
        return cls(original=lot.original, remaining=lot.remaining, source=lot.source, **dates)  # type: ignore[arg-type]


class ExpiryAnswer(BaseModel):
    """How many points expire next, and when."""

    points: int
    at: datetime


class PointsAnswer(BaseModel):
    """An account as it stands now. `issued`, `earned`, `spent` and `expired` count everything there ever was.

    `earned` is what rules of the programme paid; `issued` is that with awards, rewards and corrections.
    """

    available: int
    pending: int
    held: int
    issued: int
    earned: int
    spent: int
    expired: int
    next_expiry: ExpiryAnswer | None
    lots: list[LotAnswer]

    @classmethod
    def of(cls, holdings: Holdings) -> Self:
        """From the ledger's."""
        balance = holdings.balance
        return cls(
            available=balance.available,
            pending=balance.pending,
            held=balance.held,
            issued=balance.earned,
            earned=holdings.earned,
            spent=balance.spent,
            expired=balance.expired,
            next_expiry=_next_expiry(holdings),
            lots=[LotAnswer.of(lot) for lot in holdings.lots],
        )


class HappenedAnswer(BaseModel):
    """One transaction. `points` is what it did to what the customer has; `changes` says it per bucket."""

    id: UUID
    at: datetime
    kind: str
    points: int
    source: str
    reason: str | None
    reference: str | None
    order_id: str | None
    author: str | None
    changes: Mapping[str, int]

    @classmethod
    def of(cls, row: Happened) -> Self:
        """From the ledger's."""
        owned = sum(row.changes.get(bucket, 0) for bucket in ("pending", "available", "held"))
        names = ("id", "at", "kind", "source", "reason", "reference", "order_id", "author", "changes")
        return cls(points=owned, **{name: getattr(row, name) for name in names})


class RateAnswer(BaseModel):
    """A share with what it was worked out of; null where the denominator is 0."""

    rate: float | None
    numerator: int
    denominator: int

    @classmethod
    def of(cls, numerator: int, denominator: int) -> Self:
        """The share of a part in a whole."""
        share = numerator / denominator if denominator > 0 else None
        return cls(rate=share, numerator=numerator, denominator=denominator)


class LiabilityAnswer(BaseModel):
    """Totals of a programme's points. Moves in `[from, to)` by when they took effect; the rest as of `to`.

    `liability` is outstanding points x cost per point x expected redemption rate, which is that of the points whose end
    is known (all are expected to be redeemed while none is); null where the programme gives points no value.
    """

    programme: str
    from_: datetime | None = Field(serialization_alias="from")
    to: datetime
    zone: str
    issued: int
    redeemed: int
    expired: int
    reversed: int
    outstanding: int
    redemption_rate: RateAnswer
    breakage_realised: RateAnswer
    expected_redemption_rate: RateAnswer
    liability: MoneyAnswer | None


def _next_expiry(holdings: Holdings) -> ExpiryAnswer | None:
    dated = [
        (lot.lapses_at, lot.remaining) for lot in holdings.lots if lot.expires_at is not None and not lot.is_pending
    ]
    if not dated:
        return None
    first = min(at for at, _ in dated)
    return ExpiryAnswer(points=sum(points for at, points in dated if at == first), at=first)
