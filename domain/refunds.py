"""What refunds give back of an order: one function of the order and all its refunds, for money, points and figures.

It does not matter in which order refunds come or in how many parts: everything is always worked out from all of them
(Open Loyalty 3 rounded each return by itself, so that seven returns of one took 100.03 of 100 points).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from math import floor
from typing import Any
from uuid import UUID

from domain.commerce import CommerceEvent, OrderFold, event_currency, order_id_of, returned_lines_of, text_id
from domain.earned_amounts import Share
from domain.earned_edits import Change
from domain.identities import SENT_UNKNOWN, Stamp
from domain.money import amount_of, minor_units
from domain.refund_statements import SHIPPING, Told, statement_of

ORDER_REVISED = "Order Revised"
"""Our own event to the owner of an order that somebody else's event refunded, cancelled or changed: it says which."""


class Doubt(StrEnum):
    """Why a refund does not count as much as its shop may think."""

    UNREADABLE = "refund_unreadable"
    CURRENCY = "refund_currency"
    UNMATCHED = "refund_unmatched"
    UNKNOWN_ORDER = "refund_order_unknown"


@dataclass(frozen=True, slots=True)
class RefundFact:
    """One `Order Refunded`. Amounts in major units, as they were sent: their currency may be known by the order only.

    `currency` None: the event names none, so it is the order's.
    """

    event_id: UUID
    order_id: str
    customer_id: UUID
    at: datetime
    told: Told = Told.ABSENT
    amount: Decimal | None = None  # without its sign
    shipping: Decimal | None = None  # how much of the amount the event says was for shipping
    currency: str | None = None
    lines: Sequence[Mapping[str, Any]] = ()
    refund_id: str | None = None
    sent: datetime = SENT_UNKNOWN
    came_late: datetime | None = None  # its receipt, if that was too late to count when it happened (lateness.py)

    @property
    def stamp(self) -> Stamp:
        """Its place among the refunds of its order."""
        return Stamp(self.at, self.sent, self.event_id)

    @property
    def counts_at(self) -> datetime:
        """From when on it is missing in what its order came to."""
        return self.came_late or self.at


@dataclass(frozen=True, slots=True)
class Frozen:
    """What a decision keeps for refunds: the points paid after clipping, and what for (None: unknown)."""

    points: int
    basis: int | None
    currency: str | None
    shares: Sequence[Share] = ()
    changes: Sequence[Change] = ()  # of its points, by later edits of the order

    @property
    def first_points(self) -> int:
        """The points before later edits."""
        return self.points - sum(change.by for change in self.changes)

    def as_order(self, order_id: str, customer_id: UUID) -> OrderFold:
        """What the decision knows of its order, where no event of orders told about it."""
        lines = [
            {
                "product_id": share.product_id,
                "sku": share.sku,
                "variant": share.variant,
                "price": share.amount // max(share.quantity, 1),
                "quantity": share.quantity,
            }
            for share in self.shares
        ]
        return OrderFold(order_id, customer_id, self.currency or "", amounts={"total": self.basis}, lines=lines)


@dataclass(frozen=True, slots=True)
class GivenBack:
    """`refunded`: minor units of the order's currency, its total at most. `returned`: the share of its goods, exact."""

    refunded: int = 0
    returned: Fraction = Fraction(0)


# Reading -------------------------------------------------------------------------------------------------


def refund_of(event: CommerceEvent, default_currency: str) -> RefundFact | None:
    """The refund that an `Order Refunded` states; None if it names no order."""
    order_id = order_id_of(event)
    if order_id is None:
        return None
    properties = event.properties
    currency = event_currency(properties)
    stated, shipping = statement_of(properties), amount_of(properties.get(SHIPPING))
    return RefundFact(
        *(event.id, order_id, event.customer_id, event.stamp.timestamp),
        told=stated.told,
        amount=stated.amount,
        shipping=None if shipping is None else abs(shipping),
        currency=currency,
        lines=returned_lines_of(properties.get("products"), currency or default_currency),
        refund_id=text_id(properties.get("refund_id")),
        sent=event.stamp.sent,
    )


# What all of them give back ------------------------------------------------------------------------------


def given_back(order: OrderFold, refunds: Iterable[RefundFact], frozen: Frozen | None = None) -> GivenBack:
    """What all refunds of an order give back together. `frozen`: by what a decision paid for, else by its own lines.

    Known limit: half the goods and the shipping in one amount that says no more count as goods (70 of 130, of which 10
    were shipping, takes 58 of 100).
    """
    told = last_statements(refunds)
    total, lines = total_of(order), _shares_of(order)
    whole = Fraction(total or 0)
    shipping = min(Fraction(max(order.amounts.get("shipping") or 0, 0)), whole)
    goods = whole - shipping
    pieces = allot(told, lines)
    parts = _parts(pieces, lines, sum(line.amount for line in lines))
    each = [
        _Returned(refund, counted(refund, order.currency), goods * part, bool(found))
        for refund, found, part in zip(told, pieces, parts, strict=True)
    ]
    money = sum((one.money for one in each), Fraction())
    refunded = floor(money if total is None else min(money, whole))
    if any(is_everything(refund) for refund in told):
        return GivenBack(refunded if total is None else total, Fraction(1))
    if order.cancelled or _is_whole(total, money, each):
        return GivenBack(refunded, Fraction(1))
    if frozen is not None and frozen.basis:
        shares = _told_apart(frozen.shares, lines)
        parts = _parts(allot(told, shares), shares, frozen.basis)
    returned = sum(parts, Fraction())
    loose = sum((one.loose(order.currency) for one in each), Fraction())
    if goods and loose > shipping:
        returned += min(loose, goods) / goods
    return GivenBack(refunded, min(returned, Fraction(1)))


def taken_back(frozen: Frozen, order: OrderFold, refunds: Iterable[RefundFact]) -> int:
    """The points of a decision that all these refunds together take back, rounded down once."""
    return floor(frozen.points * given_back(order, refunds, frozen).returned)


def spent_back(spent: int, order: OrderFold, refunds: Iterable[RefundFact]) -> int:
    """What comes back of points, or of minor units of a gift card, that paid for an order: rounded down once, for all
    its refunds together.
    """
    back, total = given_back(order, refunds), total_of(order)
    if back.returned == 1:
        return spent
    return spent * back.refunded // total if total else 0


def doubts(order: OrderFold, refunds: Iterable[RefundFact]) -> dict[UUID, Doubt]:
    """Which refunds of an order, by their events, state an amount that is not counted, or products that it has not."""
    told = last_statements(refunds)
    found: dict[UUID, Doubt] = {}
    for refund, pieces in zip(told, allot(told, _shares_of(order)), strict=True):
        if refund.told is Told.UNREADABLE:
            found[refund.event_id] = Doubt.UNREADABLE
        elif refund.told is Told.STATED and counted(refund, order.currency) is None:
            found[refund.event_id] = Doubt.CURRENCY
        elif refund.told is Told.ABSENT and refund.lines and not pieces:
            found[refund.event_id] = Doubt.UNMATCHED
    return found


def last_statements(refunds: Iterable[RefundFact]) -> list[RefundFact]:
    """Each refund once, as it was stated last, in the order of events: shops repeat and correct a `refund_id`."""
    last: dict[str | UUID, RefundFact] = {}
    for refund in sorted(refunds, key=lambda refund: refund.stamp):
        last[refund.refund_id or refund.event_id] = refund
    return sorted(last.values(), key=lambda refund: refund.stamp)


def is_everything(refund: RefundFact) -> bool:
    """It says nothing of products or of how much, so the whole order came back."""
    return refund.told is Told.ABSENT and not refund.lines


def counted(refund: RefundFact, currency: str) -> int | None:
    """The amount in minor units of the order's currency; None where it is not stated, not readable or of another."""
    return _minor(refund.amount, currency) if refund.currency in (None, currency) else None


def total_of(order: OrderFold) -> int | None:
    """What the order came to, by the first of its amounts that is known; None: nothing is."""
    lines = sum((line.get("price") or 0) * line["quantity"] for line in order.lines)
    told = (order.amounts.get("total"), order.amounts.get("revenue"), lines or None, order.amounts.get("subtotal"))
    return next((max(amount, 0) for amount in told if amount is not None), None)


@dataclass(frozen=True, slots=True)
class _Returned:
    """One refund, with what its products cost in the end."""

    refund: RefundFact
    amount: int | None
    worth: Fraction
    has_pieces: bool

    @property
    def money(self) -> Fraction:
        return self.worth if self.amount is None else Fraction(self.amount)

    @property
    def is_shipping(self) -> bool:
        """All of the amount is said to be for shipping."""
        amount, shipping = self.refund.amount, self.refund.shipping
        return amount is not None and shipping is not None and 0 < amount <= shipping

    def loose(self, currency: str) -> Fraction:
        """The part of the amount that neither its products nor its shipping account for."""
        shipping = _minor(self.refund.shipping, currency) or 0
        return Fraction(0) if self.amount is None else max(Fraction(0), self.amount - shipping - self.worth)


def _is_whole(total: int | None, money: Fraction, each: Sequence[_Returned]) -> bool:
    if total:
        return money >= total
    counted_ones = [one for one in each if one.amount is not None and not one.is_shipping]
    return any(not (one.has_pieces and (total == 0 or not one.amount)) for one in counted_ones)


def _minor(amount: Decimal | None, currency: str) -> int | None:
    return None if amount is None else minor_units(amount, currency)


def _shares_of(order: OrderFold) -> list[Share]:
    """The order's lines by what they cost; by their pieces where no line has a price."""
    lines = [(line, max(line["quantity"], 0)) for line in order.lines]
    weights = [max(line.get("price") or 0, 0) * pieces for line, pieces in lines]
    if not any(weights):
        weights = [pieces for _, pieces in lines]
    return [
        Share(
            *(line.get("product_id"), line.get("sku"), pieces, weight),
            price=line.get("price"),
            variant=line.get("variant"),
        )
        for (line, pieces), weight in zip(lines, weights, strict=True)
    ]


def _told_apart(frozen: Sequence[Share], lines: Sequence[Share]) -> Sequence[Share]:
    """Frozen shares with the prices and variants of the order's lines, which stored ones lack, while they are the same
    lines.
    """
    if [_goods(share) for share in frozen] != [_goods(line) for line in lines]:
        return frozen
    return [replace(share, price=line.price, variant=line.variant) for share, line in zip(frozen, lines, strict=True)]


def _goods(share: Share) -> tuple[str | None, str | None, int]:
    return share.product_id, share.sku, share.quantity


def _parts(pieces: Sequence[Counter[int]], shares: Sequence[Share], basis: int) -> list[Fraction]:
    """For each refund, the part of the basis that the pieces it returned had."""
    each = [Fraction(share.amount, (share.quantity * basis) or 1) for share in shares]
    return [sum((each[at] * count for at, count in found.items()), Fraction(0)) for found in pieces]


# Which pieces came back ----------------------------------------------------------------------------------

_Line = Mapping[str, Any]  # a line of commerce.py


def allot(told: Sequence[RefundFact], shares: Sequence[Share]) -> list[Counter[int]]:
    """For each refund, how many pieces of which lines it returned: never more than were bought.

    The best matches of all refunds come first, then the next best: a vague one takes nothing from a precise one.
    """
    found: list[Counter[int]] = [Counter() for _ in told]
    left = [share.quantity for share in shares]
    wanted = [(at, line, [line["quantity"]]) for at, refund in enumerate(told) for line in refund.lines]
    for is_match in _MATCHES:
        for at, line, missing in wanted:
            for place, share in enumerate(shares):
                if missing[0] and left[place] > 0 and is_match(share, line):
                    taken = min(missing[0], left[place])
                    found[at][place] += taken
                    left[place] -= taken
                    missing[0] -= taken
    return found


def _has_sku(share: Share, line: _Line) -> bool:
    return share.sku is not None and share.sku == line.get("sku")


def _has_product(share: Share, line: _Line) -> bool:
    product = line.get("product_id")
    return product is not None and product in (share.product_id, share.sku)


def _may_be(share: Share, line: _Line) -> bool:
    """The product, where nothing says that it is another kind of it."""
    skus, variants = (share.sku, line.get("sku")), (share.variant, line.get("variant"))
    return _has_product(share, line) and None in skus and (None in variants or variants[0] == variants[1])


_MATCHES: Sequence[Callable[[Share, _Line], bool]] = (
    lambda share, line: _has_sku(share, line) and _has_product(share, line),
    _has_sku,
    lambda share, line: _may_be(share, line) and share.variant is not None and share.variant == line.get("variant"),
    lambda share, line: _may_be(share, line) and share.price is not None and share.price == line.get("price"),
    _may_be,
)
