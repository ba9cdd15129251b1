"""What the proof of an erasure says: what was looked for, what others' data shows; and that no words are left."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select, text
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment

from activities.erasures import ErasureActivities
from database.coupons import Coupon, CouponUse
from database.keys import IdempotencyKey
from database.session import Database
from database.suppressions import suppress
from domain.coupons import CouponState
from domain.erasures import ErasureInput, ProofInput
from domain.ids import new_id
from tests.api.conftest import ApiServer
from tests.api.test_journeys import CART
from tests.factories import NOON, make_customer, make_events
from tests.factories_journeys import make_run
from tests.rewarding import publish

ANN = "Ann.Canary@example.com"


async def erase(
    client: httpx.AsyncClient,
    database: Database,
    temporal: Client,
    *,
    rounds: int = 1,
    user_id: str = "ann",
    last: bool = True,
) -> dict[str, Any]:
    """Ask for an erasure and carry it out; its answer."""
    job = (await client.delete(f"/v1/customers/{user_id}")).json()["id"]
    activities, given = ErasureActivities(database, temporal), ErasureInput(erasure_id=UUID(job))
    for number in range(1, rounds + 1):
        await ActivityEnvironment().run(activities.delete_executions, given)
        await ActivityEnvironment().run(activities.remove_records, given)
        if number == rounds:
            proof = ProofInput(erasure_id=UUID(job), as_of=NOON, last=last)
            await ActivityEnvironment().run(activities.prove, proof)
    answer: dict[str, Any] = (await client.get(f"/v1/erasures/{job}")).json()
    return answer


async def test_the_proof_says_what_was_looked_for_without_naming_it(
    client: httpx.AsyncClient, database: Database, temporal_client: Client
) -> None:
    await make_customer(database, "ann", traits={"email": ANN, "phone": "+49 30 1234567"}, anonymous_id="browser")

    done = await erase(client, database, temporal_client)

    searched = done["proof"]["searched"]
    assert (searched["addresses"], searched["phones"], searched["user_ids"], searched["anonymous_ids"]) == (1, 1, 1, 1)
    assert {"plain", "percent", "base64", "sha256"} <= set(searched["forms"])
    assert searched["tables"] > 50
    assert done["clean"] is True
    assert "canary" not in str(done).lower()


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        ("plain", f"a gift for {ANN}"),
        ("percent", "https://shop.example/?to=Ann.Canary%40example.com"),
        ("base64", b64encode(f"x;{ANN.lower()};y".encode()).decode()),
        ("hex", ANN.lower().encode().hex()),
        ("sha256", hashlib.sha256(ANN.lower().encode()).hexdigest()),
        ("md5", hashlib.md5(ANN.lower().encode(), usedforsecurity=False).hexdigest()),
        ("unicode_escape", ANN.replace("@", r"\u0040")),
        ("unicode_escape", "".join(f"\\u{ord(each):04x}" for each in ANN)),
        ("entity", "".join(f"&#{ord(each)};" for each in ANN)),
        ("entity", "".join(f"&#x{ord(each):X};" for each in ANN)),
        ("percent", "".join(f"%{ord(each):02x}" for each in ANN)),
        ("percent", "".join(f"%25{ord(each):02x}" for each in ANN)),
        ("wide", ANN.replace("@", "\uff20")),
        ("invisible", ANN.replace("@", "\u200b@")),
        ("mixed", ANN.replace("@", "\u200b%40").replace("a", "&#97;")),
    ],
)
async def test_another_customers_event_that_shows_the_address_is_listed_for_a_decision(
    client: httpx.AsyncClient, database: Database, temporal_client: Client, form: str, shown: str
) -> None:
    await make_customer(database, "ann", traits={"email": ANN})
    bob = await make_customer(database, "bob")
    await make_events(database, bob, "bob", "Order Completed")
    async with database.transaction() as session:
        await session.execute(
            text("UPDATE events SET properties = jsonb_build_object('note', CAST(:t AS text))"), {"t": shown}
        )

    done = await erase(client, database, temporal_client)

    (listed,) = done["proof"]["events_of_others"]
    assert (listed["customer_id"], form in listed["forms"]) == (str(bob), True)
    assert (done["clean"], done["proof"]["found"], done["proof"]["others"]) == (False, {}, {"events": 1})
    assert (await client.get("/v1/customers/bob/events")).json()["data"][0]["properties"] == {"note": shown}


async def test_a_kept_answer_that_quotes_the_person_goes_with_them(
    client: httpx.AsyncClient, database: Database, temporal_client: Client
) -> None:
    await make_customer(database, "ann", traits={"email": ANN})
    async with database.transaction() as session:
        answer = {"scope": "key", "fingerprint": b"", "status": 200, "headers": {}, "body": f'"{ANN}"'.encode()}
        session.add(IdempotencyKey(key="import-7", customer_id=None, **answer))

    proof = (await erase(client, database, temporal_client))["proof"]

    assert (proof["removed"]["idempotency_keys"], proof["found"]) == (1, {})


@pytest.mark.parametrize("is_browser", [False, True])
async def test_an_erasure_ends_while_messages_go_on_naming_the_erased_id(
    client: httpx.AsyncClient, api_server: ApiServer, database: Database, temporal_client: Client, *, is_browser: bool
) -> None:
    await make_customer(database, "ann", traits={"email": ANN})
    job = UUID((await client.delete("/v1/customers/ann")).json()["id"])
    headers = {"Authorization": f"Bearer {api_server.browser_key}"} if is_browser else {}
    for number in range(5):  # no router takes them in here
        alias = {"userId": "ann", "anonymousId": f"b-{number}", "previousId": f"ann-{number}"}
        assert (await client.post("/v1/alias", json=alias, headers=headers)).status_code == 200
    activities = ErasureActivities(database, temporal_client)

    await ActivityEnvironment().run(activities.remove_records, ErasureInput(erasure_id=job))
    ended = await ActivityEnvironment().run(activities.prove, ProofInput(erasure_id=job, as_of=NOON))

    assert ended
    assert (await client.get(f"/v1/erasures/{job}")).json()["proof"]["found"] == {}


async def test_counts_are_right_however_often_the_job_is_tried(
    client: httpx.AsyncClient, database: Database, temporal_client: Client
) -> None:
    ann = await make_customer(database, "ann", traits={"email": ANN})
    await make_events(database, ann, "ann", "Seen", "Seen", "Seen")
    await make_run(database, "cart", step="quiet", outcome="done", customer_id=ann)

    proof = (await erase(client, database, temporal_client, rounds=3))["proof"]

    assert (proof["removed"]["events"], proof["blanked"]["customers"], proof["blanked"]["runs"]) == (3, 1, 1)


async def test_words_that_staff_wrote_about_somebody_are_blanked_everywhere(
    client: httpx.AsyncClient, database: Database, temporal_client: Client
) -> None:
    await publish(database, "journey", CART)
    ann = await make_customer(database, "ann", traits={"email": ANN})
    run = await make_run(database, "cart", customer_id=ann, step="quiet", outcome="waiting")
    await client.post(f"/v1/runs/{run}/exit", json={"reason": "Canary shouted at us"})
    async with database.transaction() as session:
        await suppress(session, "email", [ANN], reason="manual", at=NOON, note="Canary again", actor="key")
        session.add(Coupon(code="SORRY-CANARY", reward="tenner", state=CouponState.ACTIVE, customer_id=ann))
        await session.flush()
        session.add(
            CouponUse(
                id=new_id(), code="SORRY-CANARY", order_id="o-1", state="used", currency="EUR", discount=1, shipping=0,
                shares=[], at=NOON,
            )
        )  # fmt: skip

    funnel = (await client.get("/v1/journeys/cart/funnel")).json()
    assert funnel["exited"] == {"ended_by_hand": 1}
    assert (await client.get(f"/v1/runs/{run}")).json()["reason"] == "Canary shouted at us"
    await erase(client, database, temporal_client)

    assert await where_is(database, "canary") == set()
    async with database.read() as session:
        (code,) = await session.scalars(select(CouponUse.code))
    assert code.startswith("ERASED-")


async def test_a_phone_that_got_no_messages_goes_with_what_was_written_about_it_and_stays_suppressed(
    client: httpx.AsyncClient, database: Database, temporal_client: Client
) -> None:
    await make_customer(database, "ann", traits={"phone": "+49 30 1234567"})
    objection = {"address": "+49 (30) 123 45 67", "channel": "sms", "reason": "objection", "note": "Canary's mother"}
    assert (await client.post("/v1/suppressions", json=objection)).status_code == 200
    manual = objection | {"reason": "manual", "note": None}
    row = (await client.post("/v1/suppressions", json=manual)).json()
    await client.post(f"/v1/suppressions/{row['id']}/release", json={"reason": "Canary herself called"})

    done = await erase(client, database, temporal_client)

    assert (done["clean"], done["proof"]["blanked"]["suppressions"]) == (True, 2)
    assert await where_is(database, "canary") == set()
    standing = (await client.get("/v1/suppressions", params={"address": "+49301234567", "channel": "sms"})).json()
    assert [(each["reason"], each["address"]) for each in standing["data"]] == [("objection", None)]


@pytest.mark.parametrize("user_id", ["ann", "canary-0000-4711"])
async def test_nothing_of_the_person_stands_in_what_postgresql_remembers_of_its_tables(
    client: httpx.AsyncClient, database: Database, temporal_client: Client, user_id: str
) -> None:
    ann = await make_customer(database, user_id, traits={"email": ANN}, anonymous_id="browser")
    await make_events(database, ann, user_id, "Seen")
    bob = await make_customer(database, "bob", traits={"email": "bob@example.com"})
    await make_events(database, bob, "bob", "Seen")
    await client.delete("/v1/customers/bob")
    await sample_every_table(database)
    expected = {"customers"} if user_id == "ann" else {"customers", "identities"}
    assert await where_remembered(database, "canary") >= expected

    done = await erase(client, database, temporal_client, user_id=user_id, last=False)

    assert done["clean"] is True
    assert await where_remembered(database, "canary") == set()


async def test_what_a_job_looked_for_does_not_stand_in_what_postgresql_remembers_when_it_has_completed(
    client: httpx.AsyncClient, database: Database, temporal_client: Client
) -> None:
    await make_customer(database, "ann", traits={"email": ANN})
    await make_customer(database, "bob", traits={"email": "bob@example.com"})
    for name in ("bob", "ann"):
        await client.delete(f"/v1/customers/{name}")
    await sample_every_table(database)
    assert "erasures" in await where_remembered(database, "canary")

    done = await erase(client, database, temporal_client, last=False)

    assert done["clean"] is True
    assert await where_remembered(database, "canary") == set()


async def test_lists_of_runs_and_messages_agree_about_an_erased_customer(
    client: httpx.AsyncClient, database: Database
) -> None:
    ann = await make_customer(database, "ann")
    await make_run(database, "cart", step="quiet", outcome="done", customer_id=ann)
    await client.delete("/v1/customers/ann")

    answers = [await client.get(f"/v1/{each}", params={"customer_id": "ann"}) for each in ("runs", "messages")]

    assert [(each.status_code, each.json()["code"]) for each in answers] == [(404, "customer_not_found")] * 2
    assert (await client.get("/v1/runs")).json()["data"][0]["customer_id"] == str(ann)


async def where_is(database: Database, canary: str) -> set[str]:
    """The tables in which a row shows the canary as text or bytes."""
    async with database.read() as session:
        every = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        tables = (await session.execute(text(every))).scalars().all()
        look = 'SELECT EXISTS (SELECT FROM "{}" t WHERE lower(t::text) ~ :canary)'
        bounds = {"canary": f"{canary}|{canary.encode().hex()}"}
        return {table for table in tables if await session.scalar(text(look.format(table)), bounds)}


async def sample_every_table(database: Database) -> None:
    """What PostgreSQL does by itself once enough of a table has changed. It is the owner's to ask for."""
    async with database.transaction() as session:
        await session.execute(text("SET LOCAL ROLE NONE"))
        await session.execute(text("ANALYZE"))


async def where_remembered(database: Database, canary: str) -> set[str]:
    """The tables of whose values PostgreSQL keeps a sample that shows the canary."""
    sampled = "lower(concat_ws(' ', most_common_vals::text, histogram_bounds::text))"
    async with database.read() as session:
        found = text(f"SELECT tablename::text FROM pg_stats WHERE schemaname = 'public' AND {sampled} ~ :canary")
        return set(await session.scalars(found, {"canary": canary}))
