"""How much of what an order earned is taken back: a pure function of the frozen decision and of all its refunds.

It does not matter in which order refunds come or in how many parts: the target is always worked out from all of them
(Open Loyalty 3 rounded each return by itself, so that seven returns of one took 100.03 of 100 points).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from domain.commerce import RefundFact
from domain.earned_amounts import Share

ORDER_REVISED = "Order Revised"
"""Our own event to the owner of an order that somebody else's event refunded, cancelled or changed: it says which."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """What a decision keeps for refunds: the points paid after clipping, and what for (None: unknown)."""

    points: int
    basis: int | None
    currency: str | None
    shares: Sequence[Share] = ()


def taken_back(frozen: Frozen, refunds: Sequence[RefundFact], *, is_cancelled: bool) -> int:
    """The points of a decision that all these refunds together take back: `floor(points * returned / basis)`."""
    if not frozen.points:
        return 0
    basis = frozen.basis
    if is_cancelled or any(_is_everything(refund) for refund in refunds):
        return frozen.points
    if basis is None:
        return frozen.points if refunds else 0
    refunds = sorted(refunds, key=lambda refund: refund.stamp)
    returned = min(_of_lines(frozen, refunds) + _of_totals(frozen, refunds), basis)
    return frozen.points * returned // basis


def _is_everything(refund: RefundFact) -> bool:
    """It says neither which products nor how much."""
    return not refund.lines and refund.total is None


def _of_totals(frozen: Frozen, refunds: Sequence[RefundFact]) -> int:
    """Amounts of refunds that name no product of the order. Another currency cannot be measured and counts nothing."""
    return sum(
        max(refund.total or 0, 0)
        for refund in refunds
        if not _matched(frozen, refund) and refund.currency in (None, frozen.currency)
    )


def _of_lines(frozen: Frozen, refunds: Sequence[RefundFact]) -> int:
    """The returned pieces' parts of their lines' shares: never more pieces than were bought."""
    pieces: Counter[int] = Counter()
    for refund in refunds:
        for line in _matched(frozen, refund):
            _return(frozen.shares, line, pieces)
    return sum(share.amount * pieces[at] // share.quantity for at, share in enumerate(frozen.shares) if pieces[at])


def _return(shares: Sequence[Share], line: Mapping[str, Any], pieces: Counter[int]) -> None:  # a line of commerce.py
    """Fill the order's lines of this product, in their order; what is more than was bought is no return."""
    left = line["quantity"]
    for at, share in enumerate(shares):
        if _is_of(share, line):
            taken = min(left, share.quantity - pieces[at])
            pieces[at] += taken
            left -= taken


def _matched(frozen: Frozen, refund: RefundFact) -> list[Mapping[str, Any]]:  # lines of commerce.py
    return [line for line in refund.lines if any(_is_of(share, line) for share in frozen.shares)]


def _is_of(share: Share, line: Mapping[str, Any]) -> bool:  # a line of commerce.py
    ids = {share.product_id, share.sku} - {None}
    return line.get("product_id") in ids or line.get("sku") in ids
