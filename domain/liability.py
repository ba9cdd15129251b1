"""What outstanding points will cost: exact rates, rounded once, half-even, to the minor unit."""

from __future__ import annotations

from fractions import Fraction


def rate(part: int, whole: int) -> Fraction | None:
    """A share of points; None where there is nothing to share (metrics: null, never 0)."""
    return Fraction(part, whole) if whole > 0 else None


def expected_redemption(redeemed: int, expired: int) -> Fraction | None:
    """The share of points that was redeemed among those whose end is known: the ultimate redemption rate so far."""
    return rate(redeemed, redeemed + expired)


def liability(outstanding: int, cost_per_point: Fraction, expected: Fraction | None) -> int:
    """`outstanding points x cost per point x expected redemption rate`, in minor units; with no past all are redeemed.

    Source: IFRS 15 B40-B42 and ASC 606 example 52, as simplified in the metrics.
    """
    return round(max(outstanding, 0) * cost_per_point * (Fraction(1) if expected is None else expected))
