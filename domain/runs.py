"""What the workflow and the activities of a run say to each other: ids, times and decisions, never personal data."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pydantic import BaseModel, ConfigDict


class Wire(BaseModel):
    """A frozen message between workflow and activity; new fields get defaults."""

    model_config = ConfigDict(frozen=True)


class StepInput(Wire):
    """Which step of which run to perform. The activity reads the step's body from the run's pinned version."""

    run_id: UUID
    step: str
    visit: int
    as_of: datetime


class OutcomeKind(StrEnum):
    """What became of a step."""

    DONE = "done"
    SKIPPED = "skipped"  # on purpose, with a reason: consent, cap, freshness, ...
    FAILED = "failed"  # it was tried and will not succeed
    EXITED = "exited"  # the run's row says that the run is over
    HELD = "held"  # the journey is paused: wait for a wake, then ask again
    LATER = "later"  # not before `at` (quiet hours): wait, then ask again


class StepOutcome(Wire):
    """The answer of every step's activity. `arm` is the chosen arm of a branch or split (its position or variant)."""

    kind: OutcomeKind
    reason: str | None = None
    at: datetime | None = None
    arm: str | None = None


class JourneyInput(Wire):
    """The one argument of a journey's workflow."""

    run_id: UUID
    customer_id: UUID
    journey: str
    version: int
    position: str | None = None  # the interpreter's place, carried over continue-as-new
