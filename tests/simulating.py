"""Customers, events of the past, and a simulation of a cart reminder over HTTP."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx

from database.customers import Customer
from database.events import Event
from database.points import post
from database.session import Database
from domain.ids import new_id
from domain.points import Credit, CreditKind
from tests.factories_journeys import NOW

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


async def happened(
    database: Database, customer: UUID, name: str, at: datetime, *, trusted: bool = True, **properties: Any
) -> None:
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
                properties=properties, traits={}, context={}, trusted=trusted, status="routed", customer_id=customer,
                number=row.last_number,
            )
        )  # fmt: skip


async def simulate(client: httpx.AsyncClient, **wish: Any) -> dict[str, Any]:
    period = {"from": (NOW - timedelta(days=10)).isoformat(), "to": NOW.isoformat()}
    answer = await client.post("/v1/journeys/cart/simulate", json={"definition": REMINDER, **period, **wish})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def awarded(
    database: Database, customer: UUID, points: int, at: datetime, expires: datetime | None = None
) -> None:
    """Points that the ledger recorded."""
    credit = Credit(customer, str(new_id()), points, CreditKind.AWARD, at, "test", expires_at=expires)
    async with database.transaction() as session:
        await post(session, "main", [credit], at)
