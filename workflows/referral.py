"""A referral's hold: a timer until the return window is over, then both sides are rewarded."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.referrals import ReferralActivities
    from domain.referral_holds import REFERRAL_HOLD, ReferralDue, ReferralHold
    from workflows.activity_options import rewarding


@workflow.defn(name=REFERRAL_HOLD)
class ReferralHoldWorkflow:
    """Whatever happens during the hold changes the row; at its end the row is asked what is due."""

    @workflow.run
    async def run(self, hold: ReferralHold) -> bool:
        """Whether both sides were rewarded."""
        workflow.set_current_details(f"the hold ends at {hold.due_at.isoformat()}")
        left = hold.due_at - workflow.now()
        if left.total_seconds() > 0:
            await workflow.sleep(left, summary="until the return window is over")
        due = ReferralDue(referral_id=hold.referral_id, as_of=workflow.now())
        return await workflow.execute_activity_method(
            ReferralActivities.reward_referral, due, **rewarding("reward both sides of a referral")
        )
