"""Who goes first where Temporal's tasks queue up (G16): runs that customers are owed a message by."""

from __future__ import annotations

from temporalio.client import Client

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
