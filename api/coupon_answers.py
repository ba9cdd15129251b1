"""What the routes of coupons take and answer. Money in a cart is minor units of its currency."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from api.money import MoneyAnswer
from api.redemption_answers import Code
from database.coupon_uses import CardBalance, PricedCart
from database.coupons import Coupon, CouponUse
from domain.coupons import Cart, CartLine, CouponState, Refusal, UseState, normal_code
from domain.documents import DOCUMENT_KEY
from domain.durations import PeriodText
from domain.instants import Instant
from domain.programmes.rules import MOST_POINTS
from domain.rewards import Gift, RewardKind
from domain.shop_settings import Currency

Amount = Annotated[int, Field(ge=0, le=10**11, description="Minor units.")]
OrderId = Annotated[str, Field(min_length=1, max_length=255, description="The shop's own.")]
CustomerId = Annotated[str, Field(min_length=1, max_length=255, description="The shop's own.")]
Limit = Annotated[int, Field(ge=0, le=MOST_POINTS)]


class CartLineWish(BaseModel):
    """One line. Whatever else the shop says of it (category, brand, ...) is what a coupon's `lines` are matched by."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Any]  # any JSON

    product_id: str | None = Field(default=None, max_length=255)
    price: Annotated[int, Field(ge=0, le=10**9, description="Of one piece, in minor units.")]
    quantity: Annotated[int, Field(ge=0, le=10_000)] = 1

    def line(self) -> CartLine:
        """As the domain knows it."""
        told = {"product_id": self.product_id} if self.product_id is not None else {}
        return CartLine(self.price, self.quantity, {**(self.__pydantic_extra__ or {}), **told})


class CartWish(BaseModel):
    """What somebody is about to order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    currency: Currency
    lines: list[CartLineWish] = Field(default=[], max_length=200)
    shipping: Amount = 0

    def cart(self) -> Cart:
        """As the domain knows it."""
        return Cart(self.currency, tuple(line.line() for line in self.lines), self.shipping)


class _Codes(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    code: Code | None = Field(default=None, description="The same as `codes` with this one.")
    codes: list[Code] = Field(default=[], max_length=20)

    def wanted(self) -> tuple[str, ...]:
        """All codes as they are stored, each once."""
        written = [*([self.code] if self.code is not None else []), *self.codes]
        return tuple(dict.fromkeys(map(normal_code, written)))


class ValidateWish(_Codes):
    """Codes for a cart. With `order_id` what is held for that order does not stand in its own way."""

    customer_id: CustomerId | None = None
    cart: CartWish | None = Field(default=None, description="Absent: may the code be used, whatever it takes off?")
    order_id: OrderId | None = None


class CouponHoldWish(_Codes):
    """Codes to keep for an order while it is being placed; they replace what is held for it."""

    customer_id: CustomerId | None = None
    cart: CartWish
    order_id: OrderId
    hold_for: PeriodText = Field(default="30m", description="A week at most.")


class UseWish(_Codes):
    """An order that was placed. Without a cart what is held for it is used (no codes: all of it), or a code that is
    good for any cart: what comes off is then for the shop to work out.
    """

    customer_id: CustomerId | None = None
    cart: CartWish | None = None
    order_id: OrderId


class ReleaseWish(_Codes):
    """An order that is not completed: without codes everything is given back. With `amount`, that much of what one
    gift card paid for it.
    """

    order_id: OrderId
    amount: Annotated[int, Field(ge=1, le=10**11, description="Minor units.")] | None = None

    @model_validator(mode="after")
    def _names_the_card(self) -> Self:
        if self.amount is not None and len(self.wanted()) != 1:
            raise ValueError("an `amount` can be given back to one gift card only: name its `code`")
        return self


class PricedCoupon(BaseModel):
    """One code and the cart."""

    code: str
    valid: bool
    reason: Refusal | None
    kind: RewardKind | None
    discount: MoneyAnswer
    free_product: str | None = Field(description="The product id of a gift.")
    quantity: int | None = Field(description="How many of it.")


class ValidateAnswer(BaseModel):
    """What the codes take off. `valid` says that all of them count."""

    valid: bool
    discount: MoneyAnswer = Field(description="Altogether, shipping included.")
    shipping_discount: MoneyAnswer
    total: MoneyAnswer | None = Field(description="What is left to pay; null where no cart was shown.")
    coupons: list[PricedCoupon]
    lines: list[MoneyAnswer] = Field(description="What comes off each line of the cart.")

    @classmethod
    def of(cls, found: PricedCart, codes: Sequence[str], cart: Cart) -> Self:
        """From the cart and what its codes take off, in the order they were asked for."""

        def money(amount: int) -> MoneyAnswer:
            return MoneyAnswer(amount=amount, currency=cart.currency)

        applied = found.priced.applied
        shares = [sum(each.shares[place] for each in applied) for place in range(len(cart.lines))]
        discount = found.priced.discount
        return cls(
            valid=not found.priced.refused,
            discount=money(discount),
            shipping_discount=money(sum(each.shipping for each in applied)),
            total=money(cart.subtotal + cart.shipping - discount) if cart.is_shown else None,
            coupons=[_priced(found, code, cart.currency) for code in codes],
            lines=[money(share) for share in shares],
        )


def _priced(found: PricedCart, code: str, currency: str) -> PricedCoupon:
    applied = next((each for each in found.priced.applied if each.code == code), None)
    reward = found.rewards.get(code)
    gift = reward.gives if applied is not None and reward is not None and isinstance(reward.gives, Gift) else None
    return PricedCoupon(
        code=code,
        valid=applied is not None,
        reason=found.priced.refused.get(code),
        kind=None if reward is None else reward.kind,
        discount=MoneyAnswer(amount=applied.discount if applied else 0, currency=currency),
        free_product=gift.gift if gift else None,
        quantity=gift.quantity if gift else None,
    )


class UseAnswer(BaseModel):
    """One code on one order. `lines` are frozen: what a refund of a line gives back is read here, never worked out."""

    code: str
    state: UseState
    held_until: datetime | None
    discount: MoneyAnswer
    shipping_discount: MoneyAnswer
    given_back: MoneyAnswer = Field(description="What has come back to a gift card while the order stands.")
    lines: list[MoneyAnswer]

    @classmethod
    def of(cls, row: CouponUse) -> Self:
        """From the row."""

        def money(amount: Any) -> MoneyAnswer:  # JSON of ours
            return MoneyAnswer(amount=amount, currency=row.currency)

        return cls(
            code=row.code,
            state=UseState(row.state),
            held_until=row.held_until,
            discount=money(row.discount),
            shipping_discount=money(row.shipping),
            given_back=money(row.given_back),
            lines=[money(share) for share in row.shares],
        )


class OrderCoupons(BaseModel):
    """The codes of one order."""

    order_id: str
    coupons: list[UseAnswer]

    @classmethod
    def of(cls, order_id: str, rows: Sequence[CouponUse]) -> Self:
        """From the rows."""
        return cls(order_id=order_id, coupons=[UseAnswer.of(row) for row in rows])


class CouponWish(BaseModel):
    """A code of the shop's own, such as one for everybody; null limits are none, 0 is used up."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: Code | None = Field(default=None, description="Absent: one is made up.")
    reward: Annotated[str, StringConstraints(pattern=DOCUMENT_KEY)] = Field(description="What it is good for.")
    customer_id: CustomerId | None = Field(default=None, description="Whose it is; absent: anybody's.")
    uses: Limit | None = None
    uses_per_customer: Limit | None = None
    valid_from: Instant | None = None
    valid_until: Instant | None = None


class CouponAnswer(BaseModel):
    """One code. `held` counts the holds that are not over."""

    code: str
    reward: str
    version: int | None
    state: Literal[CouponState.ACTIVE, CouponState.VOID]
    redemption_id: UUID | None
    uses: int | None
    uses_per_customer: int | None
    used: int
    held: int
    balance: MoneyAnswer | None = Field(description="What is left on a gift card; null for other codes.")
    valid_from: datetime | None
    valid_until: datetime | None

    @classmethod
    def of(cls, row: Coupon, counted: tuple[int, int], balance: CardBalance | None) -> Self:
        """From the row, how often it is used and held, and what is left of it."""
        return cls.model_validate(
            {
                "code": row.code,
                "reward": row.reward,
                "version": row.version,
                "state": row.state,
                "redemption_id": row.redemption_id,
                "uses": row.uses,
                "uses_per_customer": row.uses_per_customer,
                "used": counted[0],
                "held": counted[1],
                "balance": balance and MoneyAnswer(amount=balance.amount, currency=balance.currency),
                "valid_from": row.valid_from,
                "valid_until": row.valid_until,
            }
        )
