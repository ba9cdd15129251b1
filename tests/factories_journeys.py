"""Customers and runs as rows, for tests that need them to be there already."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from database.customers import Customer, Identity
from database.runs import Run, RunStep, Wait
from database.session import Database
from domain.ids import new_id

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


async def make_customer(database: Database, external_id: str | None = None, **columns: Any) -> UUID:
    """A customer whom the shop knows."""
    customer_id = new_id()
    external_id = external_id or f"u-{customer_id}"
    row: dict[str, Any] = {"traits": {}, "trait_times": {}, "first_seen": NOW, "last_seen": NOW, "last_number": 1}
    async with database.transaction() as session:
        session.add(Customer(id=customer_id, external_id=external_id, **row | columns))
        await session.flush()
        session.add(Identity(kind="user", value=external_id, customer_id=customer_id, first_seen=NOW))
    return customer_id


async def make_run(database: Database, journey: str, *, step: str, outcome: str, **columns: Any) -> UUID:
    """A run that stands at a step or has passed it."""
    customer_id, run_id = columns.pop("customer_id", None) or await make_customer(database), new_id()
    row: dict[str, Any] = {
        "version": 1,
        "state": "active",
        "shadow": False,
        "seen_number": 1,
        "entry": {"event": "Product Added", "properties": {}},
        "entered_at": NOW,
    }
    async with database.transaction() as session:
        session.add(
            Run(
                id=run_id, journey=journey, customer_id=customer_id, occasion=str(run_id), step=step,
                workflow_id=f"journey/{journey}/{customer_id}/{run_id}", **row | columns,
            )
        )  # fmt: skip
        await session.flush()
        session.add(RunStep(run_id=run_id, step=step, visit=1, kind="wait_for", reached_at=NOW, outcome=outcome))
        if outcome == "waiting":
            session.add(
                Wait(
                    run_id=run_id, step=step, visit=1, customer_id=customer_id, version=1, status="waiting",
                    registered_at=NOW,
                )
            )  # fmt: skip
    return run_id
