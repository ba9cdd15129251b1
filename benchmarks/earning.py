"""Earning rules decided per second in routing: orders under a programme with limits, conditions and tiers.

Beside it stand the same orders routed without a programme: the difference is what deciding, storing and posting cost.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.figure import Figure
from benchmarks.world import World
from database import documents
from database.events import append
from database.programmes import KIND
from database.session import Database
from domain.documents import DocumentState
from domain.events import EventKind, NewEvent
from triggers.live import LiveCache
from triggers.routing import Routing

ORDERS = 2_000
CUSTOMERS = 1_000
BATCH = 500
RULES = 5


async def measure(world: World) -> Sequence[Figure]:
    """Two rows."""
    earning = await _rate(await world.new_database(), programme=True)
    plain = await _rate(await world.new_database(), programme=False)
    name = f"earning, {RULES} rules an order, {CUSTOMERS:,} customers"
    return [
        Figure(name, earning * RULES, "rules/s"),
        Figure("  which is so many orders", earning, "orders/s"),
        Figure("  beside it: the same orders without a programme", plain, "orders/s"),
    ]


async def _rate(url: str, *, programme: bool) -> float:
    database = Database(url, pool_size=2)
    try:
        if programme:
            await _publish(database)
        await _append(database)
        await _route(database, BATCH)  # warm
        started = time.perf_counter()
        await _route(database, ORDERS)
        return ORDERS / (time.perf_counter() - started)
    finally:
        await database.close()


async def _route(database: Database, orders: int) -> None:
    routing = Routing(LiveCache())
    routed = 0
    while routed < orders:
        async with database.transaction() as session:
            routed += (await routing.route(session, datetime.now(UTC), BATCH)).routed


async def _publish(database: Database) -> None:
    document, as_of = _programme(), datetime.now(UTC) - timedelta(days=1)
    async with database.transaction() as session:
        row = await documents.save_draft(session, KIND, "main", document, as_of)
        await documents.add_version(
            session, row, document=document, state=DocumentState.LIVE, as_of=as_of, by="benchmark"
        )


async def _append(database: Database) -> None:
    orders = list(_orders(ORDERS + BATCH))
    for start in range(0, len(orders), 1_000):
        async with database.transaction() as session:
            await append(session, orders[start : start + 1_000])


def _programme() -> dict[str, Any]:
    amount = {"per": {"amount": 100, "currency": "EUR"}, "of": "properties.subtotal", "points": 1}
    order = {"event": "Order Completed"}
    rules: list[dict[str, Any]] = [
        {"rule": "purchase", "amount": amount, "limit": {"per_customer": 5_000, "per": "1mo"}, "pending": "14d"},
        {"rule": "regular", "amount": amount, "if": {"did": "Order Completed", "at_least": 3, "within": "90d"}},
        {"rule": "large", "amount": {"points": 20}, "on": {**order, "where": [{"property": "subtotal", "gte": 80}]}},
        {"rule": "weekly", "amount": {"points": 5}, "limit": {"per_customer": 1, "per": "1w", "over": "reject"}},
        {"rule": "pieces", "amount": {"per": {"quantity": 1}, "of": "properties.products[].quantity", "points": 2}},
    ]
    return {
        "programme": "main",
        "zone": "Europe/Berlin",
        "expires": {"after": "365d", "round": "end_of_month"},
        "earn": [{"on": order, **rule} for rule in rules],
        "tiers": {
            "measure": {"points": "earned", "window": {"rolling": "12mo"}},
            "levels": [{"tier": "bronze", "from": 0}, {"tier": "gold", "from": 500, "multiply": 2}],
        },
    }


def _orders(count: int) -> Iterator[NewEvent]:
    start = datetime.now(UTC) - timedelta(hours=1)
    for position in range(count):
        at = start + timedelta(milliseconds=position * 100)
        lines: list[dict[str, Any]] = [
            {"product_id": f"p-{position % 50}", "price": 10 + position % 40, "quantity": 1 + position % 3}
        ]
        subtotal = sum(line["price"] * line["quantity"] for line in lines)
        told = {"order_id": f"o-{position}", "subtotal": subtotal, "currency": "EUR", "products": lines}
        yield NewEvent(
            source="shop",
            message_id=f"m-{position}",
            kind=EventKind.TRACK,
            name="Order Completed",
            timestamp=at,
            received_at=at,
            user_id=f"u-{position * 7 % CUSTOMERS}",
            properties=told,
        )
