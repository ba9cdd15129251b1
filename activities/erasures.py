"""Carrying out an erasure: the customer's workflows, rows, and the search that proves that nothing is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import select
from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from activities.erasure_search import search
from activities.executions import delete_execution
from database.customers import lock
from database.erased_links import forget_some_links
from database.erased_words import blank_words
from database.erasure_rules import (
    ROWS_AT_ONCE,
    Blanking,
    Removal,
    blank_redemptions,
    blank_some_rows,
    blankings,
    removals,
    remove_some_events,
    remove_some_rows,
)
from database.erasure_search import refresh_statistics
from database.erasures import (
    Erasure,
    Traces,
    add_to_proof,
    complete_erasure,
    find_erasure,
    note_executions,
    start_erasure,
)
from database.forfeiting import forfeit_points
from database.runs import Run
from database.session import Database
from domain.erasures import ErasureInput, ProofInput

POLL_SECONDS: Final = 0.5
POLLS: Final = 60
BEAT_SECONDS: Final = 20.0


class ErasureActivities:
    """`client` is of the namespace where journeys run, `portion` how many rows are blanked in a transaction, and
    `beat_seconds` how often Temporal hears that the worker lives."""

    def __init__(
        self, database: Database, client: Client, *, portion: int = ROWS_AT_ONCE, beat_seconds: float = BEAT_SECONDS
    ) -> None:
        self._database = database
        self._portion = portion
        self._beat_seconds = beat_seconds
        self._client = client

    @activity.defn
    async def delete_executions(self, erasure: ErasureInput) -> None:
        """Delete every execution of the customer's runs, running or closed; waits a little until Temporal has forgotten
        them. What it still lists then is found by the search."""
        async with self._beating():
            await self._delete_executions(erasure)

    @activity.defn
    async def remove_records(self, erasure: ErasureInput) -> None:
        """Remove events and other rows in portions, blank what reports need, and take anew the samples that PostgreSQL
        keeps of what was in these tables."""
        async with self._beating():
            await self._remove_records(erasure)

    @activity.defn
    async def prove(self, proof: ProofInput) -> bool:
        """Search Temporal and every table. True when the job is complete: nothing of the person's own was found, or it
        was the last round."""
        async with self._beating():
            return await self._prove(proof)

    async def _delete_executions(self, erasure: ErasureInput) -> None:
        traces = await self._traces(erasure.erasure_id)
        if traces is None:
            return
        executions = {each async for each in self._executions(traces)}
        async with self._database.transaction() as session:
            await note_executions(session, erasure.erasure_id, [run_id for _, run_id in executions])
        for workflow_id, run_id in executions:
            await delete_execution(self._client, workflow_id, run_id)
            activity.heartbeat()
        await self._wait_until_forgotten(traces)

    async def _remove_records(self, erasure: ErasureInput) -> None:
        traces = await self._traces(erasure.erasure_id)
        if traces is None:
            return
        while await self._remove_some_events(erasure.erasure_id, traces):
            activity.heartbeat()
        while await self._forget_some_links(erasure.erasure_id, traces):
            activity.heartbeat()
        for removal in removals(traces):
            while await self._remove_some_rows(erasure.erasure_id, removal) == ROWS_AT_ONCE:
                activity.heartbeat()
        await self._blank(erasure.erasure_id, traces)
        for table in await self._touched(erasure.erasure_id):
            async with self._database.transaction() as session:
                await session.take_long()
                await refresh_statistics(session, table)
            activity.heartbeat()

    async def _prove(self, proof: ProofInput) -> bool:
        traces = await self._traces(proof.erasure_id)
        if traces is None:
            return True
        found = await search(self._database, traces, activity.heartbeat)
        if left := [each async for each in self._listed(traces)]:
            found.own["temporal"] = len(left)
        if found.own and not proof.last:
            return False
        async with self._database.transaction() as session:
            await complete_erasure(session, proof.erasure_id, found.as_proof(), proof.as_of)
            await refresh_statistics(session, Erasure.__tablename__)
        return True

    @asynccontextmanager
    async def _beating(self) -> AsyncIterator[None]:
        """Temporal hears that this worker lives, also while one statement reads a big table or waits for a lock."""
        beat = asyncio.create_task(self._beat())
        try:
            yield
        finally:
            beat.cancel()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._beat_seconds)
            activity.heartbeat()

    async def _blank(self, erasure_id: UUID, traces: Traces) -> None:
        """In portions, so that locks are short. What is blank already is not counted again, whatever was cut off."""
        async with self._database.transaction() as session:
            await session.take_long()
            await lock(session, traces.customers, skip_locked=False)
            await forfeit_points(session, traces.customers, datetime.now(UTC))
            addresses = {"email": traces.addresses, "sms": traces.phones}
            words = await blank_words(session, traces.customers, addresses)
            rows = await blank_redemptions(session, traces.customers)
            counts = rows | {name: count for name, count in words.items() if count}
            await add_to_proof(session, erasure_id, "blanked", counts)
        for blanking in blankings(traces.customers):
            while await self._blank_some(erasure_id, traces, blanking):
                activity.heartbeat()

    async def _blank_some(self, erasure_id: UUID, traces: Traces, blanking: Blanking) -> int:
        async with self._database.transaction() as session:
            await session.take_long()
            await lock(session, traces.customers, skip_locked=False)
            blanked = await blank_some_rows(session, blanking, self._portion)
            await add_to_proof(session, erasure_id, "blanked", {blanking[0].__tablename__: blanked})
        return blanked

    async def _remove_some_rows(self, erasure_id: UUID, removal: Removal) -> int:
        async with self._database.transaction() as session:
            await session.take_long()
            removed = await remove_some_rows(session, removal)
            await add_to_proof(session, erasure_id, "removed", {removal[0].__tablename__: removed})
        return removed

    async def _touched(self, erasure_id: UUID) -> list[str]:
        """The tables in which anything was removed or blanked, also by the request itself (triggers/erasures.py)."""
        async with self._database.read() as session:
            job = await find_erasure(session, erasure_id)
        parts = [] if job is None else [job.proof.get("removed", {}), job.proof.get("blanked", {})]
        touched = {name for counts in parts for name, count in counts.items() if count}
        return sorted(touched | {"identities", "events", "event_keys", "outbox"})

    async def _traces(self, erasure_id: UUID) -> Traces | None:
        async with self._database.transaction() as session:
            if await find_erasure(session, erasure_id) is None:
                raise ApplicationError("no such erasure", type="erasure_unknown", non_retryable=True)
            return await start_erasure(session, erasure_id)

    async def _remove_some_events(self, erasure_id: UUID, traces: Traces) -> int:
        async with self._database.transaction() as session:
            await session.take_long()
            removed = await remove_some_events(session, traces, datetime.now(UTC))
            await add_to_proof(session, erasure_id, "removed", {"events": removed})
        return removed

    async def _forget_some_links(self, erasure_id: UUID, traces: Traces) -> int:
        async with self._database.transaction() as session:
            await session.take_long()
            removed = await forget_some_links(session, traces.customers)
            await add_to_proof(session, erasure_id, "removed", {"links": removed})
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


def _queries(customers: Iterable[UUID]) -> list[str]:
    return [f'CustomerId = "{customer}"' for customer in customers]
