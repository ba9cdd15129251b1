"""What the routes of journeys at run time take and answer: entering, explain, funnel."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.run_answers import RunAnswer
from database.journeys import EntryDecision
from database.run_changes import RunChange, RunChangeKind
from domain.document import AnyObject
from domain.funnels import Funnel, StepCounts
from domain.journeys.definition import JourneyDefinition


class EnterWish(BaseModel):
    """The customer (by the shop's own id) that a call names, and what the run's `entry.properties` shall be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    customer_id: str = Field(min_length=1, max_length=1_000)
    properties: AnyObject = {}


class EnterAnswer(BaseModel):
    """Whether the customer entered; if not, which rule kept them out (`failed_leaf` points into the document)."""

    entered: bool
    reason: str | None = None
    failed_leaf: str | None = None
    run: RunAnswer | None = None


class Consideration(BaseModel):
    """One event that could have started a run, and what came of it."""

    at: datetime
    event_id: UUID
    version: int
    outcome: str
    reason: str | None
    failed_leaf: str | None
    run_id: UUID | None

    @classmethod
    def of(cls, row: EntryDecision) -> Self:
        """From the row."""
        return cls(**{name: getattr(row, name) for name in cls.model_fields})


class Explanation(BaseModel):
    """Why a customer is in a journey or is not. From before `considered_since` only entries are known."""

    journey: str
    customer_id: str
    entered: bool
    runs: list[RunAnswer]
    considered: list[Consideration]
    considered_since: datetime


class FunnelStep(BaseModel):
    """How many runs reached a step and what became of them there."""

    step: str
    kind: str
    name: str | None
    reached: int
    waiting: int
    done: int
    skipped: dict[str, int]
    failed: int


class FunnelCounts(BaseModel):
    """The counts of one group of runs; `untrusted` ones skip their steps of value."""

    entered: int
    untrusted: int
    active: int
    completed: int
    failed: int
    exited: dict[str, int]
    converted: int
    steps: list[FunnelStep]

    @classmethod
    def of(cls, funnel: Funnel, definition: JourneyDefinition, **rest: Any) -> Self:
        """From the counts, with the steps in the order they are written."""
        steps = [
            FunnelStep(
                step=step.id or "", kind=step.kind, name=step.name,
                **_counts(funnel.steps.get(step.id or "", StepCounts())),
            )
            for step in definition.walk()
        ]  # fmt: skip
        return cls(
            entered=funnel.entered,
            untrusted=funnel.untrusted,
            active=funnel.active,
            completed=funnel.completed,
            failed=funnel.failed,
            exited=funnel.exited,
            converted=funnel.converted,
            steps=steps,
            **rest,
        )


class FunnelAnswer(FunnelCounts):
    """The funnel of a version. The holdout walks in shadow and is counted apart."""

    version: int
    holdout: FunnelCounts


class RunChangeAnswer(BaseModel):
    """What was decided about a journey's runs. `done_at` null: it is still being carried out."""

    change: RunChangeKind
    steps: list[str] | None = Field(description="The steps at which the runs stood; null: wherever.")
    before_version: int = Field(description="It concerns runs of earlier versions; a move takes them to this one.")
    runs: int = Field(description="How many there were when it was decided.")
    carried_out: int
    decided_at: datetime
    done_at: datetime | None

    @classmethod
    def of(cls, row: RunChange) -> Self:
        """From the row."""
        return cls(
            change=RunChangeKind(row.kind),
            steps=row.steps,
            before_version=row.before,
            runs=row.runs,
            carried_out=row.carried_out,
            decided_at=row.decided_at,
            done_at=row.done_at,
        )


def _counts(counts: StepCounts) -> dict[str, Any]:  # the numbers of a FunnelStep
    return {
        "reached": counts.reached,
        "waiting": counts.waiting,
        "done": counts.done,
        "skipped": counts.skipped,
        "failed": counts.failed,
    }
