"""What staff and members see of challenges that gave something: lists, totals, boards, and why nothing came."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from api.dependencies import ApiDependencies
from database import documents
from database.challenge_errands import find_errands
from database.session import Database
from domain.documents import DocumentState
from tests.challenging import order, put_live, run_errands
from tests.triggers.shop import Shop

PROGRAMME = {"programme": "main", "earn": [], "points": {"value": {"amount": 2, "currency": "EUR"}, "cost_share": 0.5}}
VOUCHER = {"reward": "voucher", "gives": {"amount": {"amount": 500, "currency": "EUR"}}}
BUYERS: dict[str, Any] = {
    "challenge": "buyers",
    "metric": {"count": "Order Completed"},
    "levels": [
        {"level": "first", "at": 1, "points": 10, "badge": {"badge": "buyer"}},
        {"level": "second", "at": 2, "points": 30, "reward": "voucher"},
    ],
    "refunds": "revoke",
}
RACE: dict[str, Any] = {
    "challenge": "race",
    "metric": {"count": "Store Visited"},
    "window": {"every": "month"},
    "leaderboard": {"prizes": [{"to_rank": 1, "points": 7}]},
}
TOGETHER: dict[str, Any] = {
    "challenge": "wood",
    "metric": {"count": "Store Visited"},
    "community": {"contribute": 2},
    "levels": [{"level": "wood", "at": 4, "points": 5}],
}


@pytest.fixture
async def shop(database: Database) -> Shop:
    shop = Shop(database)
    await put_live(shop, "programme", PROGRAMME)
    await put_live(shop, "reward", VOUCHER)
    return shop


@pytest.fixture
def api_dependencies(database: Database, shop: Shop) -> ApiDependencies:
    """An API whose clock is the shop's."""
    return ApiDependencies(database=database, now=lambda: shop.now)


async def visit(shop: Shop, *users: str) -> None:
    for user in users:
        shop.later(minutes=1)
        await shop.track("Store Visited", user_id=user)


async def test_staff_see_who_completed_what_and_what_it_gave(client: httpx.AsyncClient, shop: Shop) -> None:
    await put_live(shop, "challenge", BUYERS)
    for order_id, user in (("o-1", "ann"), ("o-2", "ann"), ("o-3", "bob")):
        await order(shop, order_id, user_id=user)
    await shop.track("Order Cancelled", {"order_id": "o-3"}, user_id="bob")

    first = (await client.get("/v1/challenges/buyers/completions", params={"limit": 2})).json()
    more = {"limit": 2, "cursor": first["next_cursor"]}
    second = (await client.get("/v1/challenges/buyers/completions", params=more)).json()

    rows = {(row["level"], row["customer_id"]): row for row in [*first["data"], *second["data"]]}
    assert sorted(rows) == [("first", "ann"), ("first", "bob"), ("second", "ann")]
    assert (rows["first", "ann"]["points"], rows["first", "ann"]["badge"]) == (10, "buyer")
    assert (rows["second", "ann"]["points"], rows["second", "ann"]["reward"]) == (30, "voucher")
    assert [rows[key]["revoked_at"] is None for key in sorted(rows)] == [True, False, True]
    assert second["next_cursor"] is None


async def test_staff_see_what_a_challenge_came_to(client: httpx.AsyncClient, shop: Shop) -> None:
    await put_live(shop, "challenge", BUYERS)
    for order_id, user in (("o-1", "ann"), ("o-2", "ann"), ("o-3", "bob")):
        await order(shop, order_id, user_id=user)
    await shop.track("Order Cancelled", {"order_id": "o-3"}, user_id="bob")

    totals = (await client.get("/v1/challenges/buyers/totals")).json()

    assert [(each["level"], each["members"], each["revoked"], each["points"]) for each in totals["levels"]] == [
        ("first", 1, 1, 10), ("second", 1, 0, 30),
    ]  # fmt: skip
    assert (totals["members"], totals["points"], totals["rewards"]) == (1, 40, {"voucher": 1})
    assert totals["points_cost"] == {"amount": 40, "currency": "EUR"}  # at 2 a point, of which half is the cost


@pytest.mark.parametrize("what", ["completions", "totals"])
async def test_there_is_nothing_to_see_of_a_challenge_that_was_never_published(
    client: httpx.AsyncClient, what: str
) -> None:
    assert (await client.get(f"/v1/challenges/none/{what}")).status_code == 404


async def test_levels_with_points_that_waited_for_a_programme_are_given_when_one_is_published(
    client: httpx.AsyncClient, database: Database
) -> None:
    waiting = Shop(database)
    async with database.transaction() as session:
        row = await documents.lock(session, "programme", "main")
        assert row is not None
        await documents.set_state(session, row, DocumentState.ARCHIVED, waiting.now)
    await put_live(waiting, "challenge", BUYERS | {"levels": [{"level": "first", "at": 1, "points": 10}]})
    await order(waiting, "o-1", user_id="ann")
    assert (await client.get("/v1/challenges/buyers/completions")).json()["data"] == []

    await client.put("/v1/programmes/main", json=PROGRAMME)
    published = await client.post("/v1/programmes/main/publish", json={})
    assert published.status_code == 200, published.text
    await run_errands(waiting)

    [given] = (await client.get("/v1/challenges/buyers/completions")).json()["data"]
    assert (given["customer_id"], given["points"]) == ("ann", 10)


# Boards ------------------------------------------------------------------------------------------


async def test_an_archived_challenge_keeps_its_final_board(client: httpx.AsyncClient, shop: Shop) -> None:
    await put_live(shop, "challenge", RACE)
    await visit(shop, "ann", "bob", "ann")
    shop.later(days=40)
    await run_errands(shop)

    archived = await client.post("/v1/challenges/race/archive", json={})
    assert archived.status_code == 200, archived.text

    board = (await client.get("/v1/challenges/race/leaderboard", params={"period": "2026-05"})).json()
    assert (board["final"], [line["customer_id"] for line in board["data"]]) == (True, ["ann", "bob"])


async def test_a_board_whose_grace_an_archive_cuts_short_is_final_and_its_winner_gets_the_prize(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    await put_live(shop, "challenge", RACE)
    await visit(shop, "ann", "bob", "ann")
    shop.now = shop.now.replace(month=6, day=1, hour=6)

    await client.post("/v1/challenges/race/archive", json={})
    await run_errands(shop)

    board = (await client.get("/v1/challenges/race/leaderboard", params={"period": "2026-05"})).json()
    assert (board["final"], [line["customer_id"] for line in board["data"]]) == (True, ["ann", "bob"])
    completed = (await client.get("/v1/challenges/race/completions")).json()["data"]
    assert [(row["customer_id"], row["level"], row["points"]) for row in completed] == [("ann", "rank:1", 7)]


async def test_a_board_that_is_running_when_its_challenge_is_archived_is_final_as_it_stood(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    await put_live(shop, "challenge", RACE)
    await visit(shop, "ann", "bob", "ann")

    await client.post("/v1/challenges/race/archive", json={})
    await visit(shop, "bob", "bob")

    board = (await client.get("/v1/challenges/race/leaderboard", params={"period": "2026-05"})).json()
    assert (board["final"], [line["customer_id"] for line in board["data"]]) == (True, ["ann", "bob"])
    revived = await client.post("/v1/challenges/race/publish", json={"revive": True})
    assert revived.status_code == 200, revived.text
    board = (await client.get("/v1/challenges/race/leaderboard", params={"period": "2026-05"})).json()
    assert board["final"] is False


@pytest.mark.parametrize("said", [True, "true", "True", " yes ", "1", 1])
async def test_whoever_says_so_in_whatever_spelling_is_in_no_board(
    client: httpx.AsyncClient, shop: Shop, said: bool | str | int
) -> None:
    await put_live(shop, "challenge", RACE)
    await visit(shop, "ann", "bob")
    await shop.identify({"leaderboard_opt_out": said}, user_id="ann")

    running = (await client.get("/v1/challenges/race/leaderboard")).json()
    assert [line["customer_id"] for line in running["data"]] == ["bob"]

    shop.later(days=40)
    await run_errands(shop)
    final = (await client.get("/v1/challenges/race/leaderboard", params={"period": "2026-05"})).json()
    assert (final["final"], [line["customer_id"] for line in final["data"]]) == (True, ["bob"])


@pytest.mark.parametrize("said", [False, "false", "no", "", None])
async def test_whoever_says_no_is_in_the_board(client: httpx.AsyncClient, shop: Shop, said: bool | str | None) -> None:
    await put_live(shop, "challenge", RACE)
    await visit(shop, "ann")
    await shop.identify({"leaderboard_opt_out": said}, user_id="ann")

    running = (await client.get("/v1/challenges/race/leaderboard")).json()

    assert [line["customer_id"] for line in running["data"]] == ["ann"]


# Communities -------------------------------------------------------------------------------------


async def test_whoever_contributes_after_the_goal_learns_why_nothing_comes(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    await put_live(shop, "challenge", TOGETHER)
    await visit(shop, "ann", "ann", "ann", "bob")
    await run_errands(shop)
    await visit(shop, "cem", "cem")
    await run_errands(shop)

    async def level_of(user: str) -> tuple[bool, str | None]:
        [challenge] = (await client.get(f"/v1/customers/{user}/challenges")).json()["data"]
        assert [each["level"] for each in challenge["community"]["reached"]] == ["wood"]
        [level] = challenge["levels"]
        return level["reached_at"] is not None, level["missed"]

    assert await level_of("ann") == (True, None)
    assert await level_of("bob") == (False, "contributed_too_little")
    assert await level_of("cem") == (False, "contributed_too_late")


async def test_a_community_that_reached_its_goal_is_rewarded_though_the_challenge_was_archived_then(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    await put_live(shop, "challenge", TOGETHER)
    await visit(shop, "ann", "ann", "ann", "bob")
    async with shop.database.transaction() as session:
        await find_errands(session, shop.now)

    await client.post("/v1/challenges/wood/archive", json={})
    await run_errands(shop)

    completed = (await client.get("/v1/challenges/wood/completions")).json()["data"]
    assert [(row["customer_id"], row["points"]) for row in completed] == [("ann", 5)]
