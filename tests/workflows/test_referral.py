"""A referral's hold as a workflow: nothing before its time, a return in the way is waited for, its end is one pass."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from domain.ids import new_id
from domain.referral_holds import ReferralDue, ReferralHold
from workflows.referral import ReferralHoldWorkflow
from workflows.sandbox import sandbox


async def test_both_sides_are_rewarded_when_the_hold_is_over_and_not_a_moment_before(
    time_skipping: WorkflowEnvironment,
) -> None:
    asked: list[ReferralDue] = []

    @activity.defn(name="reward_referral")
    async def reward_referral(due: ReferralDue) -> bool:
        asked.append(due)
        if len(asked) < 3:
            raise ApplicationError("a return waits to be routed", type="return_pending")
        return True

    queue, referral_id = f"queue-{new_id()}", new_id()
    begin = await time_skipping.get_current_time()
    hold = ReferralHold(referral_id=referral_id, due_at=begin + timedelta(days=14))
    async with Worker(
        time_skipping.client,
        task_queue=queue,
        workflows=[ReferralHoldWorkflow],
        activities=[reward_referral],
        workflow_runner=sandbox(),
    ):
        rewarded = await time_skipping.client.execute_workflow(
            ReferralHoldWorkflow.run, hold, id=f"referral/{referral_id}/1", task_queue=queue
        )

    assert rewarded
    assert {due.referral_id for due in asked} == {referral_id}
    assert all(due.as_of >= hold.due_at for due in asked)
    assert len(asked) == 3
