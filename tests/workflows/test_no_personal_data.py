"""G23: canary strings go through everything a run does; Temporal's whole database holds none of them."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from database.session import Database
from perennial.embedded.temporal import EmbeddedTemporal
from tests.workflows.conftest import staged
from tests.workflows.journeys import journey

CANARY = "zq7canary"


async def test_nothing_personal_reaches_temporal(
    database: Database, temporal_client: Client, temporal_server: EmbeddedTemporal
) -> None:
    async with staged(database, temporal_client, datetime.now(UTC)) as stage:
        stage.outbox.answers = {
            "fails": [ApplicationError(f"{CANARY}@example.com is no address", type="bad_address", non_retryable=True)]
        }
        await stage.publish(
            journey(
                {"send": {"template": "t"}, "id": "fails"},
                {"branch": [{"if": {"trait": "name", "eq": CANARY}, "steps": []}]},
                {"update": {"traits": {"copy": "{{ customer.traits.name }} {{ entry.properties.secret }}"}}},
                {"emit": {"event": "X", "properties": {"deep": "{{ entry.properties.secret }}"}}},
                {"call": {"url": f"http://127.0.0.1:9/{CANARY}", "not_after": "1s", "body": {"n": CANARY}}},
                {"wait_for": {"any": [{"event": "Order Completed"}], "timeout": "10m"}, "id": "order"},
            )
        )
        customer = await stage.customer(name=CANARY, email=f"{CANARY}@example.com")
        entry = {"event": "Product Added", "properties": {"secret": CANARY}}
        run = await stage.enter("welcome", customer, entry=entry, saved={"answer": CANARY})
        await run.stands_at("order")
        await run.met("order", 0, await stage.event(customer, "Order Completed", note=CANARY))
        await run.ends()
        cancelled = await stage.enter("welcome", customer, entry=entry)
        await cancelled.handle.cancel()
        with contextlib.suppress(WorkflowFailureError):
            await cancelled.handle.result()

        dumped = (await run.handle.fetch_history()).to_json() + (await cancelled.handle.fetch_history()).to_json()
        described = str(await run.handle.describe())

    assert str(run.run_id) in dumped
    assert CANARY not in dumped + described
    stored = [path.read_bytes() for path in temporal_server._folder.glob("temporal.db*")]  # with its write-ahead log
    assert any(str(run.run_id).encode() in content for content in stored)
    assert all(CANARY.encode() not in content for content in stored)
