"""Simulation over HTTP: recorded events in, counts and sample runs out, nothing written."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import func, select

from database.consent import Consent
from database.customers import Customer
from database.events import Event
from database.messages import Message
from database.runs import Run
from database.session import Database
from domain.ids import new_id
from tests.factories_journeys import NOW, make_customer

REMINDER: dict[str, Any] = {
    "journey": "cart",
    "purpose": "marketing",
    "enter": {"on": {"event": "Product Added"}, "occasion": "properties.cart_id"},
    "goal": {"event": "Order Completed", "within": "7d"},
    "exit": [{"event": "Order Completed"}],
    "steps": [
        {"wait_for": {"timeout": "1h", "restart_on": [{"event": "Product Added"}]}, "id": "quiet"},
        {"send": {"template": "t"}, "id": "first"},
        {"wait": {"for": "1d"}, "id": "day"},
        {
            "branch": [{"if": {"trait": "vip", "eq": True}, "steps": [{"send": {"template": "t"}, "id": "vip"}]}],
            "id": "b",
        },
    ],
}


async def happened(database: Database, customer: UUID, name: str, at: datetime, **properties: Any) -> None:
    """A routed event of the past."""
    async with database.transaction() as session:
        row = await session.get(Customer, customer)
        assert row is not None
        row.last_number += 1
        event_id = new_id()
        session.add(
            Event(
                id=event_id, source="test", message_id=str(event_id), kind="track", name=name,
                subject=f"u:{row.external_id}", user_id=row.external_id, timestamp=at, received_at=at,
                properties=properties, traits={}, context={}, trusted=True, status="routed", customer_id=customer,
                number=row.last_number,
            )
        )  # fmt: skip


async def subscribed(database: Database, external_id: str, **traits: Any) -> UUID:
    """A customer with an address and consent."""
    customer = await make_customer(database, external_id, traits={"email": f"{external_id}@example.com", **traits})
    async with database.transaction() as session:
        session.add(
            Consent(
                id=new_id(), customer_id=customer, purpose="marketing", channel="email", state="subscribed",
                at=NOW - timedelta(days=100), source="api", evidence={}, event_id=new_id(),
            )
        )  # fmt: skip
    return customer


async def simulate(client: httpx.AsyncClient, **wish: Any) -> dict[str, Any]:
    period = {"from": (NOW - timedelta(days=10)).isoformat(), "to": NOW.isoformat()}
    answer = await client.post("/v1/journeys/cart/simulate", json={"definition": REMINDER, **period, **wish})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_past_period_is_walked_with_the_production_interpreter(
    client: httpx.AsyncClient, database: Database
) -> None:
    start = NOW - timedelta(days=5)
    buyer, vip, silent = (
        await subscribed(database, "buyer"),
        await subscribed(database, "vip", vip=True),
        await make_customer(database, "silent"),
    )
    for customer in (buyer, vip, silent):
        await happened(database, customer, "Product Added", start, cart_id="c1")
    await happened(database, vip, "Product Added", start + timedelta(minutes=30), cart_id="c1")
    await happened(database, buyer, "Order Completed", start + timedelta(hours=5))

    found = await simulate(client)

    steps = {step["step"]: step for step in found["steps"]}
    assert (found["entered"], found["completed"], found["exited"]) == (3, 2, {"exit: Order Completed": 1})
    assert found["converted"] == 1
    assert found["kept_out"] == {"occasion_taken": 1}
    assert (steps["first"]["done"], steps["first"]["skipped"]) == (2, {"no_address": 1})
    assert steps["vip"]["done"] == 1
    assert sum(day["messages"] for day in found["messages_per_day"]) == 3
    assert found["gate"] == {"no_address": 1}
    quiet = next(
        step
        for run in found["samples"]
        if run["customer_id"] == "vip"
        for step in run["steps"]
        if step["step"] == "quiet"
    )
    assert datetime.fromisoformat(quiet["at"]) == start + timedelta(hours=1, minutes=30)
    assert "traits as of now" in found["assumptions"]


async def test_a_simulation_writes_and_sends_nothing(client: httpx.AsyncClient, database: Database) -> None:
    customer = await subscribed(database, "u-1")
    await happened(database, customer, "Product Added", NOW - timedelta(days=2), cart_id="c1")

    await simulate(client)

    async with database.read() as session:
        for table in (Run, Message):
            assert (await session.execute(select(func.count()).select_from(table))).scalar_one() == 0


async def test_dates_enter_in_a_simulation_too(client: httpx.AsyncClient, database: Database) -> None:
    await subscribed(database, "u-1", birthday="1990-05-01")
    await subscribed(database, "u-2", birthday="1990-09-01")
    birthday = REMINDER | {"enter": {"on": {"date": {"trait": "birthday", "yearly": True}}}, "exit": []}

    found = await simulate(client, definition=birthday)

    assert found["entered"] == 1


async def test_a_period_that_ends_before_it_begins_is_refused(client: httpx.AsyncClient) -> None:
    period = {"from": NOW.isoformat(), "to": NOW.isoformat()}
    answer = await client.post("/v1/journeys/cart/simulate", json={"definition": REMINDER, **period})

    assert answer.status_code == 409
    assert answer.json()["errors"][0]["pointer"] == "/to"
