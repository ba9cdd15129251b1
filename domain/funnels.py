"""How many runs reached which step and what became of them there: counted from rows, or by a simulation."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class StepCounts:
    """How many runs reached a step and what became of them there; a run that loops counts once for each outcome."""

    reached: int = 0
    waiting: int = 0
    done: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    failed: int = 0


@dataclass(slots=True)
class Funnel:
    """The counts of one group of runs: those that are treated, or the holdout. `untrusted`: what browsers told led them
    on, so that their steps of value are skipped.
    """

    entered: int = 0
    untrusted: int = 0
    active: int = 0
    completed: int = 0
    failed: int = 0
    exited: dict[str, int] = field(default_factory=dict)
    converted: int = 0
    steps: dict[str, StepCounts] = field(default_factory=dict)
