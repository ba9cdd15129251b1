"""How far it is to the next tier, and what keeps this one. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from domain.tier_histories import INSTANT, TierHistory


@dataclass(frozen=True, slots=True)
class Goal:
    """A tier, the figure it takes, the figure so far, and what is missing of it. `by`: until when it counts."""

    tier: str
    threshold: int
    figure: int
    by: datetime | None = None

    @property
    def missing(self) -> int:
        """How much is still to come."""
        return max(0, self.threshold - self.figure)


@dataclass(frozen=True, slots=True)
class Progress:
    """`next` None: this is the highest tier. `keep` None: nothing is needed to keep this one."""

    next: Goal | None = None
    keep: Goal | None = None


def tier_progress(history: TierHistory, as_of: datetime) -> Progress:
    """What a customer has to do, at the end of the history, to rise and not to fall; overrides aside."""
    rules, standing, figures = history.rules, history.standing, history.figures
    if rules is None or standing is None or figures is None:
        return Progress()
    above, keep = standing.rank + 1, None
    if standing.period is not None:
        level, by = rules.levels[standing.rank], standing.grace_until or standing.period.end
        keep = Goal(level.tier, level.threshold, figures.keeping(standing.period, as_of + INSTANT), by)
    if above == len(rules.levels):
        return Progress(keep=keep)
    level = rules.levels[above]
    return Progress(Goal(level.tier, level.threshold, figures.reached(as_of)), keep)
