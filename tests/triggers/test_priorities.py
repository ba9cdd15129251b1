"""Who goes first where Temporal's tasks queue up (G16): runs that customers are owed a message by."""

from __future__ import annotations

from sqlalchemy import delete, select
from temporalio.client import Client

from database.outbox import Command
from database.reconciliation import start_again
from tests.triggers.shop import Shop, abandoned_cart
from triggers.relay import Relay


async def test_runs_of_transactional_journeys_overtake_others(shop: Shop, temporal_client: Client) -> None:
    await shop.publish(abandoned_cart())
    await shop.publish(abandoned_cart(journey="receipt", purpose="transactional"))
    await shop.track("Product Added", {"cart_id": "c-1"})

    await Relay(shop.database, temporal_client).relay_once()

    started = {}
    for run in await shop.runs():
        described = await temporal_client.get_workflow_handle(run.workflow_id).describe()
        started[run.journey] = described.raw_description.workflow_execution_info.priority.priority_key
    assert started == {"receipt": 1, "abandoned-cart": 0}  # 0: none, which Temporal takes for 3


async def test_a_run_that_is_started_again_keeps_its_place(shop: Shop) -> None:
    await shop.publish(abandoned_cart(journey="receipt", purpose="transactional"))
    await shop.track("Product Added", {"cart_id": "c-1"})
    (run,) = await shop.runs()

    async with shop.database.transaction() as session:
        await session.execute(delete(Command))  # its workflow was started, and is gone
        assert await start_again(session, run.id)

    async with shop.database.read() as session:
        (command,) = (await session.execute(select(Command))).scalars()
    assert (command.workflow_id, command.payload["is_first"]) == (run.workflow_id, True)
