"""Rewards over HTTP: publishing, the catalogue, codes, redeeming, and the ends of a redemption."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest

from database.session import Database
from domain.ids import new_id
from tests.rewarding import TENNER, balance_of, make_member, publish_programme, publish_reward


@pytest.fixture(autouse=True)
async def programme(database: Database) -> None:
    await publish_programme(database)


async def redeem(client: httpx.AsyncClient, who: str, reward: str, body: Any = None, **headers: str) -> httpx.Response:
    return await client.post(f"/v1/customers/{who}/rewards/{reward}/redeem", json=body, headers=headers)


async def catalogue(client: httpx.AsyncClient, who: str) -> dict[str, dict[str, Any]]:
    answer = await client.get(f"/v1/customers/{who}/rewards", params={"available": "true"})
    assert answer.status_code == 200, answer.text
    return {entry["reward"]: entry for entry in answer.json()["data"]}


async def test_a_reward_is_published_like_every_document_and_can_then_be_redeemed(
    client: httpx.AsyncClient, database: Database
) -> None:
    await make_member(database, "ann", points=150)
    document = {"name": "A tenner off", **{key: value for key, value in TENNER.items() if key != "reward"}}
    saved = await client.put("/v1/rewards/tenner", json=document)
    assert (saved.status_code, saved.json()["findings"]) == (200, [])
    assert (await redeem(client, "ann", "tenner")).json()["code"] == "reward_not_found"
    assert (await client.post("/v1/rewards/tenner/publish", json={})).status_code == 200

    offered = (await catalogue(client, "ann"))["tenner"]
    answer = await redeem(client, "ann", "tenner")

    assert (offered["available"], offered["points"], offered["kind"], offered["name"]) == (
        *(True, 100, "amount"),
        "A tenner off",
    )
    redemption = answer.json()
    assert answer.status_code == 200
    assert (redemption["reward"], redemption["points"], redemption["state"]) == ("tenner", 100, "issued")
    assert redemption["code"]
    assert (await client.get(f"/v1/redemptions/{redemption['id']}")).json() == redemption


async def test_a_draft_says_what_is_wrong_with_it_and_is_not_published(client: httpx.AsyncClient) -> None:
    document = {"gives": {"gift": "tea"}, "eligible": {"if": {"event": "properties.total", "gte": 1}}}

    saved = await client.put("/v1/rewards/free-tea", json=document)
    published = await client.post("/v1/rewards/free-tea/publish", json={})

    assert [finding["code"] for finding in saved.json()["findings"]] == ["needs_a_run"]
    assert (published.status_code, published.json()["code"]) == (409, "checks_failed")


@pytest.mark.parametrize("document", [{"gives": {"wish": 1}}, {"gives": {"percent": 10}, "stock": -1}, {"price": []}])
async def test_a_document_of_another_shape_is_kept_and_not_published(
    client: httpx.AsyncClient, document: dict[str, Any]
) -> None:
    answer = await client.put("/v1/rewards/odd-one", json=document)
    published = await client.post("/v1/rewards/odd-one/publish", json={})

    assert {finding["code"] for finding in answer.json()["findings"]} == {"invalid"}
    assert (published.status_code, published.json()["code"]) == (409, "checks_failed")


async def test_the_catalogue_tells_the_reason_for_each_that_cannot_be_had(
    client: httpx.AsyncClient, database: Database
) -> None:
    await publish_reward(database)
    await publish_reward(database, reward="gone", stock=0)
    await publish_reward(database, reward="dear", price=[{"points": 900}])
    await make_member(database, "ann/1", points=100)

    found = await catalogue(client, "ann%2F1")
    only_not = await client.get("/v1/customers/ann%2F1/rewards", params={"available": "false"})

    assert {key: (entry["available"], entry["reason"]) for key, entry in found.items()} == {
        "dear": (False, "insufficient_points"),
        "free-tea": (True, None),
        "gone": (False, "sold_out"),
    }
    assert (found["gone"]["left"], found["dear"]["left"]) == (0, None)
    assert [entry["reward"] for entry in only_not.json()["data"]] == ["dear", "gone"]
    assert (await client.get("/v1/customers/nobody/rewards")).status_code == 404


@pytest.mark.parametrize(
    ("reward", "code"),
    [
        ({"stock": 0}, "sold_out"),
        ({"price": [{"points": 101}]}, "insufficient_points"),
        ({"price": []}, "not_for_sale"),
    ],
)
async def test_a_refusal_is_a_conflict_with_its_reason_and_writes_nothing(
    client: httpx.AsyncClient, database: Database, reward: dict[str, Any], code: str
) -> None:
    await publish_reward(database, **reward)
    ann = await make_member(database, "ann", points=100)

    answer = await redeem(client, "ann", "free-tea")

    assert (answer.status_code, answer.json()["code"], answer.json()["reasons"]) == (409, code, [code])
    assert (await balance_of(database, ann)).available == 100
    assert (await client.get("/v1/redemptions")).json()["data"] == []


async def test_without_a_live_programme_nothing_is_redeemed_for_points(
    client: httpx.AsyncClient, database: Database
) -> None:
    await client.post("/v1/programmes/main/archive")
    await publish_reward(database)
    await make_member(database, "ann")

    assert (await redeem(client, "ann", "free-tea")).json()["code"] == "no_programme"


async def test_the_same_idempotency_key_redeems_once(client: httpx.AsyncClient, database: Database) -> None:
    await publish_reward(database)
    ann = await make_member(database, "ann", points=300)

    answers = await asyncio.gather(
        *(redeem(client, "ann", "free-tea", **{"Idempotency-Key": "click"}) for _ in range(5))
    )
    other = await redeem(client, "ann", "free-tea", {"points": 100}, **{"Idempotency-Key": "click"})

    assert len({answer.json()["id"] for answer in answers}) == 1
    assert (await balance_of(database, ann)).available == 200
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_mismatch")


async def test_the_price_that_the_customer_saw_is_the_price_or_nothing_happens(
    client: httpx.AsyncClient, database: Database
) -> None:
    await publish_reward(database)
    await make_member(database, "ann", points=300)

    refused = await redeem(client, "ann", "free-tea", {"points": 50})
    done = await redeem(client, "ann", "free-tea", {"points": 100})

    assert (refused.status_code, refused.json()["code"], refused.json()["points"]) == (409, "price_changed", 100)
    assert done.status_code == 200


async def test_of_fulfil_and_cancel_the_second_is_told_how_it_ended(
    client: httpx.AsyncClient, database: Database
) -> None:
    await publish_reward(database)
    ann = await make_member(database, "ann", points=300)
    first, second = [(await redeem(client, "ann", "free-tea")).json()["id"] for _ in range(2)]

    fulfilled = await client.post(f"/v1/redemptions/{first}/fulfil")
    cancelled = await client.post(f"/v1/redemptions/{second}/cancel", json={"by": "shop", "reason": "broken"})
    losers = [
        await client.post(f"/v1/redemptions/{first}/cancel"),
        await client.post(f"/v1/redemptions/{second}/fulfil"),
        await client.post(f"/v1/redemptions/{second}/cancel"),
    ]

    assert (fulfilled.status_code, fulfilled.json()["state"]) == (200, "fulfilled")
    assert (cancelled.json()["state"], cancelled.json()["reason"]) == ("cancelled", "broken")
    assert [(each.status_code, each.json()["code"], each.json()["state"]) for each in losers] == [
        (409, "redemption_ended", "fulfilled"),
        (409, "redemption_ended", "cancelled"),
        (409, "redemption_ended", "cancelled"),
    ]
    assert (await balance_of(database, ann)).available == 200
    assert (await client.post(f"/v1/redemptions/{new_id()}/fulfil")).status_code == 404


async def test_a_race_over_http_has_one_winner(client: httpx.AsyncClient, database: Database) -> None:
    await publish_reward(database)
    await make_member(database, "ann", points=100)
    id_ = (await redeem(client, "ann", "free-tea")).json()["id"]

    answers = await asyncio.gather(
        *(client.post(f"/v1/redemptions/{id_}/{word}") for word in ("fulfil", "cancel") for _ in range(5))
    )

    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 9}


async def test_redemptions_are_listed_by_customer_reward_and_state(
    client: httpx.AsyncClient, database: Database
) -> None:
    await publish_reward(database)
    await publish_reward(database, TENNER)
    for name in ("ann", "bob"):
        await make_member(database, name, points=500)
        await redeem(client, name, "free-tea")
    tenner = (await redeem(client, "ann", "tenner")).json()
    await client.post(f"/v1/redemptions/{tenner['id']}/fulfil")

    async def count(**query: Any) -> int:
        return len((await client.get("/v1/redemptions", params=query)).json()["data"])

    assert [
        await count(),
        await count(customer_id="ann"),
        await count(reward="free-tea"),
        await count(state="fulfilled"),
        await count(customer_id="nobody"),
        await count(review="true"),
    ] == [3, 2, 2, 1, 0, 0]
    first = (await client.get("/v1/redemptions", params={"limit": 2})).json()
    rest = (await client.get("/v1/redemptions", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert (next(each["id"] for each in first["data"]), len(rest["data"]), rest["next_cursor"]) == (
        tenner["id"],
        1,
        None,
    )


async def test_codes_are_loaded_once_and_handed_out_in_order(client: httpx.AsyncClient, database: Database) -> None:
    await publish_reward(database, TENNER, codes="pool", stock=10)
    await make_member(database, "ann", points=500)

    first = await client.post("/v1/rewards/tenner/codes", json={"codes": ["b-2", "a-1", "B-2"]})
    again = await client.post("/v1/rewards/tenner/codes", json={"codes": ["a-1", "c-3"]})
    codes = [(await redeem(client, "ann", "tenner")).json()["code"] for _ in range(3)]

    assert first.json() == {"loaded": 2, "known": []}
    assert again.json() == {"loaded": 1, "known": ["A-1"]}
    assert codes == ["B-2", "A-1", "C-3"]
    assert (await client.get("/v1/rewards/tenner/stock")).json() == {
        "reward": "tenner",
        "stock": 10,
        "taken": 3,
        "left": 7,
        "codes_left": 0,
    }
    assert (await redeem(client, "ann", "tenner")).json()["code"] == "no_codes_left"
    assert (await client.post("/v1/rewards/unknown/codes", json={"codes": ["a-1"]})).status_code == 404
