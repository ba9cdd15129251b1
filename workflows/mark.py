"""A mark in Temporal's history: the router keeps its execution's id and sees by it whether Temporal has been lost."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.upkeep import MARK


@workflow.defn(name=MARK)
class MarkWorkflow:
    """Does nothing: that it is there is what counts (triggers/reconciler.py)."""

    @workflow.run
    async def run(self) -> None:
        """End at once."""
