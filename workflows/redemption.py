"""A redemption that the shop delivers: issued, asked of the shop until it answers, and given back if it refuses.

The database is the truth: whatever a person or the clock does to the redemption meanwhile wins, and this ends.
"""

from __future__ import annotations

from uuid import UUID

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.redemptions import RedemptionActivities
    from domain.redemptions import Answered, Conclusion, RedemptionInput, RedemptionState, RedemptionStep, Standing
    from workflows.activity_options import decision, delivery


@workflow.defn(name="Redemption")
class RedemptionWorkflow:
    """Journeys' keys are lower case, so no journey can be named like this workflow."""

    @workflow.run
    async def run(self, redemption: RedemptionInput) -> Standing:
        """Every step may be repeated: each asks the row first."""
        standing = await self._issue(redemption.redemption_id)
        if standing.state is not RedemptionState.ISSUED:
            return self._ended(standing)
        workflow.set_current_details("asking the shop to deliver")
        answered = await workflow.execute_activity_method(
            RedemptionActivities.ask_shop, redemption, **delivery("ask the shop to deliver")
        )
        return self._ended(await self._conclude(redemption.redemption_id, answered))

    async def _issue(self, redemption_id: UUID) -> Standing:
        workflow.set_current_details("spending the points")
        step = RedemptionStep(redemption_id=redemption_id, as_of=workflow.now())
        return await workflow.execute_local_activity_method(
            RedemptionActivities.issue_redemption, step, **decision("issue it, spending the points")
        )

    async def _conclude(self, redemption_id: UUID, answered: Answered) -> Standing:
        workflow.set_current_details(f"the shop said {answered.answer}")
        step = Conclusion(redemption_id=redemption_id, as_of=workflow.now(), answered=answered)
        return await workflow.execute_local_activity_method(
            RedemptionActivities.conclude_redemption, step, **decision(f"record that the shop said {answered.answer}")
        )

    @staticmethod
    def _ended(standing: Standing) -> Standing:
        waits = ", a person has to look at it" if standing.review else ""
        workflow.set_current_details(f"{standing.state}{waits}")
        return standing
