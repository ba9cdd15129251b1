"""Events routed per second with 20 live journeys: identity, profiles, orders, carts, catalogue, exits, goals, entries.

Without the starts of workflows at Temporal, which have a row of their own: the commands stay in the outbox. Beside it
stands what reading those events and marking them routed costs by itself, in batches of the same size. Both are timed
warm, after two batches: a router runs for weeks, and compiles its statements once.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from benchmarks.figure import Figure
from benchmarks.world import World
from database import documents
from database.events import append
from database.session import Database
from domain.documents import DocumentState
from domain.events import EventKind, NewEvent
from perennial.loading import loading
from triggers.live import LiveCache
from triggers.routing import Routing

EVENTS = 12_000
CUSTOMERS = 2_500
JOURNEYS = 20
BATCH = 800
WARM_UP = 2 * BATCH
AIM = 3_000.0
_SEED = 7

# What shops send, by share.
_MIX = (("Product Viewed", 40), ("Page Viewed", 20), ("Product Added", 18), ("Order Completed", 6), ("Identified", 16))

_MARK = text("""
    WITH batch AS (SELECT id, properties FROM events WHERE status = 'pending' ORDER BY id LIMIT :limit)
    UPDATE events SET status = 'routed', number = 1, routed_at = now() FROM batch WHERE events.id = batch.id
""")


async def measure(world: World) -> Sequence[Figure]:
    """One row."""
    routed = await _rate(await world.new_database(), _route_all)
    floor = await _rate(await world.new_database(), _mark_all)
    name = f"routing, {JOURNEYS} live journeys, {CUSTOMERS:,} customers"
    return [
        Figure(name, routed, "events/s", aim=AIM),
        Figure("  beside it: only reading and marking the same events", floor, "events/s"),
    ]


async def _rate(url: str, drain: Any) -> float:  # a coroutine function over a database
    database = Database(url, pool_size=2)
    try:
        with loading():  # as a router's process does with all that it loads
            await _prepare(database, EVENTS + WARM_UP)
        await drain(database, WARM_UP)
        started = time.perf_counter()
        await drain(database, EVENTS)
        return EVENTS / (time.perf_counter() - started)
    finally:
        await database.close()


async def _route_all(database: Database, events: int) -> None:
    routing = Routing(LiveCache())
    routed = 0
    while routed < events:
        async with database.transaction() as session:
            routed += (await routing.route(session, datetime.now(UTC), BATCH)).routed


async def _mark_all(database: Database, events: int) -> None:
    for _ in range(0, events, BATCH):
        async with database.transaction() as session:
            await session.execute(_MARK, {"limit": BATCH})


async def _prepare(database: Database, count: int) -> None:
    async with database.transaction() as session:
        for journey in map(_journey, range(JOURNEYS)):
            row = await documents.save_draft(session, "journey", journey["journey"], journey, datetime.now(UTC))
            await documents.add_version(
                session, row, document=journey, state=DocumentState.LIVE, as_of=datetime.now(UTC), by="benchmark"
            )
    events = list(_events(random.Random(_SEED), count))
    for start in range(0, count, 1_000):
        async with database.transaction() as session:
            await append(session, events[start : start + 1_000])
    async with database.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("SET ROLE NONE"))  # the application owns no tables
        await connection.execute(text("ANALYZE"))
        await connection.invalidate()


def _journey(position: int) -> dict[str, Any]:
    """Most journeys wait for something rarer than a cart, as in a real shop; all leave on an order."""
    conditions: list[dict[str, Any]] = [
        {"trait": "plan", "eq": "gold"},
        {"did": "Order Completed", "at_least": 2, "within": "90d"},
        {"aggregate": "sum", "of": "properties.total", "over": "Order Completed", "within": "365d", "gte": 300},
    ]
    on: dict[str, Any] = {"event": f"Milestone {position} Reached"}
    if position < 3:
        on = {"event": "Product Added", "where": [{"property": "price", "gte": 20 + 20 * position}]}
    elif position < 5:
        on = {"event": "Order Completed"}
    return {
        "journey": f"journey-{position}",
        "purpose": "marketing",
        "enter": {"on": on, "if": conditions[position % 3], "again": {"after": "7d"}, "holdout": 5},
        "goal": {"event": "Order Completed", "within": "7d", "value": "properties.total"},
        "exit": [{"event": "Order Completed"}],
        "steps": [{"wait_for": {"id": "quiet", "timeout": "1h", "restart_on": [{"event": "Product Added"}]}}],
    }


def _events(chance: random.Random, count: int) -> Iterator[NewEvent]:
    start = datetime.now(UTC) - timedelta(hours=1)
    names = chance.choices([name for name, _ in _MIX], [share for _, share in _MIX], k=count)
    for position, name in enumerate(names):
        at = start + timedelta(milliseconds=position * 10)
        customer = chance.randrange(CUSTOMERS)
        knows_user = chance.random() < 0.7
        yield NewEvent(
            source="shop",
            message_id=f"m-{position}",
            kind=EventKind.IDENTIFY if name == "Identified" else EventKind.TRACK,
            name=name,
            timestamp=at,
            received_at=at,
            user_id=f"u-{customer}" if knows_user or name == "Identified" else None,
            anonymous_id=f"a-{customer}",
            properties=_properties(name, position, chance),
            traits={"plan": chance.choice(["gold", "basic"]), "email": f"{customer}@shop.example"}
            if name == "Identified"
            else {},
            context={"timezone": "Europe/Berlin", "locale": "de-DE", "page": {"url": "https://shop.example/"}},
        )


def _properties(name: str, position: int, chance: random.Random) -> dict[str, Any]:
    product = {"product_id": f"p-{chance.randrange(500)}", "name": "Tea", "price": chance.choice([9.9, 24.5, 79.0])}
    if name.startswith("Product "):
        return {**product, "cart_id": f"c-{position}", "quantity": 1}
    if name == "Order Completed":
        return {"order_id": f"o-{position}", "total": 49.9, "currency": "EUR", "products": [product]}
    return {}
