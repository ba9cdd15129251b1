"""What time does to the loyalty programme, pass by pass: a Temporal Schedule starts this workflow every hour."""

from __future__ import annotations

from datetime import datetime

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from pydantic import BaseModel, ConfigDict

    from activities.settling import SettlingActivities, SettlingStep
    from domain.upkeep import SETTLING, SETTLING_EVERY
    from workflows.activity_options import settling

_SCHEDULED = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")

# In this order: points that become available, then what follows from the state of accounts. Tiers do not read what
# activates or expires, so that accounts are settled in one go (decision 0011).
_STEPS = (
    (SettlingActivities.settle_accounts, "activate, time out and expire points"),
    (SettlingActivities.close_tier_periods, "close the periods of tiers"),
    (SettlingActivities.warn_of_expiry, "tell of points that expire soon"),
    (SettlingActivities.end_referral_holds, "reward referrals whose hold is over"),
    (SettlingActivities.expire_redemptions, "end redemptions whose time is over"),
    (SettlingActivities.close_challenges, "close challenges, leaderboards and contests"),
)


class SettlingInput(BaseModel):
    """Up to when things count as due; by default when the schedule meant this pass to run."""

    model_config = ConfigDict(frozen=True)

    as_of: datetime | None = None


class SettlingDone(BaseModel):
    """What the next pass goes on from."""

    model_config = ConfigDict(frozen=True)

    as_of: datetime


@workflow.defn(name=SETTLING)
class SettlingWorkflow:
    """One pass. A step that fails leaves the others alone; what it left is due in the next pass as well."""

    @workflow.run
    async def run(self, asked: SettlingInput) -> SettlingDone:
        """Take the steps in order, all as of one moment. Missed passes run one after the other, each as of its own."""
        scheduled = workflow.info().typed_search_attributes.get(_SCHEDULED)
        as_of = asked.as_of or scheduled or workflow.now()
        before = workflow.get_last_completion_result(SettlingDone) or SettlingDone(as_of=as_of - SETTLING_EVERY)
        step = SettlingStep(since=before.as_of, as_of=as_of)
        for method, summary in _STEPS:
            try:
                await workflow.execute_activity_method(method, step, **settling(summary))
            except ActivityError:
                workflow.logger.warning("settling_step_failed", extra={"step": summary})
        return SettlingDone(as_of=as_of)
