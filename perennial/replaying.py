"""Replaying live histories on this code: the check before a deployment that it strands no run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from temporalio.client import Client, WorkflowHistory
from temporalio.service import RPCError
from temporalio.worker import Replayer

from database.definitions import load_from
from domain.errors import Unavailable
from domain.journeys.library import DefinitionLibrary, install
from perennial import temporal
from perennial.composition import open_database
from perennial.settings import Settings
from perennial.workers import WORKFLOWS
from workflows.sandbox import sandbox


@dataclass(frozen=True, slots=True)
class Replayed:
    """One run; `fault` says what would go wrong on this code, None when nothing does."""

    workflow_id: str
    fault: str | None

    @property
    def is_fine(self) -> bool:
        """Whether the run would go on as it has begun."""
        return self.fault is None


async def replay_live(
    settings: Settings, query: str, limit: int, *, tell: Callable[[Replayed], None]
) -> list[Replayed]:
    """Replay the runs that the query finds, the latest first; raises Unavailable when Temporal does not answer."""
    async with open_database(settings, "replay") as database:
        install(DefinitionLibrary(load_from(database, asyncio.get_running_loop())))
        try:
            client = await temporal.connect(settings.temporal_address, settings.temporal_namespace)
            return await replay(_histories(client, query, limit), tell=tell)
        except (RPCError, RuntimeError) as error:
            raise Unavailable(f"Temporal at {settings.temporal_address} does not answer: {error}") from None


async def replay(histories: AsyncIterator[WorkflowHistory], *, tell: Callable[[Replayed], None]) -> list[Replayed]:
    """Replay each history. Their definitions come from the library that is installed in this process."""
    replayer = Replayer(workflows=WORKFLOWS, workflow_runner=sandbox(), data_converter=temporal.DATA_CONVERTER)
    replayed = []
    async with replayer.workflow_replay_iterator(histories) as results:
        async for result in results:
            fault = result.replay_failure
            replayed.append(Replayed(result.history.workflow_id, str(fault) if fault else None))
            tell(replayed[-1])
    return replayed


async def _histories(client: Client, query: str, limit: int) -> AsyncIterator[WorkflowHistory]:
    async for execution in client.list_workflows(query, limit=limit):
        yield await client.get_workflow_handle(execution.id, run_id=execution.run_id).fetch_history()
