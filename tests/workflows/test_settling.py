"""The time jobs of the programme as a workflow on a schedule."""

from __future__ import annotations

from datetime import timedelta

from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.settling import SettlingActivities
from database.session import Database
from tests.activities.test_settling import DAY, credit, move, stored
from tests.factories import NOON, make_customer
from triggers.commands import put_schedule
from triggers.standing_schedules import SETTLING_SCHEDULE, STANDING
from workflows.sandbox import sandbox
from workflows.settling import SettlingInput, SettlingWorkflow


async def test_a_pass_settles_as_of_one_moment(time_skipping: WorkflowEnvironment, database: Database) -> None:
    ann = await make_customer(database, "ann")
    await move(database, credit(ann, 100, "a", expires=NOON + DAY))
    activities = SettlingActivities(database)
    async with Worker(
        time_skipping.client,
        task_queue="loyalty",
        workflows=[SettlingWorkflow],
        activities=[activities.settle_accounts, activities.warn_of_expiry],
        workflow_runner=sandbox(),
    ):
        for as_of in (NOON + DAY - timedelta(seconds=1), NOON + DAY):
            done = await time_skipping.client.execute_workflow(
                SettlingWorkflow.run, SettlingInput(as_of=as_of), id=f"loyalty/{as_of}", task_queue="loyalty"
            )
            assert done.as_of == as_of
            assert (await stored(database, ann)).expired == (100 if as_of == NOON + DAY else 0)


async def test_the_schedule_is_made_once_whoever_starts_first(temporal_client: Client) -> None:
    for _ in range(2):
        await put_schedule(temporal_client, SETTLING_SCHEDULE, STANDING[SETTLING_SCHEDULE])

    described = await temporal_client.get_schedule_handle(SETTLING_SCHEDULE).describe()
    assert described.schedule.policy.catchup_window == timedelta(days=7)
