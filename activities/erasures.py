"""Carrying out an erasure: the customer's workflows, rows, and the search that proves that nothing is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Final
from uuid import UUID

from sqlalchemy import select
from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from activities.executions import delete_execution
from database.erasure_rules import blank_rows, find_traces, remove_rows, remove_some_events
from database.erasures import Traces, add_to_proof, complete_erasure, find_erasure, start_erasure
from database.runs import Run
from database.session import Database
from domain.erasures import ErasureInput, ProofInput

POLL_SECONDS: Final = 0.5
POLLS: Final = 60


class ErasureActivities:
    """`client` is of the namespace where journeys run."""

    def __init__(self, database: Database, client: Client) -> None:
        self._database = database
        self._client = client

    @activity.defn
    async def delete_executions(self, erasure: ErasureInput) -> None:
        """Delete every execution of the customer's runs, running or closed; done when Temporal has forgotten them."""
        traces = await self._traces(erasure.erasure_id)
        if traces is None:
            return
        executions = {each async for each in self._executions(traces)}
        for workflow_id, run_id in executions:
            await delete_execution(self._client, workflow_id, run_id)
            activity.heartbeat()
        await self._wait_until_forgotten(traces)
        async with self._database.transaction() as session:
            await add_to_proof(session, erasure.erasure_id, "workflows", {"deleted": len(executions)})

    @activity.defn
    async def remove_records(self, erasure: ErasureInput) -> None:
        """Remove events in portions, then the other rows in one transaction, blanking what reports need."""
        traces = await self._traces(erasure.erasure_id)
        if traces is None:
            return
        while await self._remove_some_events(erasure.erasure_id, traces):
            activity.heartbeat()
        async with self._database.transaction() as session:
            await session.take_long()
            removed = await remove_rows(session, traces)
            await add_to_proof(session, erasure.erasure_id, "removed", removed)
            blanked = await blank_rows(session, traces.customers)
            await add_to_proof(session, erasure.erasure_id, "blanked", blanked)

    @activity.defn
    async def prove(self, proof: ProofInput) -> bool:
        """Search Temporal and every table. True when the job is complete: nothing found, or it was the last round."""
        traces = await self._traces(proof.erasure_id)
        if traces is None:
            return True
        async with self._database.read() as session:
            await session.take_long()
            found = await find_traces(session, traces)
        if left := [each async for each in self._listed(traces)]:
            found["temporal"] = len(left)
        if found and not proof.last:
            return False
        async with self._database.transaction() as session:
            await complete_erasure(session, proof.erasure_id, found, proof.as_of)
        return True

    async def _traces(self, erasure_id: UUID) -> Traces | None:
        async with self._database.transaction() as session:
            if await find_erasure(session, erasure_id) is None:
                raise ApplicationError("no such erasure", type="erasure_unknown", non_retryable=True)
            return await start_erasure(session, erasure_id)

    async def _remove_some_events(self, erasure_id: UUID, traces: Traces) -> int:
        async with self._database.transaction() as session:
            await session.take_long()
            removed = await remove_some_events(session, traces)
            await add_to_proof(session, erasure_id, "removed", {"events": removed})
        return removed

    async def _executions(self, traces: Traces) -> AsyncIterator[tuple[str, str]]:
        """Those that Temporal lists, and those so young that its list does not have them yet."""
        async for execution in self._listed(traces):
            yield execution
        async with self._database.read() as session:
            statement = select(Run.workflow_id).where(
                Run.customer_id.in_(traces.customers), Run.first_run_id.is_not(None)
            )
            workflow_ids = (await session.execute(statement)).scalars().all()
        for workflow_id in workflow_ids:
            if run_id := await self._current_run(workflow_id):
                yield workflow_id, run_id

    async def _listed(self, traces: Traces) -> AsyncIterator[tuple[str, str]]:
        for query in _queries(traces.customers):
            async for execution in self._client.list_workflows(query):
                yield execution.id, execution.run_id

    async def _current_run(self, workflow_id: str) -> str | None:
        try:
            return (await self._client.get_workflow_handle(workflow_id).describe()).run_id
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise

    async def _wait_until_forgotten(self, traces: Traces) -> None:
        for _ in range(POLLS):
            if not [each async for each in self._listed(traces)]:
                return
            activity.heartbeat()
            await asyncio.sleep(POLL_SECONDS)
        raise ApplicationError("Temporal still lists workflows of the customer", type="executions_remain")


def _queries(customers: Iterable[UUID]) -> list[str]:
    return [f'CustomerId = "{customer}"' for customer in customers]
