"""What a deployment does for itself every few moments: a Temporal Schedule starts this workflow anew each time."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from pydantic import BaseModel, ConfigDict

    from activities.messages import MessageActivities, SettleInput
    from activities.reconciliation import Reconciled, ReconcileInput, ReconciliationActivities
    from activities.retention import ForgetInput, RetentionActivities
    from domain.upkeep import UPKEEP, UPKEEP_LASTS
    from workflows.activity_options import MESSAGES_QUEUE, sweep

EVERY = timedelta(seconds=30)
"""From pass to pass: what ops do in Temporal is to show in the run's row within a minute, visibility's lag included."""


class UpkeepDone(BaseModel):
    """What the next pass goes on from, also when the next workflow makes it."""

    model_config = ConfigDict(frozen=True)

    as_of: datetime
    after: UUID | None = None  # where the sweep of active runs goes on


@workflow.defn(name=UPKEEP)
class UpkeepWorkflow:
    """Pass after pass. A part that fails leaves the others alone and is tried again by the next pass."""

    @workflow.run
    async def run(self) -> UpkeepDone:
        """Make passes until the next workflow is due. The schedule starts it even if the last pass took long."""
        started = workflow.now()
        known = workflow.get_last_completion_result(UpkeepDone) or UpkeepDone(as_of=started - timedelta(hours=1))
        known = await self._pass(known)
        await self._forget(ForgetInput(as_of=started))
        while workflow.now() - started < UPKEEP_LASTS - EVERY:
            await workflow.sleep(EVERY, summary="until the next pass")
            known = await self._pass(known)
        return known

    async def _pass(self, before: UpkeepDone) -> UpkeepDone:
        """Reconcile runs with their workflows, and settle messages that a crash left half sent."""
        as_of = workflow.now()
        reconciled = await self._reconcile(ReconcileInput(since=before.as_of, as_of=as_of, after=before.after))
        await self._settle(SettleInput(as_of=as_of))
        return before if reconciled is None else UpkeepDone(as_of=as_of, after=reconciled.after)

    async def _reconcile(self, asked: ReconcileInput) -> Reconciled | None:
        try:
            return await workflow.execute_activity_method(
                ReconciliationActivities.reconcile_runs, asked, **sweep("compare runs with workflows")
            )
        except ActivityError:
            return None

    async def _settle(self, asked: SettleInput) -> None:
        try:
            await workflow.execute_activity_method(
                MessageActivities.settle_messages, asked, **sweep("settle messages", task_queue=MESSAGES_QUEUE)
            )
        except ActivityError:
            return

    async def _forget(self, asked: ForgetInput) -> None:
        """Once in a workflow is often enough: ages are counted in days."""
        try:
            await workflow.execute_activity_method(
                RetentionActivities.forget_decisions, asked, **sweep("forget old decisions")
            )
        except ActivityError:
            return
