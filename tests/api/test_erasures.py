"""Erasing and exporting a customer over HTTP; what an erasure does is proven in tests/activities and scenarios."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from database.audit import AuditEntry
from database.erasures import complete_erasure
from database.session import Database
from domain.ids import new_id
from tests.api.conftest import ApiServer
from tests.factories import make_customer, make_events


async def audited(database: Database) -> list[tuple[str, str]]:
    async with database.read() as session:
        entries = (await session.execute(select(AuditEntry).order_by(AuditEntry.id))).scalars()
        return [(entry.action, entry.target) for entry in entries]


async def test_an_erased_customer_is_gone_for_every_route_at_once(
    client: httpx.AsyncClient, database: Database
) -> None:
    ours = await make_customer(database, "ann", traits={"email": "ann@example.com"})

    answer = await client.delete("/v1/customers/ann")

    assert (answer.status_code, answer.json()["state"], answer.json()["clean"]) == (202, "requested", None)
    for path in ("", "/events", "/timeline", "/export", "/consent"):
        assert (await client.get(f"/v1/customers/ann{path}")).status_code == 404, path
    assert await audited(database) == [("erase", f"customer/{ours}")]


async def test_asking_again_while_an_erasure_is_under_way_answers_that_erasure(
    client: httpx.AsyncClient, database: Database
) -> None:
    await make_customer(database, "ann", traits={"email": "ann@example.com"})
    await make_customer(database, "bob", traits={"email": "ann@example.com"})

    first, again = [await client.delete("/v1/customers/ann") for _ in range(2)]

    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert again.headers["Location"] == first.headers["Location"]
    assert (await client.delete("/v1/customers/carl")).status_code == 404
    assert len(await audited(database)) == 1
    async with database.transaction() as session:
        await complete_erasure(session, UUID(first.json()["id"]), {}, datetime.now(UTC))
    assert (await client.delete("/v1/customers/ann")).status_code == 404


@pytest.mark.parametrize("spelt", ["An\u200bna-1", " anna-1", "ANNA-1"])
async def test_an_erased_id_in_another_spelling_is_answered_as_the_id_itself(
    client: httpx.AsyncClient, database: Database, spelt: str
) -> None:
    await make_customer(database, "Anna-1")
    await make_customer(database, "anna-10")
    first, other = [(await client.delete(f"/v1/customers/{id_}")).json() for id_ in ("Anna-1", "anna-10")]

    again = await client.delete(f"/v1/customers/{quote(spelt)}")

    assert (again.status_code, again.json()["id"]) == (202, first["id"])
    assert (await client.get("/v1/runs", params={"customer_id": spelt})).status_code == 404
    assert (await client.get("/v1/runs", params={"customer_id": "anna-2"})).status_code == 200
    assert (await client.delete("/v1/customers/anna-10")).json()["id"] == other["id"]


async def test_the_job_can_be_read_and_names_nobody(client: httpx.AsyncClient, database: Database) -> None:
    await make_customer(database, "ann@example.com", traits={"email": "ann@example.com"})
    job = (await client.delete("/v1/customers/ann%40example.com")).json()

    answer = await client.get(f"/v1/erasures/{job['id']}")

    assert answer.json() == job
    assert "ann" not in answer.text
    assert (await client.get(f"/v1/erasures/{new_id()}")).status_code == 404


async def test_the_answer_to_an_erasure_says_where_its_job_is(client: httpx.AsyncClient, database: Database) -> None:
    await make_customer(database, "ann")

    tries = [await client.delete("/v1/customers/ann", headers={"Idempotency-Key": "bye"}) for _ in range(2)]

    (location,) = {answer.headers["location"] for answer in tries}
    assert (await client.get(location)).json() == tries[0].json()
    document = (await client.get("/openapi.json")).json()
    accepted = document["paths"]["/v1/customers/{customer_id}"]["delete"]["responses"]["202"]
    assert list(accepted["headers"]) == ["Location"]
    assert accepted["content"]["application/json"]["schema"]


async def test_asking_again_with_the_same_idempotency_key_gets_the_first_answer(
    client: httpx.AsyncClient, database: Database
) -> None:
    await make_customer(database, "ann")

    tries = [await client.delete("/v1/customers/ann", headers={"Idempotency-Key": "bye"}) for _ in range(2)]

    assert [answer.status_code for answer in tries] == [202, 202]
    assert tries[0].json() == tries[1].json()


async def test_an_export_holds_everything_and_is_noted(client: httpx.AsyncClient, database: Database) -> None:
    ours = await make_customer(database, "ann", traits={"email": "ann@example.com"}, anonymous_id="browser")
    await make_events(database, ours, "ann", "Product Added", "Order Completed")
    other = await make_customer(database, "bob")
    await make_events(database, other, "bob", "Product Viewed")
    await client.put("/v1/customers/ann/consent", json={"state": "subscribed", "text": "I want news"})

    answer = await client.get("/v1/customers/ann/export")

    export = answer.json()
    assert export["profile"]["traits"] == {"email": "ann@example.com"}
    assert [event["name"] for event in export["events"]] == ["Product Added", "Order Completed"]
    assert [identity["value"] for identity in export["identities"]] == ["ann", "browser"]
    assert [consent["evidence"] for consent in export["consents"]] == [{"text": "I want news"}]
    assert "bob" not in answer.text
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["cache-control"] == "no-store"
    assert ("export", f"customer/{ours}") in await audited(database)


async def test_a_browser_that_names_an_erased_customer_is_refused_until_the_shop_does(
    client: httpx.AsyncClient, api_server: ApiServer, database: Database
) -> None:
    await make_customer(database, "ann")
    await client.delete("/v1/customers/ann")
    browser = {"Authorization": f"Bearer {api_server.browser_key}"}
    bare, known = {"type": "track", "event": "Seen", "userId": "ann"}, {"anonymousId": "browser-1"}

    alone = await client.post("/v1/track", json=bare, headers=browser)
    batch = await client.post(
        "/v1/batch", json={"batch": [bare | known, bare, bare | {"userId": "bob"}]}, headers=browser
    )
    await client.post("/v1/track", json=bare)  # with the shop's own key
    after = await client.post("/v1/track", json=bare, headers=browser)

    assert (alone.status_code, alone.json()["code"]) == (403, "erased_id")
    assert (batch.json()["accepted"], [(each["index"], each["code"]) for each in batch.json()["rejected"]]) == (
        2,
        [(1, "erased_id")],
    )
    assert after.status_code == 200
