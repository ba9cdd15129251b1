"""What an event is worth to an earning rule, exactly; and how it is shared over the order's lines, for refunds.

Money is minor units. Amounts that clients send as floats (14.280000000000001) are rounded half-even to the minor unit
when they are read, never later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Any, assert_never

from domain.commerce import event_currency, lines_of, whole_number
from domain.conditions.memory import Scope, compile_where
from domain.conditions.model import Predicate
from domain.conditions.paths import reader
from domain.money import minor_units
from domain.programmes.rules import FixedAmount, Money, RatedAmount, exactly

JsonObject = Mapping[str, Any]  # any JSON object

_LARGEST = 2**53


@dataclass(frozen=True, slots=True)
class Worth:
    """The points of an event before multipliers, and what they were counted from.

    `basis` is what a refund is measured against: the money counted, else what the order came to; None: neither.
    `shares` are each line's part of the basis, in the order of the lines; they sum to it exactly.
    """

    points: Fraction
    counted: int | None = None  # minor units, or pieces
    basis: int | None = None
    currency: str | None = None
    shares: Sequence[Share] = ()


@dataclass(frozen=True, slots=True)
class Share:
    """One line's part of the basis, for `quantity` pieces of a product. What was decided earlier kept no price."""

    product_id: str | None
    sku: str | None
    quantity: int
    amount: int
    price: int | None = None
    variant: str | None = None


@dataclass(frozen=True, slots=True)
class NotCounted:
    """Why an event is worth nothing to a rule: `currency_mismatch` or `no_amount`."""

    reason: str


def worth_of(amount: FixedAmount | RatedAmount, sale: Sale, scope: Scope) -> Worth | NotCounted:
    """What an event is worth to one rule, by the sale that it tells of."""
    if isinstance(amount, FixedAmount):
        return _with_basis(Fraction(amount.points), None, sale.worth, sale, sale.lines)
    if isinstance(amount.per, Money) and amount.per.currency != sale.currency:
        return NotCounted("currency_mismatch")
    lines = sale.lines if amount.lines is None else _matching(amount.lines, sale.lines, scope)
    counted = _counted(amount, sale, lines)
    if counted is None or counted < 0:
        return NotCounted("no_amount")
    per = amount.per
    if isinstance(per, Money):
        return _with_basis(exactly(amount.points) * counted / per.amount, counted, counted, sale, lines)
    basis = sale.worth if amount.lines is None else _sane(max(sum(line.amount for line in lines), 0))
    return _with_basis(exactly(amount.points) * counted / per.quantity, counted, basis, sale, lines)


def rounded(exact: Fraction, amount: FixedAmount | RatedAmount) -> int:
    """Whole points: rounded once for the rule and event, after all multipliers."""
    how = amount.round if isinstance(amount, RatedAmount) else "floor"
    match how:
        case "floor":
            return floor(exact)
        case "ceiling":
            return ceil(exact)
        case "half_even":
            return round(exact)
    assert_never(how)


def shared(total: int, weights: Sequence[int]) -> list[int]:
    """`total` in whole parts by weight that sum to it exactly: the largest remainders get what rounding down leaves.

    Equal remainders go by position, so the result depends on nothing else (formancehq/ledger, allotment.go).
    """
    whole = sum(weights)
    if whole <= 0:
        return [0 for _ in weights]
    parts = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda at: (-(total * weights[at] % whole), at))
    for at in by_remainder[: total - sum(parts)]:
        parts[at] += 1
    return parts


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a sale; `price` in minor units. `raw`: as it was sent, for predicates."""

    raw: JsonObject
    product_id: str | None
    sku: str | None
    quantity: int
    price: int | None
    variant: str | None = None

    @property
    def amount(self) -> int:
        """What the line came to: less than nothing for what an order takes back."""
        return max(self.price or 0, 0) * self.quantity


@dataclass(frozen=True, slots=True)
class Sale:
    """What an event says was sold: its lines, and what they came to in `currency` (None: it does not say)."""

    properties: JsonObject
    currency: str
    lines: Sequence[Line]
    worth: int | None


def sale_of(properties: JsonObject, default_currency: str) -> Sale:
    """Read an event once for all rules; the currency is the shop's, where the event names none."""
    currency = event_currency(properties) or default_currency
    products = properties.get("products")
    listed = [product for product in products if isinstance(product, Mapping)] if isinstance(products, list) else []
    read = zip(listed, lines_of(listed, currency), strict=True)
    lines = [
        Line(raw, line["product_id"], line.get("sku"), line["quantity"], line["price"], line.get("variant"))
        for raw, line in read
    ]
    return Sale(properties, currency, lines, _told_worth(properties, currency, lines))


def _told_worth(properties: JsonObject, currency: str, lines: Sequence[Line]) -> int | None:
    """The goods' worth if it is told, else all that was paid, else the sum of the lines."""
    told = (minor_units(properties.get(name), currency) for name in ("subtotal", "total", "revenue"))
    return next((amount for amount in told if amount), _sane(max(sum(line.amount for line in lines), 0))) or None


def _matching(where: Sequence[Predicate], lines: Sequence[Line], scope: Scope) -> list[Line]:
    judge = compile_where(where)
    return [line for line in lines if judge(dict(line.raw), scope)]


def _counted(amount: RatedAmount, sale: Sale, lines: Sequence[Line]) -> int | None:
    """Minor units or pieces; None where the event lacks them or says something that is none."""
    by_money = isinstance(amount.per, Money)
    if amount.of is None:
        counted = sum(line.amount if by_money else line.quantity for line in lines)
        return _sane(max(counted, 0)) if lines else None
    values = reader(amount.of)({"properties": sale.properties})
    found = [minor_units(value, sale.currency) if by_money else whole_number(value) for value in values]
    told = [each for each in found if each is not None]
    return _sane(sum(told)) if told and len(told) == len(found) else None


def _sane(amount: int) -> int | None:
    """Beyond this an amount is a mistake."""
    return amount if abs(amount) <= _LARGEST else None


def _with_basis(
    points: Fraction, counted: int | None, basis: int | None, sale: Sale, counting: Sequence[Line]
) -> Worth:
    """Freeze each line's share; lines that did not count have none. Lines without prices share by their quantities."""
    counts = {id(line) for line in counting}
    weights = [max(line.amount, 0) if id(line) in counts else 0 for line in sale.lines]
    if not any(weights):
        weights = [max(line.quantity, 0) if id(line) in counts else 0 for line in sale.lines]
    whole = basis or _sane(sum(weights)) or None
    shares = [
        Share(line.product_id, line.sku, max(line.quantity, 0), part, line.price, line.variant)
        for line, part in zip(sale.lines, shared(whole or 0, weights), strict=True)
    ]
    return Worth(points, counted, whole, sale.currency if whole else None, shares)
