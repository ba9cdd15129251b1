"""What is asked and answered about earning: a cart's preview, a dry run over history, a customer's decisions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from database.earnings import Earning
from domain.conditions.operators import NameText
from domain.document import AnyObject
from domain.earning import Decision, Factor
from domain.instants import Instant
from domain.trials import Trial


class EarningWish(BaseModel):
    """An event that has not happened: what would it earn?"""

    model_config = ConfigDict(extra="forbid")

    event: NameText = "Order Completed"
    properties: AnyObject = Field(default={}, description="As the event would carry them.")
    customer_id: Annotated[str, Field(min_length=1, max_length=255)] | None = Field(
        default=None, description="Whose tier, limits and history count; absent: somebody new."
    )
    draft: bool = Field(default=False, description="Ask the draft, also where a version is live.")


class FactorAnswer(BaseModel):
    """A multiplier that counted, by its place in the programme or by what raised it; `by` is an exact fraction."""

    place: str
    by: str

    @classmethod
    def of(cls, factor: Factor) -> Self:
        """From the decision."""
        return cls(place=factor.place, by=str(factor.by))


class RuleAnswer(BaseModel):
    """What one rule would pay, and why. `wanted` is the amount before its limit, `exact` before rounding."""

    rule: str
    name: str | None
    points: int
    reason: str | None
    failed: str | None
    wanted: int
    exact: str
    counted: int | None
    factors: list[FactorAnswer]
    activates_at: datetime | None
    expires_at: datetime | None

    @classmethod
    def of(cls, decision: Decision, name: str | None) -> Self:
        """From the decision."""
        return cls(
            rule=decision.rule,
            name=name,
            points=decision.points,
            reason=decision.reason,
            failed=decision.failed,
            wanted=decision.wanted,
            exact=str(decision.exact),
            counted=decision.worth.counted if decision.worth else None,
            factors=[FactorAnswer.of(factor) for factor in decision.factors],
            activates_at=decision.activates_at,
            expires_at=decision.expires_at,
        )


class PreviewAnswer(BaseModel):
    """The points that the event would earn, by rule. `version` is null for a draft."""

    programme: str
    version: int | None
    points: int
    tier: str | None
    rules: list[RuleAnswer]


class TrialWish(BaseModel):
    """The period whose recorded events the draft is tried on: from `from` on, before `to`."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    start: Instant = Field(alias="from")
    end: Instant = Field(alias="to")


class TrialRule(BaseModel):
    """What one rule would have paid, how often, and why not."""

    rule: str
    paid: int
    points: int
    unpaid: dict[str, int]


class TrialSample(BaseModel):
    """One of the decisions."""

    customer_id: str | None
    event: str
    at: datetime
    rule: str
    points: int
    reason: str | None


class TrialAnswer(BaseModel):
    """What the draft would have paid for what was recorded, next to what was really paid for it (`paid_then`)."""

    start: datetime = Field(serialization_alias="from")
    end: datetime = Field(serialization_alias="to")
    events: int
    customers: int
    points: int
    paid_then: int
    rules: list[TrialRule]
    samples: list[TrialSample]
    is_complete: bool
    assumptions: list[str]

    @classmethod
    def of(cls, wish: TrialWish, trial: Trial, paid_then: int, *, is_complete: bool) -> Self:
        """From the trial."""
        return cls(
            start=wish.start,
            end=wish.end,
            events=trial.events,
            customers=len(trial.customers),
            points=sum(rule.points for rule in trial.rules.values()),
            paid_then=paid_then,
            rules=[
                TrialRule(rule=name, paid=rule.paid, points=rule.points, unpaid=dict(rule.unpaid))
                for name, rule in trial.rules.items()
            ],
            samples=[_sample(decision, trial) for decision in trial.samples],
            is_complete=is_complete,
            assumptions=ASSUMPTIONS,
        )


ASSUMPTIONS = [
    "Traits are those of now.",
    "Limits, tiers and points earned begin as they were when the period began, and follow the draft from there.",
    "Refunds are not taken off; tiers follow them.",
]


def _sample(decision: Decision, trial: Trial) -> TrialSample:
    event = decision.event
    return TrialSample(
        customer_id=trial.names.get(event.customer_id),
        event=event.name,
        at=event.at,
        rule=decision.rule,
        points=decision.points,
        reason=decision.reason,
    )


class EarningAnswer(BaseModel):
    """One decision about one event. `points` were paid; `taken_back` of them went again with refunds."""

    id: UUID
    rule: str
    version: int
    event_id: UUID
    at: datetime
    decided_at: datetime
    late: bool
    points: int
    taken_back: int
    reason: str | None
    wanted: int
    exact: str | None
    counted: int | None
    factors: list[FactorAnswer]
    failed: str | None
    tier: str | None
    order_id: str | None
    activates_at: datetime | None
    expires_at: datetime | None

    @classmethod
    def of(cls, row: Earning) -> Self:
        """From the row."""
        factors: Sequence[dict[str, str]] = row.inputs.get("factors") or ()
        return cls(
            id=row.id,
            rule=row.rule,
            version=row.version,
            event_id=row.event_id,
            at=row.at,
            decided_at=row.decided_at,
            late=row.is_late,
            points=row.points,
            taken_back=row.taken_back,
            reason=row.reason,
            wanted=row.wanted,
            exact=row.inputs.get("exact"),
            counted=row.inputs.get("counted"),
            factors=[FactorAnswer(**factor) for factor in factors],
            failed=row.inputs.get("failed"),
            tier=row.tier,
            order_id=row.order_id,
            activates_at=row.activates_at,
            expires_at=row.expires_at,
        )
