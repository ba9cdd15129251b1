"""What the workflow and the activities of a run say to each other: ids, times and decisions, never personal data."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pydantic import BaseModel, ConfigDict

HOLDOUT = "holdout"
"""The reason of every effect that a holdout's run would have had."""


UNTRUSTED = "untrusted"
"""Why a step gives nothing: what a browser led to creates nothing of value."""


SUPERSEDED = "superseded"
"""Why a run that a browser began is over: trusted facts have led the customer to the same turn."""

ALREADY_DONE = "already_done"
"""Why a moved run leaves a step out: it did it before a new version placed it where the run has yet to come."""


DATE_MISSING = "date_missing"
"""Why a wait for a date is skipped: the date is missing or cannot be read. Releases before skipped it with the detail
as the reason and went on, and histories of theirs still do."""


class Doubt(StrEnum):
    """What would have come out otherwise on trusted facts alone, and so made a run untrusted."""

    EVENT = "event"
    AUDIENCE = "audience"
    DATE = "date"
    CONDITION = "condition"
    MESSAGE = "message"
    CALL = "call"


def doubted(by: Doubt, at: datetime, step: str | None = None) -> dict[str, str | None]:
    """Where and why a run became untrusted, as its row keeps it; no step: at its entry."""
    return {"by": by, "step": step, "at": at.isoformat()}


def silenced(by: str, event_id: UUID | None, at: datetime) -> dict[str, str]:
    """Which exit a browser's event would have been, as the run's row keeps it; no event: a condition's."""
    told = {} if event_id is None else {"event_id": str(event_id)}
    return {"reason": by, **told, "at": at.isoformat()}


LONGEST_CHAIN = 10
"""Runs that started one another by `emit` and `start`; deeper ones emit nothing: that is the guard against loops."""


class Wire(BaseModel):
    """A frozen message between workflow and activity; new fields get defaults."""

    model_config = ConfigDict(frozen=True)


class RunState(StrEnum):
    """Where a run is in its life; every state but `active` is final."""

    ACTIVE = "active"
    COMPLETED = "completed"
    EXITED = "exited"
    FAILED = "failed"


class OutcomeKind(StrEnum):
    """What became of a step."""

    DONE = "done"
    SKIPPED = "skipped"  # on purpose, with a reason: consent, cap, freshness, ...
    FAILED = "failed"  # it was tried and will not succeed
    EXITED = "exited"  # the run's row says that the run is over
    HELD = "held"  # the journey is paused or its customer restricted: wait for a wake, then ask again
    LATER = "later"  # not before `at`, or not before a wake: stand, then ask again


class Execution(Wire):
    """Which Temporal execution speaks. A reset keeps `first_run_id` and changes `run_id`, but continues nothing."""

    first_run_id: str
    run_id: str
    continued_run_id: str | None = None


class PassedStep(Wire):
    """A step without an effect (`goto`) that was passed; the next local activity writes it to the run log."""

    step: str
    visit: int
    at: datetime
    kind: OutcomeKind
    reason: str | None = None


class StepInput(Wire):
    """Which step of which run to perform. The activity reads the step's body from the run's pinned version."""

    run_id: UUID
    step: str
    visit: int
    as_of: datetime
    execution: Execution | None = None
    passed: tuple[PassedStep, ...] = ()


class StepOutcome(Wire):
    """The answer of every step's activity.

    `arm` is the chosen arm of a branch, split or wait_for (its position, or the variant's name), None for none.
    `at` is when to ask again, None for "after a wake". `zone` is the IANA zone in which people read `at`. `look` is
    when to ask before that, since time alone may have made a condition true.
    `version` is the version that the run's row is pinned to; None means that it has not changed.
    """

    kind: OutcomeKind
    reason: str | None = None
    at: datetime | None = None
    look: datetime | None = None
    arm: str | None = None
    zone: str | None = None
    version: int | None = None


class Ending(Wire):
    """How a walk ended. `recorded` means that the run's row says so already and nothing is left to write."""

    state: RunState
    reason: str | None = None
    step: str | None = None
    visit: int = 1
    recorded: bool = False


class FinishInput(Wire):
    """Write the end of a run to its row, unless it has ended before."""

    run_id: UUID
    ending: Ending
    as_of: datetime
    execution: Execution | None = None
    passed: tuple[PassedStep, ...] = ()


class FailInput(Wire):
    """Write to the run log that a step's activity gave up, with the error's code."""

    at: StepInput
    code: str


class Position(Wire):
    """The interpreter's place, carried over continue-as-new: the step to perform next, and all visits so far."""

    step: str
    visits: dict[str, int]


class JourneyInput(Wire):
    """The one argument of a journey's workflow."""

    run_id: UUID
    customer_id: UUID
    journey: str
    version: int
    position: Position | None = None
    passed: tuple[PassedStep, ...] = ()
