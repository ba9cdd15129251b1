"""Contests over HTTP: entries by events and calls, frozen lists, draws that an independent program recomputes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from api.dependencies import ApiDependencies
from database import documents
from database.contest_draws import give_due
from database.contests import ContestEntry, ContestTicket
from database.points import balances
from database.session import Database
from domain.documents import DocumentState
from domain.events import EventKind
from tests.contest_verifier import verify
from tests.triggers.shop import Shop

PURCHASE: dict[str, Any] = {"event": "Order Completed", "where": [{"property": "total", "gte": 20}]}
SUMMER: dict[str, Any] = {
    "contest": "summer",
    "closes": "2026-05-31",
    "entries": [
        {"rule": "purchase", "on": PURCHASE, "entries": 3, "limit": 2},
        {"rule": "form", "limit": 1, "per": "day"},
    ],
    "winners": 2,
    "alternates": 2,
    "prizes": [{"to_place": 1, "points": 500}, {"to_place": 2, "points": 100}],
}
CROWD = [f"u-{n}" for n in range(8)]


@pytest.fixture
def shop(database: Database) -> Shop:
    return Shop(database)


@pytest.fixture
def api_dependencies(database: Database, shop: Shop) -> ApiDependencies:
    """An API whose clock is the shop's."""
    return ApiDependencies(database=database, now=lambda: shop.now)


@pytest.fixture
async def programme(shop: Shop) -> None:
    """A live programme, so that points can be won."""
    document = {"programme": "main", "earn": []}
    async with shop.database.transaction() as session:
        row = await documents.save_draft(session, "programme", "main", document, shop.now)
        state = DocumentState.LIVE
        await documents.add_version(session, row, document=document, state=state, as_of=shop.now, by="test")


async def publish(client: httpx.AsyncClient, document: Mapping[str, Any] = SUMMER) -> None:
    key = document["contest"]
    saved = await client.put(f"/v1/contests/{key}", json=document)
    assert saved.status_code == 200, saved.text
    published = await client.post(f"/v1/contests/{key}/publish", json={})
    assert published.status_code == 200, published.text


async def come(shop: Shop, *users: str) -> None:
    """Customers whom we know."""
    await shop.post(*[shop.event(kind=EventKind.IDENTIFY, user_id=user) for user in users])
    await shop.route()


async def fill(client: httpx.AsyncClient, shop: Shop, *users: str) -> None:
    await come(shop, *users)
    for user in users:
        entered = await client.post("/v1/contests/summer/enter", json={"customer_id": user})
        assert entered.status_code == 200, entered.text


async def draw(client: httpx.AsyncClient, **wish: Any) -> dict[str, Any]:
    answer = await client.post("/v1/contests/summer/draw", json=wish)
    assert answer.status_code == 200, answer.text
    proof: dict[str, Any] = answer.json()
    return proof


async def chances(client: httpx.AsyncClient, **wish: Any) -> Any:
    return await client.post("/v1/contests/summer/enter", json={"customer_id": "ann"} | wish)


async def weight(shop: Shop) -> int:
    async with shop.database.read() as session:
        return int(await session.scalar(select(func.coalesce(func.sum(ContestEntry.entries), 0))) or 0)


async def people(shop: Shop) -> dict[str, Any]:
    """Entry id -> customer."""
    async with shop.database.read() as session:
        statement = select(ContestTicket.entry_id, ContestTicket.customer_id)
        return {str(row.entry_id): row.customer_id for row in await session.execute(statement)}


async def points(shop: Shop) -> dict[Any, int]:
    """Customer -> points, of whoever has some."""
    async with shop.database.read() as session:
        everyone = [(await shop.customer(user)).id for user in CROWD]
        return {
            id_: each.available
            for id_, each in (await balances(session, "main", everyone, shop.now)).items()
            if each.available
        }


# Entering ----------------------------------------------------------------------------------------


async def test_events_enter_by_their_rule_up_to_its_limit_and_an_order_once(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    await publish(client)

    for order_id, total in [("o-1", 30), ("o-1", 30), ("o-2", 5), ("o-3", 20), ("o-4", 50)]:
        await shop.track("Order Completed", {"order_id": order_id, "total": total}, user_id="ann")

    assert await weight(shop) == 6


async def test_browsers_and_strangers_do_not_enter(client: httpx.AsyncClient, shop: Shop) -> None:
    await publish(client)

    await shop.track("Order Completed", {"order_id": "o-1", "total": 30}, user_id="ann", trusted=False)
    await shop.track("Order Completed", {"order_id": "o-2", "total": 30}, anonymous_id="a-1")

    assert await weight(shop) == 0


async def test_a_call_enters_once_a_local_day_and_once_a_reference(client: httpx.AsyncClient, shop: Shop) -> None:
    await publish(client)
    await come(shop, "ann")

    first = await chances(client, reference="r-1")
    again = await chances(client, reference="r-1")
    too_often = await chances(client)
    shop.later(days=1)
    tomorrow = await chances(client)

    assert (first.json()["chances"], first.json()["repeated"]) == (1, False)
    assert (again.json()["chances"], again.json()["repeated"]) == (1, True)
    assert (too_often.status_code, too_often.json()["code"]) == (409, "entry_limit")
    assert tomorrow.json()["chances"] == 2


async def test_twenty_calls_at_once_enter_once(client: httpx.AsyncClient, shop: Shop) -> None:
    """WB 1.6.4: two kudos in one instant passed the limit, for the cache's lock was none."""
    await publish(client)
    await come(shop, "ann")

    answers = await asyncio.gather(*[chances(client) for _ in range(20)])

    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 19
    assert await weight(shop) == 1


async def test_an_order_that_comes_back_takes_its_entries_out(client: httpx.AsyncClient, shop: Shop) -> None:
    await publish(client)
    await shop.track("Order Completed", {"order_id": "o-1", "total": 30, "currency": "EUR"}, user_id="ann")
    assert await weight(shop) == 3

    await shop.track("Order Cancelled", {"order_id": "o-1"}, user_id="ann")

    assert await weight(shop) == 0


@pytest.mark.parametrize(("moment", "code"), [({"month": 6}, "contest_not_open"), ({"month": 5, "day": 31}, None)])
async def test_a_contest_closes_when_its_last_day_is_over(
    client: httpx.AsyncClient, shop: Shop, moment: dict[str, Any], code: str | None
) -> None:
    await publish(client)
    await come(shop, "ann")
    shop.now = shop.now.replace(**moment)

    assert (await chances(client)).json().get("code") == code


# Drawing -----------------------------------------------------------------------------------------


async def test_a_draw_can_be_recomputed_from_what_was_published(client: httpx.AsyncClient, shop: Shop) -> None:
    """Invariant 12. The verifier is a program of its own, that imports nothing of the product."""
    await publish(client)
    before = (await client.get("/v1/contests/summer/proof")).json()
    await fill(client, shop, *CROWD)
    shop.later(days=30)

    proof = await draw(client)

    assert verify(proof) == []
    assert before["commitment"] == proof["commitment"]
    assert (before["secret"], before["list"], before["places"]) == (None, None, [])
    assert (proof["people"], proof["weight"], len(proof["places"])) == (8, 8, 4)
    assert [place["state"] for place in proof["places"]] == ["won", "won", "alternate", "alternate"]
    assert (await client.get("/v1/contests/summer/proof")).json() == proof


@pytest.mark.parametrize("member", ["secret", "list", "seed", "places", "beacon"])
async def test_the_verifier_finds_every_forgery(client: httpx.AsyncClient, shop: Shop, member: str) -> None:
    await publish(client)
    await fill(client, shop, *CROWD)
    shop.later(days=30)
    proof = await draw(client)
    forged = {
        "secret": "00" * 32,
        "list": proof["list"].replace(",1\n", ",2\n", 1),
        "seed": "00" * 32,
        "places": [proof["places"][1], proof["places"][0], *proof["places"][2:]],
        "beacon": "chosen afterwards",
    }

    assert verify(proof | {member: forged[member]}) != []


async def test_everybody_can_read_the_page_and_the_list(client: httpx.AsyncClient, shop: Shop) -> None:
    await publish(client)
    await fill(client, shop, *CROWD)
    shop.later(days=30)
    proof = await draw(client)
    nobody = {"Authorization": ""}

    page = await client.get("/contests/summer/proof", headers=nobody)
    listed = await client.get("/contests/summer/entries.txt", headers=nobody)

    assert page.status_code == 200
    assert proof["seed"] in page.text
    assert proof["places"][0]["entry_id"] in page.text
    assert listed.text == proof["list"]
    assert "u-1" not in page.text + listed.text  # it names nobody


async def test_with_a_beacon_the_hash_is_older_than_the_randomness(client: httpx.AsyncClient, shop: Shop) -> None:
    await publish(client, SUMMER | {"beacon": "drand quicknet round 9000000"})
    await fill(client, shop, *CROWD)
    shop.later(days=30)

    async def refused(**wish: Any) -> Any:
        return (await client.post("/v1/contests/summer/draw", json=wish)).json()["code"]

    assert await refused(beacon="early") == "not_frozen"
    frozen = await draw(client, freeze=True)
    assert (frozen["list_hash"] is not None, frozen["secret"], frozen["places"]) == (True, None, [])
    assert await refused() == "beacon_needed"
    drawn = await draw(client, beacon="8a1f00")

    assert verify(drawn) == []
    assert (drawn["beacon"], drawn["list_hash"]) == ("8a1f00", frozen["list_hash"])


async def test_nobody_may_choose_a_beacon_that_was_not_announced(client: httpx.AsyncClient, shop: Shop) -> None:
    await publish(client)
    shop.later(days=30)

    refused = await client.post("/v1/contests/summer/draw", json={"beacon": "chosen"})

    assert (refused.status_code, refused.json()["code"]) == (409, "beacon_not_announced")


async def test_a_contest_is_drawn_once_after_it_closed_and_its_rules_then_stand(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    """GiveawayBot #177: a re-roll drew again. Here nothing is ever drawn again."""
    await publish(client)
    await fill(client, shop, *CROWD)
    early = await client.post("/v1/contests/summer/draw", json={})
    shop.later(days=30)
    await draw(client)

    again = await client.post("/v1/contests/summer/draw", json={})
    changed = await client.post("/v1/contests/summer/publish", json={})
    late = await chances(client, customer_id="u-1")

    assert [answer.json()["code"] for answer in (early, again, changed, late)] == [
        "contest_open", "contest_drawn", "contest_frozen", "contest_not_open",
    ]  # fmt: skip


async def test_two_draws_at_once_make_one(client: httpx.AsyncClient, shop: Shop) -> None:
    await publish(client)
    await fill(client, shop, *CROWD)
    shop.later(days=30)

    answers = await asyncio.gather(*[client.post("/v1/contests/summer/draw", json={}) for _ in range(5)])

    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]


@pytest.mark.usefixtures("programme")
async def test_winners_get_their_prizes_once_through_the_ledger(client: httpx.AsyncClient, shop: Shop) -> None:
    await publish(client)
    await fill(client, shop, *CROWD)
    shop.later(days=30)
    proof = await draw(client)
    await shop.route()
    async with shop.database.transaction() as session:
        assert await give_due(session, shop.now) == 0
    await shop.route()

    who = await people(shop)

    first, second = (who[place["entry_id"]] for place in proof["places"][:2])
    assert await points(shop) == {first: 500, second: 100}


@pytest.mark.usefixtures("programme")
async def test_the_next_alternate_takes_the_prize_of_whoever_may_not_win(client: httpx.AsyncClient, shop: Shop) -> None:
    await publish(client, SUMMER | {"verify": "3d"})
    await fill(client, shop, *CROWD)
    shop.later(days=30)
    proof = await draw(client)
    entry = {"entry_id": proof["places"][0]["entry_id"], "reason": "unreachable"}

    after = (await client.post("/v1/contests/summer/disqualify", json=entry)).json()
    shop.later(days=3)
    async with shop.database.transaction() as session:
        await give_due(session, shop.now)
    await shop.route()
    late = await client.post(
        "/v1/contests/summer/disqualify", json=entry | {"entry_id": proof["places"][1]["entry_id"]}
    )

    assert verify(after) == []
    assert [(place["state"], place["prize_place"]) for place in after["places"]] == [
        ("disqualified", None), ("won", 2), ("won", 1), ("alternate", None),
    ]  # fmt: skip
    who = await people(shop)
    assert await points(shop) == {who[proof["places"][2]["entry_id"]]: 500, who[proof["places"][1]["entry_id"]]: 100}
    assert (late.status_code, late.json()["code"]) == (409, "prize_given")


# Who is one ---------------------------------------------------------------------------------------


async def test_two_accounts_of_one_person_have_the_entries_that_one_may_have(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    """Multiple accounts: one line of the list for a person, within the rule's limit."""
    await publish(client)
    for user in ("ann", "ann-2"):
        for number in (1, 2):
            await shop.track("Order Completed", {"order_id": f"{user}/{number}", "total": 30}, user_id=user)
    await shop.post(shop.event(kind=EventKind.ALIAS, user_id="ann", previous_id="ann-2"))
    await shop.route()
    shop.later(days=30)

    proof = await draw(client)

    assert (proof["people"], proof["weight"]) == (1, 6)


async def test_two_lines_that_turn_out_to_be_one_person_win_once(client: httpx.AsyncClient, shop: Shop) -> None:
    """Gleam draws actions, so that one person wins twice. The list is frozen, so the later place is passed over."""
    await publish(client)
    await fill(client, shop, "ann", "ann-2", "bob")
    shop.later(days=30)
    await draw(client, freeze=True)
    await shop.post(shop.event(kind=EventKind.ALIAS, user_id="ann", previous_id="ann-2"))
    await shop.route()

    proof = await draw(client)

    assert verify(proof) == []
    assert sorted(place["state"] for place in proof["places"]) == ["disqualified", "won", "won"]
    who = await people(shop)
    assert len({who[place["entry_id"]] for place in proof["places"] if place["state"] == "won"}) == 2


async def test_winners_of_an_earlier_contest_can_be_left_out(client: httpx.AsyncClient, shop: Shop) -> None:
    await publish(client)
    await publish(client, SUMMER | {"contest": "autumn", "exclude_winners_of": ["summer"]})
    await fill(client, shop, "ann", "bob", "cem")
    for user in ("ann", "bob", "cem"):
        await client.post("/v1/contests/autumn/enter", json={"customer_id": user})
    shop.later(days=30)
    await draw(client)

    autumn = (await client.post("/v1/contests/autumn/draw", json={})).json()

    assert autumn["people"] == 1


async def test_nobody_entered_and_nobody_wins(client: httpx.AsyncClient, shop: Shop) -> None:
    await publish(client)
    shop.later(days=30)

    proof = await draw(client)

    assert (proof["people"], proof["places"], verify(proof)) == (0, [], [])
