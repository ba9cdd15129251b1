"""G27 over HTTP: a hostile page with the public browser key against two members, and what a person may do about it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest

from api.dependencies import ApiDependencies
from database.session import Database
from tests.api.clock import Clock
from tests.api.conftest import ApiServer
from tests.factories import NOON
from tests.programmes import publish_programme
from triggers.live import LiveCache
from triggers.router import Router
from triggers.routing import Routing

MEMBERS = ("rich", "thief")


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def api_dependencies(database: Database, clock: Clock) -> ApiDependencies:
    return ApiDependencies(database=database, now=clock)


class Town:
    """A shop over HTTP with its router."""

    def __init__(self, client: httpx.AsyncClient, database: Database, clock: Clock) -> None:
        self.client, self.clock = client, clock
        self._router = Router(database, Routing(LiveCache()), now=clock)

    async def send(self, *messages: dict[str, Any], key: str | None = None) -> None:
        """Post messages, by the shop's own key unless one is given, and route them."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        answer = await self.client.post("/v1/batch", json={"batch": messages}, headers=headers)
        assert (answer.status_code, answer.json()["accepted"]) == (200, len(messages)), answer.text
        while (await self._router.route_once()).seen:
            pass

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """The router runs by itself meanwhile."""
        stop = asyncio.Event()
        running = asyncio.create_task(self._router.run(stop))
        yield
        stop.set()
        await running

    async def wealth(self, user: str) -> dict[str, Any]:
        """What a member has that somebody might want."""
        profile = (await self.client.get(f"/v1/customers/{user}")).json()
        orders = (await self.client.get(f"/v1/customers/{user}/orders")).json()
        points = (await self.client.get(f"/v1/customers/{user}/points")).json()
        return {
            **{name: profile[name] for name in ("id", "internal_id", "email", "zone", "locale")},
            "plan": profile["traits"]["plan"],
            "phone": profile["traits"].get("phone"),
            "orders": [order["order_id"] for order in orders["data"]],
            "points": points["available"],
            "ids": [(each["kind"], each["value"]) for each in profile["identities"] if each["kind"] == "user"],
        }


@pytest.fixture
async def town(client: httpx.AsyncClient, database: Database, clock: Clock) -> Town:
    """Two members with points, orders and a browser each."""
    town = Town(client, database, clock)
    await publish_programme(database, NOON - timedelta(days=1))
    for user in MEMBERS:
        traits = {
            "email": f"{user}@shop.example",
            "plan": "gold",
            "phone": None,
            "timezone": "Europe/Rome",
            "locale": "it",
        }
        await town.send(
            {"type": "identify", "userId": user, "anonymousId": f"{user}-browser", "traits": traits},
            {"type": "track", "event": "Order Completed", "userId": user, "properties": {"order_id": f"o-{user}"}},
        )
        award = {"points": 5000, "reason": "gift"}
        assert (await client.post(f"/v1/customers/{user}/points/award", json=award)).is_success
    clock.later(hours=1)
    return town


def hostile() -> list[dict[str, Any]]:
    """Every call of the tracking API under every mix of two members' ids, claiming every time and trait."""
    traits = {"email": "x@evil.example", "plan": None, "phone": "+49 1", "timezone": "Asia/Tokyo", "locale": "xx"}
    body = {"traits": traits, "context": {"traits": traits, **traits}, "event": "Seen", "groupId": "g"}
    ids = [*MEMBERS, *(f"{user}-browser" for user in MEMBERS), "new", "guest"]
    pairs = [{"userId": user, "anonymousId": browser} for user in ids for browser in ids]
    calls = [
        {"type": kind, **body, **pair} for kind in ("track", "identify", "page", "screen", "group") for pair in pairs
    ]
    calls += [{"type": "alias", **pair, "previousId": pair["anonymousId"]} for pair in pairs]
    calls += [
        {"type": "alias", "name": "Merge Requested", "event": "Merge Requested", **pair, "previousId": other}
        for pair in pairs
        for other in MEMBERS
    ]
    times = [None, "2001-01-01T00:00:00Z", "2099-01-01T00:00:00Z"]
    return [call | {"timestamp": at} for at in times for call in calls]


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/import"])
async def test_nothing_that_a_page_says_moves_or_changes_what_members_have(
    town: Town, api_server: ApiServer, path: str
) -> None:
    before = [await town.wealth(user) for user in MEMBERS]

    calls = hostile()
    for start in range(0, len(calls), 100):
        await town.send(*calls[start : start + 100], key=api_server.browser_key)

    assert [await town.wealth(user) for user in MEMBERS] == before


async def test_what_was_not_taken_shows_with_its_event_and_in_the_timeline(town: Town, api_server: ApiServer) -> None:
    traits = {"email": "x@evil.example", "size": "M"}
    await town.send({"type": "identify", "userId": "rich", "traits": traits}, key=api_server.browser_key)
    await town.send({"type": "alias", "userId": "thief", "previousId": "rich"}, key=api_server.browser_key)

    events = (await town.client.get("/v1/customers/rich/events?name=Identified")).json()["data"]
    assert [event["ignored_untrusted"] for event in events] == [["email"], []]
    for user in MEMBERS:
        timeline = (await town.client.get(f"/v1/customers/{user}/timeline")).json()["data"]
        (refused,) = [each for each in timeline if each["kind"] == "merge"]
        assert (refused["name"], refused["detail"]["user_id"], refused["detail"]["previous_id"]) == (
            "untrusted",
            "thief",
            "rich",
        )
    shown = (await town.client.get("/v1/customers/rich/timeline")).json()["data"]
    assert [each["detail"].get("ignored_untrusted") for each in shown if each["name"] == "Identified"] == [
        ["email"],
        None,
    ]


async def test_a_person_makes_a_merge_that_was_refused(town: Town, api_server: ApiServer) -> None:
    await town.send({"type": "alias", "userId": "rich", "previousId": "thief"}, key=api_server.browser_key)

    async with town.open():
        merged = [await town.client.post("/v1/customers/rich/merge", json={"from": "thief"}) for _ in range(2)]

    assert [answer.status_code for answer in merged] == [200, 200], merged[0].text
    assert merged[0].json() == merged[1].json()
    assert (await town.client.get("/v1/customers/thief")).json()["internal_id"] == merged[0].json()["internal_id"]
    wealth = await town.wealth("rich")
    assert (wealth["id"], wealth["points"], sorted(wealth["orders"])) == ("rich", 10_000, ["o-rich", "o-thief"])


async def test_a_person_may_merge_beyond_the_limit_but_never_on_an_id_that_names_nobody(town: Town) -> None:
    settings = (await town.client.get("/v1/settings")).json()
    await town.client.put("/v1/settings", json=settings | {"merge_limit": 1})
    await town.send({"type": "alias", "userId": "rich", "previousId": "thief"})
    assert (await town.wealth("thief"))["orders"] == ["o-thief"]

    async with town.open():
        answers = {
            body: await town.client.post(f"/v1/customers/{user}/merge", json={"from": body})
            for user, body in (("rich", "guest"), ("rich", "nobody"), ("rich", "thief"))
        }

    assert {body: (answer.status_code, answer.json().get("code")) for body, answer in answers.items()} == {
        "guest": (409, "placeholder_id"),
        "nobody": (404, "customer_not_found"),
        "thief": (200, None),
    }
    assert (await town.client.post("/v1/customers/nobody/merge", json={"from": "rich"})).status_code == 404
