"""Erasing a customer: executions in Temporal, then rows, then a search; again while something is found."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.erasures import ErasureActivities
    from domain.erasures import ErasureInput, ProofInput
    from workflows.activity_options import erasing

ROUNDS = 3
"""What was under way when the erasure began (a send, an event in the queue) may still write once; not three times."""
BETWEEN_ROUNDS = timedelta(minutes=1)


@workflow.defn(name="Erasure")
class ErasureWorkflow:
    """Journeys' keys are lower case, so no journey can be named like this workflow."""

    @workflow.run
    async def run(self, erasure: ErasureInput) -> None:
        """Every step may be repeated; a crash anywhere costs time and nothing else."""
        for rounds in range(1, ROUNDS + 1):
            if await self._erase_once(erasure, last=rounds == ROUNDS):
                return
            workflow.set_current_details(f"something was left after round {rounds}; once more in a minute")
            await workflow.sleep(BETWEEN_ROUNDS, summary="once more, for what was under way")

    async def _erase_once(self, erasure: ErasureInput, *, last: bool) -> bool:
        workflow.set_current_details("deleting the customer's workflows")
        await workflow.execute_activity_method(
            ErasureActivities.delete_executions, erasure, **erasing("delete the customer's workflows")
        )
        workflow.set_current_details("removing and blanking rows")
        await workflow.execute_activity_method(
            ErasureActivities.remove_records, erasure, **erasing("remove and blank the customer's rows")
        )
        workflow.set_current_details("searching every table")
        proof = ProofInput(erasure_id=erasure.erasure_id, as_of=workflow.now(), last=last)
        return await workflow.execute_activity_method(
            ErasureActivities.prove, proof, **erasing("search for what is left")
        )
