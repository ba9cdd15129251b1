"""Upkeep's passes on the time-skipping server, with activities that only remember when they were asked."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.messages import Settled, SettleInput
from activities.reconciliation import Reconciled, ReconcileInput
from activities.retention import ForgetInput
from domain.ids import new_id
from workflows.sandbox import sandbox
from workflows.upkeep import UpkeepDone, UpkeepWorkflow


class Passes:
    """Stands in for the activities of upkeep under their names."""

    def __init__(self, client: Client) -> None:
        self.reconciled: list[ReconcileInput] = []
        self.settled: list[datetime] = []
        self.forgotten: list[datetime] = []
        self.sweeps: list[UUID | None] = []
        self.fails = 0
        self._client = client

    @activity.defn(name="reconcile_runs")
    async def reconcile_runs(self, asked: ReconcileInput) -> Reconciled:
        self.reconciled.append(asked)
        if self.fails:
            self.fails -= 1
            raise ApplicationError("Temporal's visibility is away")
        return Reconciled(after=self.sweeps.pop(0) if self.sweeps else None)

    @activity.defn(name="settle_messages")
    async def settle_messages(self, asked: SettleInput) -> Settled:
        self.settled.append(asked.as_of)
        return Settled(lost=0, unknown=0, stranded=0)

    @activity.defn(name="forget_decisions")
    async def forget_decisions(self, asked: ForgetInput) -> int:
        self.forgotten.append(asked.as_of)
        return 0

    async def run(self) -> UpkeepDone:
        """One workflow, from its start to its end."""
        return await self._client.execute_workflow(UpkeepWorkflow.run, id=f"upkeep-{uuid.uuid4()}", task_queue="upkeep")


@pytest.fixture
async def passes(time_skipping: WorkflowEnvironment) -> AsyncIterator[Passes]:
    client = time_skipping.client
    passes = Passes(client)
    async with (
        Worker(
            client,
            task_queue="upkeep",
            workflows=[UpkeepWorkflow],
            activities=[passes.reconcile_runs, passes.forget_decisions],
            workflow_runner=sandbox(),
        ),
        Worker(client, task_queue="messages", activities=[passes.settle_messages]),
    ):
        yield passes


async def test_a_pass_every_half_minute_for_ten_minutes_takes_one_line_in_temporals_list(passes: Passes) -> None:
    done = await passes.run()

    times = passes.settled
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert (len(times), len(passes.forgotten)) == (20, 1)
    assert max(gaps) < timedelta(seconds=31)
    assert times[-1] - times[0] > timedelta(minutes=9)
    assert done.as_of == times[-1].astimezone(UTC)


async def test_each_pass_goes_on_where_the_one_before_ended(passes: Passes) -> None:
    passes.sweeps = [reached := new_id()]

    await passes.run()

    first, second, third, *_ = passes.reconciled
    assert (first.after, second.after, third.after) == (None, reached, None)
    assert (second.since, third.since) == (first.as_of, second.as_of)


async def test_what_a_failed_pass_could_not_look_at_the_next_one_does(passes: Passes) -> None:
    passes.fails = 3  # all tries of one pass

    await passes.run()

    *failed, mended = passes.reconciled[:4]
    assert {asked.since for asked in failed} == {mended.since}
    assert mended.as_of > failed[0].as_of
    assert len(passes.settled) == 20
