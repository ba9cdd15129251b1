"""One measured figure, beside the floor that was measured in the same run and the aim that we set ourselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Better(StrEnum):
    """Which way is good."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True, slots=True)
class Figure:
    """`value` in `unit`; `floor` is what a bare program without the product reached with the same work.

    `aim` is compared with the ratio where there is a floor, else with the value; None is for figures that only inform.
    """

    name: str
    value: float
    unit: str
    floor: float | None = None
    floor_is: str = ""
    aim: float | None = None
    better: Better = Better.HIGHER

    @property
    def ratio(self) -> float | None:
        """The value as a share of its floor."""
        return None if not self.floor else self.value / self.floor

    @property
    def is_met(self) -> bool | None:
        """Whether the aim is reached; None without one."""
        if self.aim is None:
            return None
        judged = self.value if self.ratio is None else self.ratio
        return judged >= self.aim if self.better is Better.HIGHER else judged <= self.aim

    @property
    def aim_text(self) -> str:
        """The aim as a person reads it: `≥ 0.5 of the floor`."""
        if self.aim is None:
            return ""
        sign = "≥" if self.better is Better.HIGHER else "≤"
        return f"{sign} {self.aim:g} of the floor" if self.floor else f"{sign} {self.aim:,g} {self.unit}"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of all values do not exceed (nearest rank)."""
    if not values:
        raise ValueError("a percentile needs at least one value")
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * round(share * 1_000) // 1_000))
    return ordered[rank - 1]
