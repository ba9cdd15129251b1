"""Thresholds of points that journeys enter on, and the names of the events that tell of them. Apart from the ledger."""

from __future__ import annotations

from typing import Literal, NamedTuple, assert_never

POINTS_REACHED = "Points Reached"
POINTS_FELL_BELOW = "Points Fell Below"
"""A figure of a customer's points came up to a threshold, or dropped under it. Both say which figure and how far."""

PointsFigure = Literal["available", "pending", "earned", "spent"]
Change = Literal["reaches", "falls_below"]

EVENT_OF: dict[Change, str] = {"reaches": POINTS_REACHED, "falls_below": POINTS_FELL_BELOW}


class Threshold(NamedTuple):
    """What a journey waits for: a figure that reaches so many points, or falls below them."""

    figure: PointsFigure
    change: Change
    points: int

    def is_crossed(self, before: int, after: int) -> bool:
        """Whether the figure was on the one side and is on the other."""
        match self.change:
            case "reaches":
                return before < self.points <= after
            case "falls_below":
                return after < self.points <= before
        assert_never(self.change)
