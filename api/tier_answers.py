"""Shapes of tiers in the API."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from database.tier_trials import Move, Trial
from database.tiers import Ladder, TierOverride
from domain.instants import Instant
from domain.programmes.definition import Tiers
from domain.tier_histories import Change, Evidence, TierHistory, TierReason
from domain.tier_progress import Goal, tier_progress
from domain.tiers import Measure


class GoalAnswer(BaseModel):
    """A tier and what it takes, in units of the measure. `missing`: how much is still to come."""

    tier: str
    threshold: int
    figure: int
    missing: int
    by: datetime | None = Field(description="Until when it counts: the end of the period, later that of the grace.")

    @classmethod
    def of(cls, goal: Goal) -> Self:
        """From the domain's."""
        return cls(tier=goal.tier, threshold=goal.threshold, figure=goal.figure, missing=goal.missing, by=goal.by)


class ProgressAnswer(BaseModel):
    """`next` is null at the highest tier, `keep` where nothing is needed to keep this one. Overrides aside."""

    next: GoalAnswer | None
    keep: GoalAnswer | None


class EvidenceAnswer(BaseModel):
    """The figure of all that counted from `from` on, and the threshold that it was held to."""

    figure: int
    threshold: int
    start: datetime | None = Field(serialization_alias="from", description="Null: everything ever.")

    @classmethod
    def of(cls, evidence: Evidence) -> Self:
        """From the domain's."""
        return cls(figure=evidence.figure, threshold=evidence.threshold, start=evidence.start)


class PastTier(BaseModel):
    """A tier (null: none) that the customer had from one moment up to another (null: still)."""

    tier: str | None
    start: datetime = Field(serialization_alias="from")
    until: datetime | None
    reason: TierReason
    version: int = Field(description="Of the programme.")
    evidence: EvidenceAnswer | None


class OverrideAnswer(BaseModel):
    """A tier that a person gave."""

    tier: str
    start: datetime = Field(serialization_alias="from")
    until: datetime | None
    reason: str
    author: str = Field(description="The key.")


class TierAnswer(BaseModel):
    """Where a customer stands. All null without a programme that has tiers."""

    tier: str | None = None
    since: datetime | None = Field(default=None, description="Null for whoever never left the lowest tier.")
    measure: Measure | None = None
    currency: str | None = Field(default=None, description="Of a spend, whose figures are its minor units.")
    override: OverrideAnswer | None = None
    progress: ProgressAnswer = ProgressAnswer(next=None, keep=None)
    history: list[PastTier] = Field(default=[], description="The latest first.")


class OverrideRequest(BaseModel):
    """A tier to give, whatever was earned, until `until` (absent: until it is taken away)."""

    model_config = ConfigDict(extra="forbid")

    tier: Annotated[str, Field(min_length=1, max_length=63)]
    reason: Annotated[str, Field(min_length=1, max_length=500)]
    until: Instant | None = None


class DryRunRequest(BaseModel):
    """The tiers to try; absent: those of the programme's draft."""

    model_config = ConfigDict(extra="forbid")

    tiers: Tiers | None = None


class TierMoveAnswer(BaseModel):
    """How many customers would go from one tier to another."""

    start: str | None = Field(serialization_alias="from")
    to: str | None
    customers: int


class DryRunAnswer(BaseModel):
    """Who would move if these tiers were published now.

    `moves` happen at once. `falls` happen when periods end and nothing more has come until then; `falls_now` are those
    under the live tiers, to compare with.
    """

    customers: int = Field(description="With anything that counts, and so looked at.")
    is_sample: bool = Field(description="There are more than were looked at.")
    now: dict[str, int] = Field(description="Customers by tier; those without any under an empty name.")
    then: dict[str, int]
    moves: list[TierMoveAnswer]
    falls: list[TierMoveAnswer]
    falls_now: list[TierMoveAnswer]


def tier_answer(ladder: Ladder, history: TierHistory, overrides: Sequence[TierOverride], as_of: datetime) -> TierAnswer:
    """Where a customer stands at the end of a history."""
    progress = tier_progress(history, as_of)
    measured = ladder.rules.measured
    return TierAnswer(
        tier=history.tier,
        since=history.changes[-1].at if history.changes else None,
        measure=measured.measure,
        currency=measured.currency,
        override=_override(history, overrides),
        progress=ProgressAnswer(
            next=GoalAnswer.of(progress.next) if progress.next else None,
            keep=GoalAnswer.of(progress.keep) if progress.keep else None,
        ),
        history=_past(history.changes),
    )


def _past(changes: Sequence[Change]) -> list[PastTier]:
    ends = [*(change.at for change in changes[1:]), None]
    told = [
        PastTier(
            tier=change.tier,
            start=change.at,
            until=end,
            reason=change.reason,
            version=change.version,
            evidence=EvidenceAnswer.of(change.evidence) if change.evidence else None,
        )
        for change, end in zip(changes, ends, strict=False)
    ]
    return told[::-1]


def _override(history: TierHistory, overrides: Sequence[TierOverride]) -> OverrideAnswer | None:
    current = history.override
    if current is None:
        return None
    row = next(row for row in reversed(overrides) if (row.tier, row.from_at) == (current.tier, current.start))
    return OverrideAnswer(tier=row.tier, start=row.from_at, until=current.end, reason=row.reason, author=row.author)


def dry_run_answer(trial: Trial) -> DryRunAnswer:
    """The counts of a trial, the most customers first."""
    return DryRunAnswer(
        customers=trial.customers,
        is_sample=trial.is_sample,
        now=dict(trial.now),
        then=dict(trial.then),
        moves=_moves(trial.moves),
        falls=_moves(trial.falls),
        falls_now=_moves(trial.falls_now),
    )


def _moves(counted: Counter[Move]) -> list[TierMoveAnswer]:
    return [TierMoveAnswer(start=start, to=to, customers=count) for (start, to), count in counted.most_common()]
