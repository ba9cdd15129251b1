"""Simulation over HTTP: recorded events in, counts and sample runs out, nothing written."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import func, select

from database.consent import Consent
from database.customers import Customer
from database.ledger import PointTransaction
from database.messages import Message
from database.runs import Run
from database.session import Database
from database.settling import due_accounts, settle_accounts
from database.tiers import TierMembership
from domain.ids import new_id
from tests.factories_journeys import NOW, make_customer
from tests.programmes import publish_programme, tiers
from tests.rewarding import TEA, publish_reward
from tests.simulating import REMINDER, awarded, happened, simulate


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


async def test_simulated_runs_wait_as_long_as_their_event_says(client: httpx.AsyncClient, database: Database) -> None:
    start = NOW - timedelta(days=5)
    told: dict[str, dict[str, Any]] = {"long": {"days": 4}, "short": {"days": "1"}, "none": {}}
    for name, properties in told.items():
        await happened(database, await subscribed(database, name), "Product Added", start, cart_id=name, **properties)
    steps = [
        {"wait": {"for": {"event": "properties.days", "unit": "d"}}, "id": "days"},
        {"send": {"template": "t"}, "id": "first"},
    ]

    found = await simulate(client, definition=REMINDER | {"steps": steps})

    days = [day["date"] for day in found["messages_per_day"] if day["messages"]]
    assert days == [str((start + timedelta(days=count)).date()) for count in (1, 4)]
    assert found["exited"] == {"date_missing": 1}


async def test_simulated_branches_look_at_the_cart_of_then(client: httpx.AsyncClient, database: Database) -> None:
    start = NOW - timedelta(days=5)
    for name, price in (("large", 80), ("small", 20)):
        customer = await subscribed(database, name)
        pot: dict[str, Any] = {"cart_id": name, "product_id": "pot", "price": price, "quantity": 1}
        await happened(database, customer, "Product Added", start, **pot)
        await happened(database, customer, "Product Removed", start + timedelta(hours=2), **pot)
    large = {"if": {"all": [{"cart": "total", "gte": 5_000}, {"cart": "age", "gte": "1h"}]}}
    steps = [
        REMINDER["steps"][0],
        {"branch": [large | {"steps": [{"send": {"template": "t"}, "id": "offer"}]}], "id": "b"},
    ]

    found = await simulate(client, definition=REMINDER | {"steps": steps})

    counts = {step["step"]: step["reached"] for step in found["steps"]}
    assert (counts["b"], counts["offer"]) == (2, 1)


async def test_each_item_of_a_list_enters_in_a_simulation_too(client: httpx.AsyncClient, database: Database) -> None:
    start, products = NOW - timedelta(days=5), [{"sku": "POT", "days": 1}, {"sku": "ROSE", "days": 4}]
    await happened(database, await subscribed(database, "u-1"), "Product Added", start, products=products)
    await happened(database, await subscribed(database, "u-2"), "Product Added", start)
    definition = REMINDER | {
        "enter": {"on": {"event": "Product Added"}, "for_each": "properties.products", "occasion": "item.sku"},
        "steps": [
            {"wait": {"for": {"event": "item.days", "unit": "d"}}, "id": "days"},
            {"send": {"template": "t"}, "id": "first"},
        ],
    }

    found = await simulate(client, definition=definition)

    assert (found["entered"], found["completed"], found["kept_out"]) == (2, 2, {"items_missing": 1})
    days = [day["date"] for day in found["messages_per_day"] if day["messages"]]
    assert days == [str((start + timedelta(days=count)).date()) for count in (1, 4)]


async def test_simulated_runs_end_and_go_on_by_conditions(client: httpx.AsyncClient, database: Database) -> None:
    start = NOW - timedelta(days=8)
    for name in ("one", "other"):
        await happened(database, await subscribed(database, name), "Product Added", start, cart_id=name)
    buyer = await subscribed(database, "late")
    await happened(database, buyer, "Product Added", start, cart_id="late")
    await happened(database, buyer, "Order Completed", start + timedelta(days=1), total=200)
    quiet = {"did": "Product Added", "within": "3d", "exactly": 0}
    definition = REMINDER | {
        "exit": [{"if": {"aggregate": "sum", "of": "properties.total", "over": "Order Completed", "gte": 100}}],
        "steps": [
            {"wait_for": {"any": [{"if": quiet}], "timeout": "30d"}, "id": "quiet"},
            {"send": {"template": "t"}, "id": "first"},
        ],
    }

    found = await simulate(client, definition=definition)

    assert (found["exited"], found["completed"]) == ({"exit: condition": 1}, 2)
    [day] = [day["date"] for day in found["messages_per_day"] if day["messages"]]
    assert str((start + timedelta(days=3)).date()) <= day <= str((start + timedelta(days=4)).date())


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


HAS_500 = {"points": "available", "gte": 500}


SPENDING: dict[str, Any] = {
    "journey": "cart",
    "enter": {"on": {"event": "Product Added"}},
    "steps": [
        {"branch": [{"if": HAS_500, "steps": [{"exit": "rich"}]}], "id": "before"},
        {"points": {"award": 200, "expires": "2d"}, "id": "welcome"},
        {"branch": [{"if": HAS_500, "steps": [{"reward": {"give": "free-tea"}, "id": "tea"}]}], "id": "after"},
        {"points": {"deduct": 501}, "id": "too-much"},
        {"points": {"deduct": 150}, "id": "postage"},
        {"wait": {"for": "3d"}, "id": "lapse"},
        {"branch": [{"if": {"points": "available", "eq": 300}, "steps": [{"exit": "as before"}]}], "id": "end"},
    ],
}


async def test_what_steps_give_and_take_counts_for_later_steps_and_is_summed_up(
    client: httpx.AsyncClient, database: Database
) -> None:
    start = NOW - timedelta(days=8)
    await publish_programme(database, start)
    await publish_reward(database, TEA)
    for name, points in (("ann", 300), ("bob", 100), ("cat", 900)):
        customer = await make_customer(database, name)
        await awarded(database, customer, points, start)
        await happened(database, customer, "Product Added", start + timedelta(days=1))
        await awarded(database, customer, 5_000, start + timedelta(days=7))  # what came later does not count yet

    found = await simulate(client, definition=SPENDING)

    steps = {step["step"]: step for step in found["steps"]}
    assert found["exited"] == {"rich": 1, "as before": 1}
    assert found["costs"] == {"points_awarded": 400, "points_deducted": 300, "rewards": {"free-tea": 1}}
    assert steps["too-much"]["skipped"] == {"insufficient_points": 2}
    assert steps["postage"]["done"] == 2  # out of the 200 that lapse first: of those, 50 lapse two days later
    assert "rewards do not run out" in found["assumptions"]
    assert "templates are not rendered, so no message is skipped by an abort in one" in found["assumptions"]
    async with database.read() as session:
        assert (await session.execute(select(func.count()).select_from(PointTransaction))).scalar_one() == 6


async def test_thresholds_and_tiers_are_those_that_were_recorded(client: httpx.AsyncClient, database: Database) -> None:
    start = NOW - timedelta(days=8)
    await publish_programme(database, start, tiers=tiers({"points": "earned", "window": {"lifetime": True}}))
    for name, points in (("ann", 600), ("bob", 400)):
        await awarded(database, await make_customer(database, name), points, start, start + timedelta(days=2))
    async with database.transaction() as session:
        due = await due_accounts(session, NOW, after=None, limit=10)
        await settle_accounts(session, due, NOW)
        ann = (await session.scalars(select(Customer).where(Customer.external_id == "ann"))).one()
        session.add(
            TierMembership(
                id=new_id(), customer_id=ann.id, programme="main", tier="silver", from_at=start, until_at=None,
                reason="qualified", version=1, evidence={}, decided_at=start,
            )
        )  # fmt: skip
    lost = {"any": [{"points": "available", "reaches": 500}, {"points": "available", "falls_below": 300}]}
    silver = {"branch": [{"if": {"tier": {"at_least": "silver"}}, "steps": [{"exit": "silver"}]}], "id": "b"}

    found = await simulate(client, definition=SPENDING | {"enter": {"on": lost}, "steps": [silver]})

    assert (found["entered"], found["exited"], found["completed"]) == (3, {"silver": 2}, 1)
