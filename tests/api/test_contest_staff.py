"""What happens to contests after they were drawn, and what the shop's own people see of them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import select

from api.dependencies import ApiDependencies
from database.contest_draws import give_due
from database.events import Event
from database.points import balances
from database.session import Database
from domain.events import EventKind
from tests.challenging import put_live
from tests.contest_verifier import verify
from tests.triggers.shop import Shop

CROWD = [f"u-{number}" for number in range(5)]
SUMMER: dict[str, Any] = {
    "contest": "summer",
    "closes": "2026-05-31",
    "entries": [
        {"rule": "form"},
        {"rule": "order", "on": {"event": "Order Completed"}, "entries": 3, "limit": 2},
    ],
    "winners": 2,
    "alternates": 2,
    "prizes": [{"to_place": 1, "points": 500}, {"to_place": 2, "points": 100}],
    "verify": "3d",
}


@pytest.fixture
async def shop(database: Database) -> Shop:
    """A shop with a live programme, so that points can be won."""
    shop = Shop(database)
    await put_live(shop, "programme", {"programme": "main", "earn": []})
    return shop


@pytest.fixture
def api_dependencies(database: Database, shop: Shop) -> ApiDependencies:
    """An API whose clock is the shop's."""
    return ApiDependencies(database=database, now=lambda: shop.now)


async def publish(client: httpx.AsyncClient, **changes: Any) -> None:
    assert (await client.put("/v1/contests/summer", json=SUMMER | changes)).status_code == 200
    assert (await client.post("/v1/contests/summer/publish", json={})).status_code == 200


async def drawn(client: httpx.AsyncClient, shop: Shop) -> dict[str, Any]:
    """The proof of a draw among five who entered, after the contest closed."""
    await shop.post(*[shop.event(kind=EventKind.IDENTIFY, user_id=user) for user in CROWD])
    await shop.route()
    for user in CROWD:
        assert (await client.post("/v1/contests/summer/enter", json={"customer_id": user})).status_code == 200
    shop.later(days=30)
    return await post(client, "draw", {})


async def post(client: httpx.AsyncClient, act: str, wish: dict[str, Any]) -> dict[str, Any]:
    answer = await client.post(f"/v1/contests/summer/{act}", json=wish)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def winners(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    answer = await client.get("/v1/contests/summer/winners")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


async def names(client: httpx.AsyncClient) -> list[str]:
    """Who stands behind the places, in the order drawn."""
    return [place["customer_id"] for place in await winners(client)]


async def verified(shop: Shop) -> None:
    """The time of verification passes, and the hourly pass is made."""
    shop.later(days=3)
    async with shop.database.transaction() as session:
        while await give_due(session, shop.now):
            pass
    await shop.route()


async def same(shop: Shop, user: str, other: str) -> None:
    await shop.post(shop.event(kind=EventKind.ALIAS, user_id=user, previous_id=other))
    await shop.route()


async def points(shop: Shop, *users: str) -> list[int]:
    ids = [(await shop.customer(user)).id for user in users]
    async with shop.database.read() as session:
        found = await balances(session, "main", ids, shop.now)
    return [found[id_].available for id_ in ids]


async def told(shop: Shop) -> list[tuple[str | None, Any]]:
    """Who heard of a prize, and of which."""
    async with shop.database.read() as session:
        events = (await session.execute(select(Event).where(Event.name == "Contest Won").order_by(Event.id))).scalars()
        return [(event.user_id, event.properties["prize"]) for event in events]


# What was decided ---------------------------------------------------------------------------------


async def test_a_contest_that_is_archived_while_winners_are_verified_gives_their_prizes(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    await publish(client)
    await drawn(client, shop)
    first, second, *_ = await names(client)

    assert (await client.post("/v1/contests/summer/archive")).status_code == 200
    await verified(shop)

    assert await points(shop, first, second) == [500, 100]
    assert await told(shop) == [(first, {"points": 500}), (second, {"points": 100})]


async def test_whoever_may_not_win_is_passed_over_in_an_archived_contest_too(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    await publish(client)
    proof = await drawn(client, shop)
    await client.post("/v1/contests/summer/archive")

    wish = {"entry_id": proof["places"][0]["entry_id"], "reason": "declined"}
    after = await post(client, "disqualify", wish)
    await verified(shop)

    assert [place["state"] for place in after["places"]] == ["disqualified", "won", "won", "alternate"]
    first, second, third, _ = await names(client)
    assert await points(shop, first, second, third) == [0, 100, 500]


async def test_a_frozen_list_is_drawn_from_whatever_became_of_the_contest(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    await publish(client)
    await client.post("/v1/contests/summer/enter", json={"customer_id": "ann"})
    shop.later(days=30)
    await post(client, "draw", {"freeze": True})
    await client.post("/v1/contests/summer/archive")

    assert verify(await post(client, "draw", {})) == []


async def test_a_contest_that_was_archived_before_its_list_froze_is_not_drawn(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    await publish(client)
    await client.post("/v1/contests/summer/archive")
    shop.later(days=30)

    refused = await client.post("/v1/contests/summer/draw", json={})

    assert (refused.status_code, refused.json()["code"]) == (409, "not_live")


# Who is one ---------------------------------------------------------------------------------------


async def test_two_winners_who_turn_out_to_be_one_before_the_prizes_get_one_and_the_next_wins(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    await publish(client)
    await drawn(client, shop)
    first, second, third, _ = await names(client)

    await same(shop, first, second)
    await verified(shop)
    assert await points(shop, first, third) == [500, 0]  # there is time again to look at who follows
    await verified(shop)

    assert await points(shop, first, third) == [500, 100]
    places = await winners(client)
    assert [place["state"] for place in places] == ["won", "disqualified", "won", "alternate"]
    assert [place["reason"] for place in places] == [None, "same_person", None, None]
    assert verify((await client.get("/v1/contests/summer/proof")).json()) == []


async def test_an_alternate_who_turns_out_to_be_a_winner_is_passed_over(client: httpx.AsyncClient, shop: Shop) -> None:
    await publish(client)
    proof = await drawn(client, shop)
    first, second, third, fourth = await names(client)
    await same(shop, second, third)

    await post(client, "disqualify", {"entry_id": proof["places"][0]["entry_id"], "reason": "fraud"})
    await verified(shop)

    assert await points(shop, first, second, fourth) == [0, 100, 500]


async def test_winners_who_turn_out_to_be_one_after_the_prizes_keep_both(client: httpx.AsyncClient, shop: Shop) -> None:
    """What was decided stays decided."""
    await publish(client)
    await drawn(client, shop)
    first, second, *_ = await names(client)
    await verified(shop)

    await same(shop, first, second)
    await verified(shop)

    assert await points(shop, first) == [600]
    assert [place["state"] for place in await winners(client)] == ["won", "won", "alternate", "alternate"]


# What the shop's own people see -------------------------------------------------------------------


async def test_the_shop_sees_who_won_while_it_can_still_decide_and_the_proof_names_nobody(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    await publish(client)
    proof = await drawn(client, shop)

    before = await winners(client)

    assert [place["entry_id"] for place in before] == [place["entry_id"] for place in proof["places"]]
    assert {place["customer_id"] for place in before} < set(CROWD)
    assert [place["prize"] for place in before] == [{"points": 500}, {"points": 100}, None, None]
    assert [place["due_at"] is not None for place in before] == [True, True, False, False]
    assert {place["given_at"] for place in before} == {None}
    page = (await client.get("/contests/summer/proof")).text + (await client.get("/contests/summer/entries.txt")).text
    assert not any(user in page or user in str(proof) for user in CROWD)
    await verified(shop)
    assert [place["given_at"] is not None for place in await winners(client)] == [True, True, False, False]


async def test_the_shop_sees_who_entered_by_what(client: httpx.AsyncClient, shop: Shop) -> None:
    await publish(client)
    for number, user in enumerate(("ann", "ann", "ann", "bob")):
        await shop.track("Order Completed", {"order_id": f"o-{number}", "total": 9}, user_id=user)
    await client.post("/v1/contests/summer/enter", json={"customer_id": "bob", "reference": "card 7"})

    first = (await client.get("/v1/contests/summer/entries?limit=3")).json()
    rest = (await client.get(f"/v1/contests/summer/entries?limit=3&cursor={first['next_cursor']}")).json()
    own = (await client.get("/v1/contests/summer/entries?customer_id=bob")).json()["data"]
    totals = (await client.get("/v1/contests/summer/totals")).json()

    found = [(each["customer_id"], each["rule"], each["source"], each["entries"]) for each in first["data"]]
    assert found == [
        ("bob", "form", "call/card 7", 1), ("ann", "order", "order/o-0", 3), ("ann", "order", "order/o-1", 3),
    ]  # fmt: skip
    assert [each["source"] for each in rest["data"]] == ["order/o-3"]
    assert [each["source"] for each in own] == ["call/card 7", "order/o-3"]
    assert (await client.get("/v1/contests/summer/entries?customer_id=nobody")).json()["data"] == []
    assert totals == {
        "contest": "summer", "people": 2, "times": 4, "chances": 10,
        "rules": [
            {"rule": "form", "people": 1, "times": 1, "chances": 1},
            {"rule": "order", "people": 2, "times": 3, "chances": 9},
        ],
    }  # fmt: skip


async def test_a_contest_that_nobody_entered_has_totals_of_nothing(client: httpx.AsyncClient, shop: Shop) -> None:
    await publish(client)
    assert (await client.get("/v1/contests/summer/totals")).json() == {
        "contest": "summer", "people": 0, "times": 0, "chances": 0, "rules": [],
    }  # fmt: skip
    assert await winners(client) == []
    assert (await client.get("/v1/contests/winter/winners")).status_code == 404
