"""Customers over HTTP: profiles, changes of traits, and their lists."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
from sqlalchemy import select, update

from database.consent import Consent
from database.customers import Customer
from database.events import Event
from database.messages import Message
from database.orders import Order
from database.runs import Run, RunStep
from database.session import Database
from domain.customers import Profile, fold_traits
from domain.identities import Stamp
from domain.ids import new_id
from tests.factories import NOON, make_customer, make_events


@asynccontextmanager
async def routing(database: Database) -> AsyncIterator[None]:
    """Something that takes identify events of known customers up, as a router does."""
    task = asyncio.create_task(_route_for_ever(database))
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _route_for_ever(database: Database) -> None:
    while True:
        async with database.transaction() as session:
            for event in (await session.execute(select(Event).where(Event.status == "pending"))).scalars():
                customer = (
                    await session.execute(select(Customer).where(Customer.external_id == event.user_id))
                ).scalar_one()
                profile = Profile(traits=customer.traits)
                fold = fold_traits(
                    profile, event.traits, Stamp(event.timestamp, event.sent, event.id), trusted=event.trusted
                )
                customer.traits = dict(fold.profile.traits)
                event.status = "routed"
        await asyncio.sleep(0.02)


async def test_a_profile_shows_traits_identities_and_the_way_to_temporal(
    client: httpx.AsyncClient, database: Database
) -> None:
    ours = await make_customer(
        database, "ann", traits={"first_name": "Ann", "email": "ann@example.com"}, anonymous_id="browser-1"
    )

    profile = (await client.get("/v1/customers/ann")).json()

    assert profile == {
        "id": "ann",
        "customer_id": "ann",
        "internal_id": str(ours),
        "email": "ann@example.com",
        "email_standing": "trusted",
        "email_advice": None,
        "traits": {"first_name": "Ann", "email": "ann@example.com"},
        "zone": None,
        "locale": None,
        "identities": [
            {"kind": "user", "value": "ann", "first_seen": "2026-11-20T12:00:00Z", "superseded": False},
            {"kind": "anonymous", "value": "browser-1", "first_seen": "2026-11-20T12:00:00Z", "superseded": False},
        ],
        "consent": [],
        "restriction": None,
        "suppressions": [],
        "tier": None,
        "points": None,
        "scores": {},
        "segments": [],
        "first_seen": "2026-11-20T12:00:00Z",
        "last_seen": "2026-11-20T12:00:00Z",
        "temporal": {
            "query": f'CustomerId="{ours}"',
            "url": f"http://127.0.0.1:8233/namespaces/default/workflows?query=CustomerId%3D%22{ours}%22",
        },
    }


async def test_any_id_of_the_shop_is_found_on_its_raw_path(client: httpx.AsyncClient, database: Database) -> None:
    for user_id in ("a/b", "50%", "ann+spam@example.com", "Ünï-客", "..", "a b", "?x=1", "#1", "😀"):
        await make_customer(database, user_id)
        path = quote(user_id, safe="").replace(".", "%2E")

        answer = await client.get(f"/v1/customers/{path}")

        assert (answer.status_code, answer.json().get("id")) == (200, user_id)


async def test_an_unknown_customer_is_not_found(client: httpx.AsyncClient) -> None:
    for path in ("", "/events", "/orders", "/timeline", "/export", "/consent", "/messages", "/runs"):
        answer = await client.get(f"/v1/customers/nobody{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "customer_not_found"), path


async def test_a_patch_sets_and_deletes_traits_and_answers_the_profile_as_it_is_then(
    client: httpx.AsyncClient, database: Database
) -> None:
    await make_customer(database, "ann", traits={"size": "M", "city": "Bonn"})

    async with routing(database):
        answer = await client.patch("/v1/customers/ann", json={"traits": {"size": "L", "city": None}})

    assert (answer.status_code, answer.json()["traits"]) == (200, {"size": "L"})
    assert (await client.get("/v1/customers/ann")).json()["traits"] == {"size": "L"}


async def test_a_patch_is_an_event_like_any_other(client: httpx.AsyncClient, database: Database) -> None:
    await make_customer(database, "ann", traits={"size": "M"})

    answer = await client.patch("/v1/customers/ann", json={"traits": {"size": "L"}})

    assert (answer.status_code, answer.json()["traits"]) == (202, {"size": "L"})
    async with database.read() as session:
        event = (await session.execute(select(Event))).scalar_one()
    assert (event.source, event.kind, event.user_id, event.traits) == ("api", "identify", "ann", {"size": "L"})


async def test_a_patch_of_an_unknown_id_is_stored_and_answered_as_it_will_be(client: httpx.AsyncClient) -> None:
    answer = await client.patch("/v1/customers/new", json={"traits": {"size": "L", "city": None}})

    assert answer.status_code == 202
    assert (answer.json()["id"], answer.json()["traits"], answer.json()["internal_id"]) == ("new", {"size": "L"}, None)


async def test_a_patch_of_another_shape_is_refused(client: httpx.AsyncClient) -> None:
    bodies: list[Any] = [{}, {"traits": ["size"]}, {"traits": {"a": "\0"}}, {"tags": {}}, ""]
    for body in bodies:
        assert (await client.patch("/v1/customers/ann", json=body)).status_code == 422, body


async def test_events_are_listed_latest_first_and_pages_stay_while_new_ones_come(
    client: httpx.AsyncClient, database: Database
) -> None:
    ours = await make_customer(database, "ann")
    await make_events(database, ours, "ann", "A", "B", "C", "D", "E")

    first = (await client.get("/v1/customers/ann/events", params={"limit": 2})).json()
    await make_events(database, ours, "ann", "F", "G", start=6)
    second = (await client.get("/v1/customers/ann/events", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    third = (await client.get("/v1/customers/ann/events", params={"limit": 2, "cursor": second["next_cursor"]})).json()

    assert [[event["event"] for event in page["data"]] for page in (first, second, third)] == [
        ["E", "D"],
        ["C", "B"],
        ["A"],
    ]
    assert third["next_cursor"] is None


async def test_events_can_be_narrowed_to_one_name(client: httpx.AsyncClient, database: Database) -> None:
    ours = await make_customer(database, "ann")
    await make_events(database, ours, "ann", "Seen", "Bought", "Seen")

    events = (await client.get("/v1/customers/ann/events", params={"name": "Seen"})).json()["data"]

    assert [event["message_id"] for event in events] == ["ann/3", "ann/1"]


async def test_a_cursor_that_no_list_made_is_refused(client: httpx.AsyncClient, database: Database) -> None:
    await make_customer(database, "ann")

    for cursor in ("", "nonsense", "é", "e30", "WzFd" * 600):
        answer = await client.get("/v1/customers/ann/events", params={"cursor": cursor})
        assert answer.status_code == (422 if len(cursor) > 2_000 else 404), cursor
        assert answer.json()["errors"][0]["pointer"] == "/query/cursor"


async def test_a_limit_is_1_to_200(client: httpx.AsyncClient, database: Database) -> None:
    await make_customer(database, "ann")

    for limit in ("0", "201", "-1", "x", ""):
        assert (await client.get("/v1/customers/ann/events", params={"limit": limit})).status_code == 422, limit


async def test_orders_show_money_in_minor_units_and_unfinished_ones_last(
    client: httpx.AsyncClient, database: Database
) -> None:
    ours = await make_customer(database, "ann")
    async with database.transaction() as session:
        for number, completed in ((1, NOON), (2, NOON + timedelta(days=1)), (3, None)):
            session.add(
                Order(
                    order_id=f"o-{number}",
                    customer_id=ours,
                    state="completed" if completed else "started",
                    currency="EUR",
                    total=1299,
                    lines=[{"sku": "x"}],
                    completed_at=completed,
                )
            )

    pages: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (
            await client.get("/v1/customers/ann/orders", params={"limit": 1, **({"cursor": cursor} if cursor else {})})
        ).json()
        pages += [order["order_id"] for order in page["data"]]
        cursor = page["next_cursor"]
        assert page["data"][0]["total"] == {"amount": 1299, "currency": "EUR"}

    assert pages == ["o-2", "o-1", "o-3"]


async def test_the_timeline_joins_events_messages_steps_and_consents(
    client: httpx.AsyncClient, database: Database
) -> None:
    ours = await make_customer(database, "ann")
    await make_events(database, ours, "ann", "Product Added")
    await make_story(database, ours)

    first = (await client.get("/v1/customers/ann/timeline", params={"limit": 3})).json()
    rest = (await client.get("/v1/customers/ann/timeline", params={"cursor": first["next_cursor"]})).json()

    assert [(entry["kind"], entry["name"]) for entry in first["data"] + rest["data"]] == [
        ("consent", "marketing"),
        ("message", "cart-reminder"),
        ("step", "remind"),
        ("event", "Product Added"),
    ]


async def test_messages_and_runs_of_one_customer_are_listed(client: httpx.AsyncClient, database: Database) -> None:
    ann, bob = await make_customer(database, "ann"), await make_customer(database, "bob")
    await make_story(database, ann)
    await make_story(database, bob)

    messages = (await client.get("/v1/customers/ann/messages")).json()["data"]
    runs = (await client.get("/v1/customers/ann/runs")).json()["data"]

    assert [(each["customer_id"], each["template"]) for each in messages] == [("ann", "cart-reminder")]
    assert [(each["customer_id"], each["journey"]) for each in runs] == [("ann", "cart")]
    assert runs[0]["temporal"]["url"].startswith("http://127.0.0.1:8233/namespaces/default/workflows/journey%2F")


async def make_story(database: Database, ours: UUID) -> None:
    """A run that sent a message, and a consent: two, three and four minutes after noon."""
    run_id = new_id()
    run = Run(
        id=run_id, journey="cart", version=1, customer_id=ours, occasion="c1", state="active", shadow=False,
        seen_number=1, entry={}, entered_at=NOON, workflow_id=f"journey/cart/{ours}",
    )  # fmt: skip
    step = RunStep(
        run_id=run_id, step="remind", visit=1, kind="send", reached_at=NOON, at=NOON + timedelta(minutes=2),
        outcome="done",
    )  # fmt: skip
    message = Message(
        id=new_id(), customer_id=ours, channel="email", purpose="marketing", template="cart-reminder",
        state="accepted", created_at=NOON + timedelta(minutes=3),
    )  # fmt: skip
    consent = Consent(
        id=new_id(), customer_id=ours, purpose="marketing", channel="email", state="subscribed",
        at=NOON + timedelta(minutes=4), source="api", evidence={}, event_id=new_id(),
    )  # fmt: skip
    async with database.transaction() as session:
        session.add(run)
        await session.flush()
        session.add_all([step, message, consent])


async def test_a_patch_counts_after_what_was_said_of_the_trait_before_even_if_that_is_dated_ahead(
    client: httpx.AsyncClient, database: Database
) -> None:
    ann = await make_customer(database, "ann", traits={"size": "M"})
    ahead = datetime.now(UTC) + timedelta(hours=20)
    written = {"size": [ahead.isoformat(timespec="microseconds"), "m-1"]}
    async with database.transaction() as session:
        await session.execute(update(Customer).where(Customer.id == ann).values(trait_times=written))

    await client.patch("/v1/customers/ann", json={"traits": {"size": "L"}})
    await client.patch("/v1/customers/ann", json={"traits": {"size": "XL"}})

    async with database.read() as session:
        times = (await session.execute(select(Event.timestamp).order_by(Event.id))).scalars().all()
    assert times == [ahead + timedelta(microseconds=1), ahead + timedelta(microseconds=2)]
