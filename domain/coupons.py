"""Coupons: which codes a cart may use, what each takes off which line, and what is left of it for later.

Amounts are minor units of the cart's currency. The result depends on the cart and the codes alone: not on the order of
lines or codes, nor on when anything was edited.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from typing import Any, Final
from uuid import UUID

from domain.conditions.memory import Scope, compile_where
from domain.programmes.rules import Money, exactly
from domain.rewards import (
    AmountOff,
    CustomReward,
    FreeShipping,
    Gift,
    GiftCard,
    PercentOff,
    PointsMultiplier,
    RewardDefinition,
)

CODE: Final = r"^[!-~]{3,64}$"
"""Codes as they may be loaded: visible ASCII without blanks."""


class CouponState(StrEnum):
    """Pooled codes wait for an owner, reserved ones have one who has not seen them yet."""

    POOLED = "pooled"
    RESERVED = "reserved"
    ACTIVE = "active"
    VOID = "void"


class UseState(StrEnum):
    """A held use counts until it is used, released, or its time is over."""

    HELD = "held"
    USED = "used"
    RELEASED = "released"


class Refusal(StrEnum):
    """Why a code takes nothing off a cart. The values are codes of the API."""

    UNKNOWN = "coupon_not_found"
    VOID = "coupon_void"
    NOT_YET_VALID = "coupon_not_yet_valid"
    EXPIRED = "coupon_expired"
    CUSTOMER_NEEDED = "customer_needed"
    NOT_YOURS = "coupon_not_yours"
    USED_UP = "coupon_used_up"
    USED_BY_CUSTOMER = "coupon_used_by_customer"
    NOT_ELIGIBLE = "not_eligible"
    NOT_ON_ORDERS = "not_on_orders"  # a multiplier of points, something of the shop's own
    CURRENCY_MISMATCH = "currency_mismatch"
    BELOW_MINIMUM = "below_minimum"
    NO_MATCHING_LINE = "no_matching_line"
    NOT_COMBINABLE = "not_combinable"  # another code of the cart is worth more
    NOTHING_LEFT = "nothing_left"  # of the price, or on the gift card
    CART_NEEDED = "cart_needed"  # whether it counts, or what it pays, depends on the cart, which was not shown


def normal_code(written: str) -> str:
    """A code as it is stored: case and outer blanks do not matter."""
    return written.strip().upper()


# May it be used at all? ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Standing:
    """One code as it is stored, with its other uses: those that are used, or held and not over."""

    state: CouponState
    valid_from: datetime | None
    valid_until: datetime | None
    owner: UUID | None
    uses: int | None  # limit; None: none
    uses_per_customer: int | None
    used: int = 0
    used_by_customer: int = 0
    has_condition: bool = False
    is_eligible: bool = True


def refusal_of(coupon: Standing, customer: UUID | None, as_of: datetime) -> Refusal | None:
    """Why this customer (None: nobody we know) may not use the code now; None: it may be used."""
    is_personal = coupon.owner is not None or coupon.uses_per_customer is not None or coupon.has_condition
    limit, own_limit = coupon.uses, coupon.uses_per_customer
    checks = (
        (Refusal.UNKNOWN, coupon.state in (CouponState.POOLED, CouponState.RESERVED)),
        (Refusal.VOID, coupon.state is CouponState.VOID),
        (Refusal.NOT_YET_VALID, coupon.valid_from is not None and as_of < coupon.valid_from),
        (Refusal.EXPIRED, coupon.valid_until is not None and as_of >= coupon.valid_until),
        (Refusal.CUSTOMER_NEEDED, is_personal and customer is None),
        (Refusal.NOT_YOURS, coupon.owner is not None and coupon.owner != customer),
        (Refusal.USED_UP, limit is not None and coupon.used >= limit),
        (Refusal.USED_BY_CUSTOMER, own_limit is not None and coupon.used_by_customer >= own_limit),
        (Refusal.NOT_ELIGIBLE, not coupon.is_eligible),
    )
    return next((reason for reason, applies in checks if applies), None)


# What does it take off? ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CartLine:
    """One line: the price of one piece, how many, and what else the shop says of it (product_id, category, ...)."""

    price: int
    quantity: int
    properties: Mapping[str, Any] = field(default_factory=dict)  # any JSON

    @property
    def amount(self) -> int:
        """What the line costs."""
        return self.price * self.quantity

    @property
    def identity(self) -> tuple[int, int, str]:
        """Two lines with the same are the same: what ties are broken by, so that the order of lines means nothing."""
        return (-self.amount, self.quantity, repr(sorted(self.properties.items(), key=lambda pair: pair[0])))


@dataclass(frozen=True, slots=True)
class Cart:
    """What somebody is about to order. Not `is_shown`: only codes are told, and the shop works out what comes off."""

    currency: str
    lines: tuple[CartLine, ...]
    shipping: int = 0
    is_shown: bool = True

    @property
    def subtotal(self) -> int:
        """Without shipping, before all discounts."""
        return sum(line.amount for line in self.lines)


@dataclass(frozen=True, slots=True)
class Offered:
    """A code that may be used, and what it is good for. `balance`: what is left on a gift card."""

    code: str
    reward: RewardDefinition
    balance: int | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """What one code takes off: `shares` by line, in the order of the cart, and of the shipping."""

    code: str
    shares: tuple[int, ...]
    shipping: int = 0

    @property
    def discount(self) -> int:
        """All of it."""
        return sum(self.shares) + self.shipping


@dataclass(frozen=True, slots=True)
class Priced:
    """A cart with its codes: those that count, in the order of their effect, and why the others do not."""

    applied: tuple[Applied, ...]
    refused: Mapping[str, Refusal]

    @property
    def discount(self) -> int:
        """What comes off altogether: never more than the cart costs."""
        return sum(each.discount for each in self.applied)


@dataclass(frozen=True, slots=True)
class _Rest:
    """What is still to pay."""

    lines: tuple[int, ...]
    shipping: int

    def less(self, applied: Applied) -> _Rest:
        lines = tuple(rest - share for rest, share in zip(self.lines, applied.shares, strict=True))
        return _Rest(lines, self.shipping - applied.shipping)


# Discounts come before what pays: a percentage of the price, not of what a gift card leaves of it.
_ORDER: Final = ("percent", "amount", "free_shipping", "gift", "points_multiplier", "custom", "gift_card")


def price_cart(cart: Cart, offered: Iterable[Offered]) -> Priced:
    """Which of the codes count, and what they take off.

    Of one stacking group the code counts that takes most off the whole cart, of those that stand alone the best one if
    it takes more off than all others together; ties go to the smaller code. Gift cards always count, last.
    """
    refused: dict[str, Refusal] = {}
    fitting: list[Offered] = []
    for offer in sorted(offered, key=_place):
        reason = _unfit(cart, offer)
        if reason is None:
            fitting.append(offer)
        else:
            refused[offer.code] = reason
    if not cart.is_shown:
        return _unshown(fitting, refused)
    chosen = _combined(cart, [offer for offer in fitting if not isinstance(offer.reward.gives, GiftCard)])
    paying = [offer for offer in fitting if isinstance(offer.reward.gives, GiftCard)]
    applied = _apply(cart, [*chosen, *paying])
    counting = {offer.code for offer in (*chosen, *paying)}
    refused |= {offer.code: Refusal.NOT_COMBINABLE for offer in fitting if offer.code not in counting}
    empty = {each.code for each in applied if not each.discount and each.code not in _gifts(chosen)}
    refused |= dict.fromkeys(empty, Refusal.NOTHING_LEFT)
    return Priced(tuple(each for each in applied if each.code not in empty), refused)


def _unshown(fitting: Sequence[Offered], refused: Mapping[str, Refusal]) -> Priced:
    """Which of several codes count depends on the cart; one alone counts."""
    if len(fitting) > 1:
        return Priced((), {**refused, **{offer.code: Refusal.CART_NEEDED for offer in fitting}})
    return Priced(tuple(Applied(offer.code, ()) for offer in fitting), refused)


def _place(offer: Offered) -> tuple[int, str, str]:
    return (_ORDER.index(offer.reward.kind), offer.reward.reward, offer.code)


def _gifts(offers: Iterable[Offered]) -> set[str]:
    return {offer.code for offer in offers if isinstance(offer.reward.gives, Gift)}


def _unfit(cart: Cart, offer: Offered) -> Refusal | None:
    """Why the code is not good for this cart, whatever other codes there are."""
    reward = offer.reward
    if isinstance(reward.gives, PointsMultiplier | CustomReward):
        return Refusal.NOT_ON_ORDERS
    if not cart.is_shown:
        is_conditional = reward.minimum is not None or bool(reward.lines) or isinstance(reward.gives, GiftCard)
        return Refusal.CART_NEEDED if is_conditional else None
    if any(money.currency != cart.currency for money in _monies(reward)):
        return Refusal.CURRENCY_MISMATCH
    if reward.minimum is not None and cart.subtotal < reward.minimum.amount:
        return Refusal.BELOW_MINIMUM
    if reward.lines and isinstance(reward.gives, PercentOff | AmountOff) and not any(_matching(cart, reward)):
        return Refusal.NO_MATCHING_LINE
    return None


def _monies(reward: RewardDefinition) -> list[Money]:
    least = [] if reward.minimum is None else [reward.minimum]
    match reward.gives:
        case AmountOff(amount=money) | GiftCard(gift_card=money):
            return [money, *least]
        case PercentOff(most=Money() as most) | FreeShipping(most=Money() as most):
            return [most, *least]
        case _:
            return least


def _combined(cart: Cart, offers: Sequence[Offered]) -> list[Offered]:
    groups: dict[str, Offered] = {}
    alone: Offered | None = None
    for offer in offers:
        group = offer.reward.stacking
        if group is None:
            alone = _better(cart, alone, offer)
        else:
            groups[group] = _better(cart, groups.get(group), offer)
    together = sorted(groups.values(), key=_place)
    if alone is None or (together and _worth(cart, [alone]) <= _worth(cart, together)):
        return together
    return [alone]


def _better(cart: Cart, first: Offered | None, second: Offered) -> Offered:
    if first is None:
        return second
    return min((first, second), key=lambda offer: (-_worth(cart, [offer]), offer.code))


def _worth(cart: Cart, offers: Sequence[Offered]) -> int:
    return sum(each.discount for each in _apply(cart, offers))


def _apply(cart: Cart, offers: Sequence[Offered]) -> list[Applied]:
    """One after the other, each of what the ones before have left to pay: so nothing ever costs less than nothing."""
    rest = _Rest(tuple(line.amount for line in cart.lines), cart.shipping)
    found = []
    for offer in offers:
        applied = _effect(cart, rest, offer)
        rest = rest.less(applied)
        found.append(applied)
    return found


def _effect(cart: Cart, rest: _Rest, offer: Offered) -> Applied:
    reward = offer.reward
    weights = [left if fits else 0 for left, fits in zip(rest.lines, _matching(cart, reward), strict=True)]
    match reward.gives:
        case PercentOff(percent=percent, most=most):
            off = round(Fraction(sum(weights)) * exactly(percent) / 100)  # half-even, exactly
            return Applied(offer.code, _shares(cart, _at_most(off, most), weights))
        case AmountOff(amount=money):
            return Applied(offer.code, _shares(cart, min(money.amount, sum(weights)), weights))
        case FreeShipping(most=most):
            return Applied(offer.code, _nothing(cart), _at_most(rest.shipping, most))
        case GiftCard(gift_card=money):
            left = money.amount if offer.balance is None else offer.balance
            pays = min(left, sum(rest.lines) + rest.shipping)
            of_lines = min(pays, sum(rest.lines))
            return Applied(offer.code, _shares(cart, of_lines, rest.lines), pays - of_lines)
        case _:
            return Applied(offer.code, _nothing(cart))


def _nothing(cart: Cart) -> tuple[int, ...]:
    return (0,) * len(cart.lines)


def _at_most(amount: int, most: Money | None) -> int:
    return amount if most is None else min(amount, most.amount)


def _matching(cart: Cart, reward: RewardDefinition) -> list[bool]:
    """Which lines the coupon is good for. Predicates read what the shop says of a line, and its price and quantity."""
    if not reward.lines or not isinstance(reward.gives, PercentOff | AmountOff):
        return [True] * len(cart.lines)
    fits = compile_where(reward.lines)
    return [fits({**line.properties, "price": line.price, "quantity": line.quantity}, _NOBODY) for line in cart.lines]


_NOBODY: Final = Scope(as_of=datetime.min)  # noqa: DTZ901  lines are matched by what they say, at no time


def _shares(cart: Cart, amount: int, weights: Sequence[int]) -> tuple[int, ...]:
    return allocate(amount, weights, [line.identity for line in cart.lines])


def allocate(amount: int, weights: Sequence[int], identities: Sequence[Any]) -> tuple[int, ...]:
    """Split an amount over weights by largest remainder: shares sum exactly, and none is larger than its weight.

    `amount` <= sum of weights. Of equal remainders the smaller identity gets the unit, so order means nothing.
    """
    whole = sum(weights)
    if not whole:
        return (0,) * len(weights)
    shares = [amount * weight // whole for weight in weights]
    by_remainder = sorted(
        range(len(weights)), key=lambda place: (-(amount * weights[place] % whole), identities[place], place)
    )
    for place in by_remainder[: amount - sum(shares)]:
        shares[place] += 1
    return tuple(shares)


def returned_share(share: int, quantity: int, *, before: int, now: int) -> int:
    """What of a line's frozen share goes with `now` returned pieces when `before` were returned already.

    Any sequence of returns comes to the same as one: the difference of two floors, never a share of a share.
    """
    if not 0 <= before <= before + now <= quantity:
        raise ValueError("more pieces are returned than were bought")
    return share * (before + now) // quantity - share * before // quantity if quantity else 0
