"""Simulation over HTTP: recorded events in, counts and sample runs out, nothing written."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import func, select

from database.consent import Consent
from database.customers import Customer, Identity
from database.events import Event
from database.ledger import PointTransaction
from database.messages import Message
from database.points import post
from database.runs import Run
from database.session import Database
from database.settling import due_accounts, settle_accounts
from database.tiers import TierMembership
from domain.ids import new_id
from domain.points import Credit, CreditKind
from tests.factories_journeys import NOW, make_customer
from tests.programmes import publish_programme, tiers
from tests.rewarding import TEA, publish_reward

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


async def awarded(
    database: Database, customer: UUID, points: int, at: datetime, expires: datetime | None = None
) -> None:
    """Points that the ledger recorded."""
    credit = Credit(customer, str(new_id()), points, CreditKind.AWARD, at, "test", expires_at=expires)
    async with database.transaction() as session:
        await post(session, "main", [credit], at)


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


GIFT: dict[str, Any] = {"points": {"award": 5}, "id": "gift"}


async def test_a_simulation_shows_which_runs_browsers_would_have_led_on(
    client: httpx.AsyncClient, database: Database
) -> None:
    await publish_programme(database, NOW - timedelta(days=300))
    await publish_reward(database, TEA)
    by_server, by_browser, by_trait, by_wait = [await make_customer(database) for _ in range(4)]
    async with database.transaction() as session:
        row = await session.get_one(Customer, by_trait)
        row.traits, row.trait_times = {"vip": True}, {"vip": ["2026-01-01T00:00:00.000000+00:00", "m", False]}
    for customer in (by_server, by_browser, by_trait, by_wait):
        at, trusted = NOW - timedelta(days=5), customer != by_browser
        await happened(database, customer, "Signed Up", at, trusted=trusted)
        trusted = customer not in (by_browser, by_wait)
        await happened(database, customer, "Confirmed", at + timedelta(hours=1), trusted=trusted)
    tea = {"reward": {"give": "free-tea", "untrusted": {"per_customer": 1}}, "id": "tea"}
    steps = [
        {"wait_for": {"any": [{"event": "Confirmed"}], "timeout": "1d"}, "id": "word"},
        {"branch": [{"if": {"trait": "vip", "eq": True}, "steps": []}], "id": "way"},
        *(GIFT, tea),
    ]

    told = await simulate(
        client, definition={"journey": "cart", "enter": {"on": {"event": "Signed Up"}}, "steps": steps}
    )

    assert (told["entered"], told["untrusted"]) == (4, 3)
    assert sorted(run["trusted"] for run in told["samples"]) == [False, False, False, True]
    skipped = {step["step"]: (step["done"], step["skipped"]) for step in told["steps"]}
    assert skipped["gift"] == (1, {"untrusted": 3})
    assert skipped["tea"] == (3, {"untrusted": 1})  # nobody but browsers told of one
    assert told["costs"] == {"points_awarded": 5, "points_deducted": 0, "rewards": {"free-tea": 3}}


async def test_a_simulation_knows_customers_by_events_that_the_journey_does_not_name(
    client: httpx.AsyncClient, database: Database
) -> None:
    await publish_programme(database, NOW - timedelta(days=300))
    await publish_reward(database, TEA)
    before, after, never = [await make_customer(database) for _ in range(3)]
    for customer, days in ((before, 20), (after, 2)):
        await happened(database, customer, "Letter Answered", NOW - timedelta(days=days))
    await happened(database, never, "Letter Answered", NOW - timedelta(days=20), trusted=False)
    for customer in (before, after, never):
        await happened(database, customer, "App Installed", NOW - timedelta(days=5), trusted=False)
    tea = {"reward": {"give": "free-tea", "untrusted": {"per_customer": 1}}, "id": "tea"}

    told = await simulate(
        client, definition={"journey": "cart", "enter": {"on": {"event": "App Installed"}}, "steps": [tea]}
    )

    assert told["costs"]["rewards"] == {"free-tea": 1}


async def test_a_simulation_gives_a_coupon_once_that_a_browsers_run_gave_and_nobody_was_told_of(
    client: httpx.AsyncClient, database: Database
) -> None:
    await publish_programme(database, NOW - timedelta(days=300))
    await publish_reward(database, TEA)
    customer = await make_customer(database)
    await happened(database, customer, "Letter Answered", NOW - timedelta(days=20))
    for days, trusted in ((5, False), (4, True)):
        await happened(database, customer, "Order Paid", NOW - timedelta(days=days), trusted=trusted, order_id="o-1")
    tea = {"reward": {"give": "free-tea", "untrusted": {"per_customer": 1}}, "id": "tea"}
    mail = {"send": {"template": "t"}, "id": "mail"}  # nobody knows an address
    enter = {"on": {"event": "Order Paid"}, "occasion": "properties.order_id"}

    told = await simulate(client, definition={"journey": "cart", "enter": enter, "steps": [tea, mail]})

    assert (told["entered"], told["untrusted"]) == (2, 1)
    assert told["costs"]["rewards"] == {"free-tea": 1}


async def test_a_simulation_lets_no_browser_take_the_turn_or_the_points_of_a_trusted_customer(
    client: httpx.AsyncClient, database: Database
) -> None:
    await publish_programme(database, NOW - timedelta(days=300))
    at = NOW - timedelta(days=5)
    turn, left = await make_customer(database), await make_customer(database)
    for customer, trusted in ((turn, False), (turn, True), (left, True)):
        await happened(database, customer, "Order Paid", at, trusted=trusted, order_id="o-1")
    await happened(database, left, "Club Left", at + timedelta(minutes=1), trusted=False)
    steps = [{"wait": {"for": "1h"}, "id": "pause"}, {"send": {"template": "t"}, "id": "mail"}, GIFT]
    enter = {"on": {"event": "Order Paid"}, "occasion": "properties.order_id"}
    document = {"journey": "cart", "purpose": "transactional", "enter": enter, "exit": [{"event": "Club Left"}]}

    told = await simulate(client, definition={**document, "steps": steps})

    assert (told["entered"], told["untrusted"], told["exited"]) == (3, 1, {"superseded": 1})
    assert told["costs"]["points_awarded"] == 10


async def test_a_simulation_lets_no_browser_end_a_run_that_has_given_a_coupon(
    client: httpx.AsyncClient, database: Database
) -> None:
    await publish_programme(database, NOW - timedelta(days=300))
    await publish_reward(database, TEA)
    at, customer = NOW - timedelta(days=5), await make_customer(database)
    await happened(database, customer, "App Removed", at - timedelta(days=1))
    await happened(database, customer, "App Installed", at, trusted=False)
    await happened(database, customer, "App Removed", at + timedelta(minutes=1), trusted=False)
    tea = {"reward": {"give": "free-tea", "untrusted": {"per_customer": 1}}, "id": "tea"}
    document = {"journey": "cart", "enter": {"on": {"event": "App Installed"}}, "exit": [{"event": "App Removed"}]}

    told = await simulate(client, definition={**document, "steps": [tea, {"wait": {"for": "1h"}, "id": "pause"}]})

    assert (told["entered"], told["untrusted"], told["exited"]) == (1, 1, {})


async def test_a_simulation_promises_no_points_for_a_guests_order_that_only_a_browser_links(
    client: httpx.AsyncClient, database: Database
) -> None:
    await publish_programme(database, NOW - timedelta(days=300))
    ann = await make_customer(database)
    await happened(database, ann, "Signed Up", NOW - timedelta(days=5))
    async with database.transaction() as session:
        [event] = (await session.scalars(select(Event))).all()
        event.user_id, event.anonymous_id, event.subject = None, "guest", "a:guest"
        session.add(Identity(kind="anonymous", value="guest", customer_id=ann, first_seen=NOW, linked_trusted=False))

    told = await simulate(
        client, definition={"journey": "cart", "enter": {"on": {"event": "Signed Up"}}, "steps": [GIFT]}
    )

    assert (told["entered"], told["untrusted"], told["costs"]["points_awarded"]) == (1, 1, 0)
