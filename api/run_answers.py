"""How runs are shown: to marketers by step and reason, to ops with the link to the run in Temporal's UI."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel

from api.dependencies import ApiDependencies
from database.run_lists import ShownRun
from database.runs import Run, RunStep
from domain.runs import Doubt, RunState


class TemporalRun(BaseModel):
    """Where Temporal holds a run. `run_id` is null until its workflow has started."""

    workflow_id: str
    run_id: str | None
    url: str


class DoubtAnswer(BaseModel):
    """What would have come out otherwise on trusted facts alone, at which step (null: at the entry) and when."""

    by: Doubt
    step: str | None
    at: datetime


class SilenceAnswer(BaseModel):
    """Which exit a browser reported, by which event and when. No message leaves until the run has given something."""

    reason: str
    event_id: UUID
    at: datetime


class RunAnswer(BaseModel):
    """One run: a customer's way through one version of a journey. Untrusted runs skip their steps of value."""

    id: UUID
    customer_id: str
    journey: str
    version: int
    occasion: str
    state: RunState
    reason: str | None
    step: str | None
    waiting_for: dict[str, Any] | None
    holdout: bool
    trusted: bool
    untrusted: DoubtAnswer | None
    silenced: SilenceAnswer | None
    entered_at: datetime
    ended_at: datetime | None
    converted_at: datetime | None
    temporal: TemporalRun

    @classmethod
    def of(cls, shown: ShownRun, dependencies: ApiDependencies) -> Self:
        """From the row."""
        return cls(**_members(shown, dependencies))


class StepAnswer(BaseModel):
    """One entry of the run log."""

    step: str
    visit: int
    kind: str
    reached_at: datetime
    at: datetime | None
    outcome: str
    reason: str | None
    detail: dict[str, Any]

    @classmethod
    def of(cls, row: RunStep) -> Self:
        """From the row."""
        return cls(**{name: getattr(row, name) for name in cls.model_fields})


class RunWithLog(RunAnswer):
    """One run with what happened at each step."""

    entry: dict[str, Any]
    variants: dict[str, Any]
    moves: list[Any]
    steps: list[StepAnswer]

    @classmethod
    def of_log(cls, shown: ShownRun, log: Sequence[RunStep], dependencies: ApiDependencies) -> Self:
        """From the row and its log."""
        run = shown.run
        steps = [StepAnswer.of(row) for row in log]
        return cls(
            **_members(shown, dependencies), entry=run.entry, variants=run.variants, moves=run.moves, steps=steps
        )


def _members(shown: ShownRun, dependencies: ApiDependencies) -> dict[str, Any]:  # the members of RunAnswer
    run = shown.run
    return {
        "id": run.id,
        "customer_id": shown.external_id or str(run.customer_id),
        "journey": run.journey,
        "version": run.version,
        "occasion": run.occasion,
        "state": RunState(run.state),
        "reason": run.note or run.reason,
        "step": run.step,
        "waiting_for": run.waiting_for,
        "holdout": run.shadow,
        "trusted": run.trusted,
        "untrusted": _doubt(run),
        "silenced": SilenceAnswer(**run.silenced) if run.silenced else None,
        "entered_at": run.entered_at,
        "ended_at": run.ended_at,
        "converted_at": run.converted_at,
        "temporal": _temporal(shown, dependencies),
    }


def _doubt(run: Run) -> DoubtAnswer | None:
    """Of runs that began under an earlier release nothing is written down but the trust of their entry event."""
    if run.untrusted is not None:
        return DoubtAnswer(**run.untrusted)
    return None if run.trusted else DoubtAnswer(by=Doubt.EVENT, step=None, at=run.entered_at)


def _temporal(shown: ShownRun, dependencies: ApiDependencies) -> TemporalRun:
    run = shown.run
    execution = run.execution_id or run.first_run_id
    url = dependencies.temporal_ui.workflow(run.workflow_id, execution)
    return TemporalRun(workflow_id=run.workflow_id, run_id=execution, url=url)
