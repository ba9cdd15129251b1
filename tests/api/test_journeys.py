"""Journeys over HTTP: saved, checked, published by plan, paused and archived."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from database.documents import DocumentRow, DocumentVersion
from database.keys import IdempotencyKey
from database.session import Database
from tests.factories import make_events
from tests.factories_journeys import NOW, make_customer, make_run

CART: dict[str, Any] = {
    "journey": "cart",
    "name": "Cart",
    "purpose": "marketing",
    "enter": {"on": {"any": [{"event": "Product Added"}, {"api": {}}]}},
    "exit": [{"event": "Order Completed"}],
    "steps": [
        {"wait_for": {"id": "quiet", "timeout": "1h", "restart_on": [{"event": "Product Added"}]}},
        {"send": {"template": "cart-reminder"}},
    ],
}


@pytest.fixture(autouse=True)
async def template(database: Database) -> None:
    """The template that the journeys here send."""
    async with database.transaction() as session:
        session.add(
            DocumentRow(
                kind="template", key="cart-reminder", draft={}, state="live", live_version=1, etag="", updated_at=NOW
            )
        )
        await session.flush()
        session.add(
            DocumentVersion(
                kind="template", key="cart-reminder", version=1, document={"channel": "email"}, published_at=NOW
            )
        )


async def save(client: httpx.AsyncClient, document: dict[str, Any]) -> httpx.Response:
    return await client.put(f"/v1/journeys/{document['journey']}", json=document)


async def publish(client: httpx.AsyncClient, document: dict[str, Any], **wish: Any) -> dict[str, Any]:
    saved = await save(client, document)
    assert saved.status_code == 200, saved.text
    published = await client.post(f"/v1/journeys/{document['journey']}/publish", json=wish)
    assert published.status_code == 200, published.text
    answer: dict[str, Any] = published.json()
    return answer


async def test_a_journey_is_saved_checked_and_published_with_ids_written_out(client: httpx.AsyncClient) -> None:
    answer = await publish(client, CART)

    assert answer["version"] == 1
    version = (await client.get("/v1/journeys/cart/versions/1")).json()
    assert [step["id"] for step in version["document"]["steps"]] == ["quiet", "send-2"]


async def test_yaml_is_taken_too(client: httpx.AsyncClient) -> None:
    body = """
    journey: cart
    purpose: marketing
    enter: {on: {event: Product Added}}
    steps:
      - send: {template: cart-reminder}
    """
    saved = await client.put("/v1/journeys/cart", content=body, headers={"Content-Type": "application/yaml"})

    assert saved.status_code == 200, saved.text
    assert [finding["code"] for finding in saved.json()["findings"]] == ["event_never_seen"]


async def test_an_unknown_key_is_found_with_its_pointer_and_the_draft_is_kept(client: httpx.AsyncClient) -> None:
    answer = await save(client, CART | {"steps": [{"send": {"template": "cart-reminder", "cahnnel": "email"}}]})

    assert answer.status_code == 200
    assert answer.json()["draft"]["steps"][0]["send"]["cahnnel"] == "email"
    (finding,) = answer.json()["findings"]
    assert (finding["code"], finding["pointer"]) == ("invalid", "/steps/0/send/cahnnel")


async def test_errors_keep_a_journey_from_being_published(client: httpx.AsyncClient) -> None:
    saved = await save(client, CART | {"steps": [{"send": {"template": "no-such"}}]})
    refused = await client.post("/v1/journeys/cart/publish", json={})

    assert saved.status_code == 200
    assert refused.status_code == 409
    assert refused.json()["code"] == "checks_failed"
    finding = refused.json()["findings"][0]
    assert (finding["code"], finding["step"], finding["pointer"]) == (
        "unknown_template", "send-1", "/steps/0/send/template",
    )  # fmt: skip


async def test_with_runs_in_flight_the_plan_comes_first_and_is_confirmed_by_its_digest(
    client: httpx.AsyncClient, database: Database
) -> None:
    await publish(client, CART)
    await make_run(database, "cart", step="quiet", outcome="waiting")
    changed = CART | {"steps": [*CART["steps"], {"wait": {"for": "1d"}}]}
    await save(client, changed)

    refused = await client.post("/v1/journeys/cart/publish", json={})

    plan = refused.json()
    assert (refused.status_code, plan["code"]) == (409, "plan_required")
    assert (await client.get("/v1/journeys/cart")).json()["version"] == 1
    assert plan["version"] == 2
    assert [(at["step"], at["runs"], at["policy"]) for at in plan["in_flight"]] == [("quiet", 1, "stay")]
    assert {"change": "added", "step": "wait-3", "kind": "wait"} in plan["changes"]
    confirmed = await client.post("/v1/journeys/cart/publish", json={"plan": plan["plan"], "policy": {"quiet": "move"}})
    assert confirmed.json()["version"] == 2, confirmed.text
    runs = confirmed.json()["runs"]
    assert (runs["stay"], runs["moved"], runs["finished"]) == (0, 1, 0)
    [run] = (await client.get("/v1/runs", params={"journey": "cart"})).json()["data"]
    assert run["version"] == 2


async def test_a_plan_is_stale_once_the_draft_has_changed(client: httpx.AsyncClient, database: Database) -> None:
    await publish(client, CART)
    await make_run(database, "cart", step="quiet", outcome="waiting")
    plan = (await client.post("/v1/journeys/cart/publish", json={"dry_run": True})).json()
    await save(client, CART | {"name": "Another"})

    stale = await client.post("/v1/journeys/cart/publish", json={"plan": plan["plan"]})

    assert (stale.status_code, stale.json()["code"]) == (409, "plan_changed")


async def test_a_policy_about_an_unknown_step_publishes_nothing(client: httpx.AsyncClient, database: Database) -> None:
    await publish(client, CART)
    await make_run(database, "cart", step="quiet", outcome="waiting")
    plan = (await client.post("/v1/journeys/cart/publish", json={"dry_run": True})).json()

    wish = {"plan": plan["plan"], "policy": {"queit": "finish"}}
    refused = await client.post("/v1/journeys/cart/publish", json=wish)

    assert (refused.status_code, refused.json()["code"]) == (422, "unknown_step")
    assert [fault["pointer"] for fault in refused.json()["errors"]] == ["/policy/queit"]
    assert (await client.get("/v1/journeys/cart")).json()["version"] == 1


async def test_finish_ends_the_runs_at_a_step(client: httpx.AsyncClient, database: Database) -> None:
    await publish(client, CART)
    run_id = await make_run(database, "cart", step="quiet", outcome="waiting")
    plan = (await client.post("/v1/journeys/cart/publish", json={"dry_run": True})).json()

    await client.post("/v1/journeys/cart/publish", json={"plan": plan["plan"], "policy": {"quiet": "finish"}})

    run = (await client.get(f"/v1/runs/{run_id}")).json()
    assert (run["state"], run["reason"]) == ("exited", "finished")


async def test_archiving_ends_all_runs(client: httpx.AsyncClient, database: Database) -> None:
    await publish(client, CART)
    run_id = await make_run(database, "cart", step="quiet", outcome="waiting")

    archived = await client.post("/v1/journeys/cart/archive")

    assert archived.json()["state"] == "archived"
    run = (await client.get(f"/v1/runs/{run_id}")).json()
    assert (run["state"], run["reason"], run["steps"][0]["outcome"]) == ("exited", "archived", "cancelled")


async def test_an_archived_journey_is_published_again_only_with_revive(client: httpx.AsyncClient) -> None:
    await publish(client, CART)
    await client.post("/v1/journeys/cart/archive")

    refused = await client.post("/v1/journeys/cart/publish", json={})

    assert (refused.status_code, refused.json()["code"]) == (409, "archived")
    assert (await client.get("/v1/journeys/cart")).json()["state"] == "archived"
    revived = await client.post("/v1/journeys/cart/publish", json={"revive": True})
    assert (revived.status_code, revived.json()["state"], revived.json()["version"]) == (200, "live", 2)


async def test_a_call_enters_a_customer_once_while_the_run_is_active(
    client: httpx.AsyncClient, database: Database
) -> None:
    await publish(client, CART)
    await make_customer(database, "shop/7 @+ü")
    wish = {"customer_id": "shop/7 @+ü", "properties": {"cart_id": "c1"}}

    first = (await client.post("/v1/journeys/cart/enter", json=wish)).json()
    second = (await client.post("/v1/journeys/cart/enter", json=wish)).json()

    assert first["entered"]
    assert first["run"]["customer_id"] == "shop/7 @+ü"
    assert (second["entered"], second["reason"]) == (False, "already_active")
    explained = (await client.get("/v1/journeys/cart/explain", params={"customer_id": "shop/7 @+ü"})).json()
    assert explained["entered"]
    assert [seen["outcome"] for seen in explained["considered"]] == ["kept_out", "entered"]


async def test_phps_empty_array_enters_a_customer_without_properties(
    client: httpx.AsyncClient, database: Database
) -> None:
    await publish(client, CART)
    await make_customer(database, "ann")

    entered = await client.post("/v1/journeys/cart/enter", json={"customer_id": "ann", "properties": []})
    refused = await client.post("/v1/journeys/cart/enter", json={"customer_id": "ann", "properties": ["c1"]})

    assert (entered.status_code, entered.json()["entered"]) == (200, True)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/properties")


async def test_answers_about_a_customer_are_kept_under_the_customers_name(
    client: httpx.AsyncClient, database: Database
) -> None:
    await publish(client, CART)
    ours = await make_customer(database, "ann")
    wish = {"customer_id": "ann"}
    period = {"from": (NOW - timedelta(days=1)).isoformat(), "to": NOW.isoformat()}

    entered = await client.post("/v1/journeys/cart/enter", json=wish, headers={"Idempotency-Key": "enter"})
    run_id = entered.json()["run"]["id"]
    await client.post(f"/v1/runs/{run_id}/exit", headers={"Idempotency-Key": "exit"})
    simulated = await client.post(
        "/v1/journeys/cart/simulate", json=period, headers={"Idempotency-Key": "only a question"}
    )

    assert simulated.status_code == 200
    async with database.read() as session:
        kept = (await session.execute(select(IdempotencyKey.key, IdempotencyKey.customer_id))).all()
    assert {tuple(row) for row in kept} == {("enter", ours), ("exit", ours)}


async def test_explain_says_since_when_it_knows_why_somebody_did_not_enter(
    client: httpx.AsyncClient, database: Database
) -> None:
    await publish(client, CART)
    await make_customer(database, "u-1")
    await client.put("/v1/settings", json={"decisions_kept_days": 30})

    explained = (await client.get("/v1/journeys/cart/explain", params={"customer_id": "u-1"})).json()

    since = datetime.fromisoformat(explained["considered_since"])
    assert timedelta(days=30) <= datetime.now(UTC) - since < timedelta(days=30, minutes=1)


async def test_entering_needs_a_live_journey_with_an_api_entry_and_a_known_customer(
    client: httpx.AsyncClient, database: Database
) -> None:
    await save(client, CART)
    await make_customer(database, "u-1")
    not_live = await client.post("/v1/journeys/cart/enter", json={"customer_id": "u-1"})
    await publish(client, CART | {"enter": {"on": {"event": "Product Added"}}})
    no_entry = await client.post("/v1/journeys/cart/enter", json={"customer_id": "u-1"})
    nobody = await client.post("/v1/journeys/cart/enter", json={"customer_id": "u-2"})
    nothing = await client.post("/v1/journeys/none/enter", json={"customer_id": "u-1"})

    codes = [answer.json()["code"] for answer in (not_live, no_entry, nobody, nothing)]
    assert codes == ["not_live", "no_api_entry", "customer_not_found", "journey_not_found"]


async def test_a_call_enters_once_for_each_item_and_answers_the_first_run(
    client: httpx.AsyncClient, database: Database
) -> None:
    await publish(client, CART | {"enter": {"on": "api", "for_each": "properties.products"}, "steps": [{"exit": "x"}]})
    await make_customer(database, "u-1")

    def call(*products: str) -> dict[str, Any]:
        return {"customer_id": "u-1", "properties": {"products": [{"sku": sku} for sku in products]}}

    answer = (await client.post("/v1/journeys/cart/enter", json=call("POT", "ROSE"))).json()
    empty = (await client.post("/v1/journeys/cart/enter", json=call())).json()

    runs = (await client.get("/v1/runs", params={"journey": "cart"})).json()["data"]
    assert answer["entered"] is True
    assert {run["id"] for run in runs} > {answer["run"]["id"]}
    assert len(runs) == 2
    assert (empty["entered"], empty["reason"]) == (False, "items_missing")


async def test_a_run_is_ended_by_hand_once(client: httpx.AsyncClient, database: Database) -> None:
    await publish(client, CART)
    run_id = await make_run(database, "cart", step="quiet", outcome="waiting")

    ended = await client.post(f"/v1/runs/{run_id}/exit", json={"reason": "asked by phone"})
    again = await client.post(f"/v1/runs/{run_id}/exit")

    assert (ended.json()["state"], ended.json()["reason"]) == ("exited", "asked by phone")
    assert (again.status_code, again.json()["code"]) == (409, "run_ended")


async def test_the_funnel_counts_steps_and_the_holdout_apart(client: httpx.AsyncClient, database: Database) -> None:
    await publish(client, CART)
    await make_run(database, "cart", step="quiet", outcome="waiting")
    await make_run(database, "cart", step="quiet", outcome="done", state="exited", reason="exit: Order Completed")
    await make_run(database, "cart", step="quiet", outcome="done", shadow=True)

    funnel = (await client.get("/v1/journeys/cart/funnel")).json()

    assert (funnel["version"], funnel["entered"], funnel["active"]) == (1, 2, 1)
    assert funnel["exited"] == {"exit: Order Completed": 1}
    first = funnel["steps"][0]
    assert (first["step"], first["kind"], first["reached"], first["waiting"], first["done"]) == (
        "quiet", "wait_for", 2, 1, 1,
    )  # fmt: skip
    assert funnel["holdout"]["entered"] == 1


async def test_a_run_says_why_it_is_not_trusted_and_the_funnel_counts_such_runs(
    client: httpx.AsyncClient, database: Database
) -> None:
    await publish(client, CART)
    ann, told = await make_customer(database, "ann"), {"event": "Product Added", "properties": {}}
    doubt = {"by": "condition", "step": "quiet", "at": NOW.isoformat()}
    await make_run(database, "cart", step="quiet", outcome="done", customer_id=ann, untrusted=doubt)
    await make_run(database, "cart", step="quiet", outcome="done", entry=told | {"trusted": False})
    await make_run(database, "cart", step="quiet", outcome="done", entry=told | {"trusted": True})

    shown = (await client.get("/v1/runs")).json()["data"]
    explained = (await client.get("/v1/journeys/cart/explain", params={"customer_id": "ann"})).json()
    funnel = (await client.get("/v1/journeys/cart/funnel")).json()

    assert sorted((run["trusted"], (run["untrusted"] or {}).get("by")) for run in shown) == [
        (False, "condition"), (False, "event"), (True, None),
    ]  # fmt: skip
    assert [(run["trusted"], run["untrusted"]["step"]) for run in explained["runs"]] == [(False, "quiet")]
    assert (funnel["entered"], funnel["untrusted"]) == (3, 2)


async def test_lists_of_runs_filter_and_page(client: httpx.AsyncClient, database: Database) -> None:
    await publish(client, CART)
    ids = {str(await make_run(database, "cart", step="quiet", outcome="waiting")) for _ in range(3)}
    await make_run(database, "cart", step="quiet", outcome="done", state="completed")

    first = (await client.get("/v1/runs", params={"state": "active", "limit": 2})).json()
    rest = (await client.get("/v1/runs", params={"state": "active", "limit": 2, "cursor": first["next_cursor"]})).json()

    assert {run["id"] for run in first["data"] + rest["data"]} == ids
    assert rest["next_cursor"] is None
    assert (await client.get("/v1/runs", params={"state": "gone"})).status_code == 422
    assert (await client.get("/v1/runs", params={"customer_id": "nobody"})).json()["data"] == []


async def test_names_that_nothing_has_ever_seen_are_findings_of_the_draft(
    client: httpx.AsyncClient, database: Database
) -> None:
    ann = await make_customer(database, "ann", traits={"plan": "pro", "address": {"country": "DE"}})
    await make_events(database, ann, "ann", "Product Added")  # its properties: {"of": "ann"}
    told = {"all": [{"trait": "address.contry", "eq": "DE"}, {"message": "opened", "template": "cart-remindr"}]}
    sound = {"all": [{"trait": "address.country", "eq": "DE"}, {"message": "opened", "template": "cart-reminder"}]}
    enter = {"on": {"event": "Product Added"}}

    wrong = await save(client, CART | {"enter": {**enter, "if": told, "occasion": "properties.cart"}})
    right = await save(client, CART | {"enter": {**enter, "if": sound, "occasion": "properties.of"}})

    assert {(each["code"], each["pointer"], each["severity"]) for each in wrong.json()["findings"]} >= {
        ("trait_never_seen", "/enter/if/all/0", "warning"),
        ("unknown_template", "/enter/if/all/1/template", "warning"),
        ("property_never_seen", "/enter/occasion", "warning"),
    }
    assert [each for each in right.json()["findings"] if each["pointer"].startswith("/enter/")] == []
