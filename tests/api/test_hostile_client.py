"""G27 for value, over HTTP: a client with the browser key tries all that it can say against everything that awards.

The same calls with a server's key get it all, so each of these could have been had.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select
from temporalio.testing import ActivityEnvironment

from activities.audiences import AudienceActivities
from api.dependencies import ApiDependencies
from database.contests import ContestEntry
from database.session import Database
from domain.audiences import AudiencePage, DueDatesInput
from tests.api.clock import Clock
from tests.api.conftest import ApiServer
from tests.factories import NOON
from tests.programmes import tiers
from tests.rewarding import publish
from triggers.live import LiveCache
from triggers.routing import Routing

WISH: dict[str, Any] = {"trait": "plan", "eq": "gold"}
DEED: dict[str, Any] = {"did": "Review Written", "at_least": 2}
SPENT: dict[str, Any] = {"aggregate": "sum", "of": "properties.total", "over": "Order Completed", "gte": 100}
CONDITIONS = {"trait": WISH, "did": DEED, "aggregate": SPENT, "all": {"all": [{"any": [WISH]}, DEED]}}
BASE = {"rule": "buy", "on": {"event": "Order Completed"}, "amount": {"points": 10}}


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def api_dependencies(database: Database, clock: Clock) -> ApiDependencies:
    return ApiDependencies(database=database, now=clock)


@dataclass
class Client:
    """What somebody with this key says of the member `ann`, and what the shop then sees of her."""

    http: httpx.AsyncClient
    database: Database
    key: str
    admin: httpx.AsyncClient
    now: Callable[[], Any]

    async def say(self, call: str, **body: Any) -> None:
        answer = await self.http.post(f"/v1/{call}", auth=(self.key, ""), json={"userId": "ann", **body})
        assert answer.is_success, answer.text

    async def say_everything(self) -> None:
        """All that could make a condition true, earn, count or enter."""
        await self.say("identify", traits={"plan": "gold", "size": "M", "timezone": "Asia/Tokyo", "points": 10**6})
        for number in range(3):
            await self.say("track", event="Review Written", properties={"stars": 5})
            order = {"order_id": f"{self.key}-{number}", "total": 700.0, "currency": "EUR"}
            await self.say("track", event="Order Completed", properties=order)
        for name in ("Contest Won", "Tier Reached", "Challenge Completed", "Points Earned", "Journey Entry Due"):
            await self.say("track", event=name, properties={"tier": "gold", "points": 123_456, "prize": {"points": 99}})

    async def route(self) -> None:
        routing = Routing(LiveCache())
        while True:
            async with self.database.transaction() as session:
                done = await routing.route(session, self.now(), 500)
            if not done.routed and not done.failed:
                return

    async def see(self, path: str) -> Any:
        answer = await self.admin.get(f"/v1/customers/ann/{path}")
        assert answer.is_success, answer.text
        return answer.json()

    async def points(self) -> int:
        found = await self.see("points")
        return int(found["available"]) + int(found["pending"])


@pytest.fixture(params=["browser", "server"])
async def somebody(
    request: pytest.FixtureRequest, api_server: ApiServer, client: httpx.AsyncClient, database: Database, clock: Clock
) -> Client:
    """Somebody with this kind of key; the shop knows `ann` from before."""
    key = api_server.browser_key if request.param == "browser" else api_server.write_key
    shop = Client(client, database, api_server.write_key, client, clock)
    await shop.say("identify", traits={"email": "ann@shop.example"})
    await shop.route()
    return Client(client, database, key, client, clock)


def is_trusted(somebody: Client, api_server: ApiServer) -> bool:
    return somebody.key == api_server.write_key


@pytest.mark.parametrize("condition", CONDITIONS.values(), ids=CONDITIONS)
async def test_prices_eligibility_and_coupons_do_not_believe_a_browser(
    somebody: Client, api_server: ApiServer, database: Database, condition: dict[str, Any]
) -> None:
    await publish(database, "programme", {"programme": "main"})
    cheap = {"reward": "cheap", "gives": {"gift": "tea"}, "price": [{"if": condition, "points": 0}, {"points": 900}]}
    secret = {"reward": "secret", "gives": {"gift": "tea"}, "price": [{"points": 0}], "eligible": {"if": condition}}
    code = {"reward": "code", "gives": {"percent": 50}, "eligible": {"if": condition}}
    for document in (cheap, secret, code):
        await publish(database, "reward", document)
    assert (await somebody.admin.post("/v1/coupons", json={"code": "HALF-50", "reward": "code"})).is_success

    await somebody.say_everything()
    await somebody.route()

    trusted = is_trusted(somebody, api_server)
    offers = {offer["reward"]: offer for offer in (await somebody.see("rewards?available=true"))["data"]}
    assert (offers["cheap"]["points"], offers["secret"]["available"]) == ((0, True) if trusted else (900, False))
    taken = [await somebody.admin.post(f"/v1/customers/ann/rewards/{key}/redeem") for key in ("cheap", "secret")]
    assert [each.is_success for each in taken] == [trusted, trusted]
    cart = {"currency": "EUR", "lines": [{"product_id": "tea", "price": 3_000}]}
    asked = {"codes": ["HALF-50"], "customer_id": "ann", "cart": cart}
    priced = (await somebody.admin.post("/v1/coupons/validate", json=asked)).json()
    assert (priced["discount"]["amount"] > 0) is trusted, priced


@pytest.mark.parametrize("condition", [WISH, DEED], ids=["trait", "did"])
@pytest.mark.parametrize("place", ["if", "multiply", "programme", "where"])
async def test_an_order_of_the_shop_earns_by_what_trusted_sources_told(
    somebody: Client, api_server: ApiServer, database: Database, place: str, condition: dict[str, Any]
) -> None:
    rule = {"rule": "more", "on": {"event": "Order Paid"}, "amount": {"points": 10}}
    double = [{"by": 3, "if": condition}]
    documents: dict[str, dict[str, Any]] = {
        "if": {"earn": [{**rule, "if": condition}]},
        "multiply": {"earn": [{**rule, "multiply": double}]},
        "programme": {"earn": [rule], "multiply": double},
        "where": {"earn": [{**rule, "on": {"event": "Order Paid", "where": [_SIZE]}}]},
    }
    await publish(database, "programme", {"programme": "main", **documents[place]})
    await somebody.say_everything()
    await somebody.route()
    shop = Client(somebody.http, database, api_server.write_key, somebody.admin, somebody.now)
    await shop.say("track", event="Order Paid", properties={"order_id": "paid", "size": "M"})
    await shop.route()

    with_it, without = {"if": (10, 0), "multiply": (30, 10), "programme": (30, 10), "where": (10, 0)}[place]
    assert await somebody.points() == (with_it if is_trusted(somebody, api_server) else without)


_SIZE = {"property": "size", "eq": {"customer": "traits.size"}}


async def test_points_tiers_challenges_and_contests_come_of_no_browsers_word(
    somebody: Client, api_server: ApiServer, database: Database
) -> None:
    await publish(database, "programme", {"programme": "main", "tiers": tiers(), "earn": [BASE]})
    levels = [{"level": "done", "at": 2, "points": 50, "badge": {"badge": "regular", "name": "Regular"}}]
    await publish(
        database, "challenge", {"challenge": "reviews", "metric": {"count": "Review Written"}, "levels": levels}
    )
    contest = {
        "contest": "summer",
        "closes": "2030-01-01",
        "entries": [{"rule": "review", "on": {"event": "Review Written"}}],
        "prizes": [{"to_place": 1, "points": 500}],
    }
    made = await somebody.admin.put("/v1/contests/summer", json={k: v for k, v in contest.items() if k != "contest"})
    assert made.is_success, made.text
    assert (await somebody.admin.post("/v1/contests/summer/publish", json={})).is_success

    await somebody.say_everything()
    await somebody.route()

    async with database.read() as session:
        entries = await session.scalar(select(func.count()).select_from(ContestEntry))
    badges = [each["badge"] for each in (await somebody.see("badges"))["data"]]
    tier = (await somebody.see("tier"))["tier"]
    found = (await somebody.points(), tier, badges, entries)
    trusted = is_trusted(somebody, api_server)
    assert found == ((80, "gold", ["regular"], 1) if trusted else (0, "bronze", [], 0))


async def test_a_draft_is_told_what_a_browser_could_bring_about(
    somebody: Client, api_server: ApiServer, database: Database
) -> None:
    await somebody.say_everything()
    await somebody.route()
    unless = {"not": DEED}
    reward = {"gives": {"gift": "tea"}, "eligible": {"if": unless}, "price": [{"if": WISH, "points": 1}]}
    challenge = {"metric": {"count": "Review Written"}, "levels": [{"level": "done", "at": 2, "points": 5}]}
    journey = {"enter": {"on": {"event": "Signed Up"}, "if": unless}, "steps": [{"points": {"award": 5}}]}

    codes = []
    for path, document in (("rewards/gift", reward), ("challenges/look", challenge), ("journeys/join", journey)):
        saved = await somebody.admin.put(f"/v1/{path}", json=document)
        assert saved.is_success, saved.text
        about_trust = ("absence_is_untrusted", "only_from_browsers", "untrusted_only")
        codes.append([each["code"] for each in saved.json()["findings"] if each["code"] in about_trust])

    if is_trusted(somebody, api_server):
        assert codes == [[], [], []]
    else:
        assert codes == [["only_from_browsers", "absence_is_untrusted"], ["untrusted_only"], ["absence_is_untrusted"]]
        refused = await somebody.admin.post("/v1/challenges/look/publish", json={})
        assert (refused.status_code, refused.json()["code"]) == (409, "checks_failed")


async def test_journeys_that_a_browser_led_somebody_into_are_not_trusted(
    somebody: Client, api_server: ApiServer, database: Database, clock: Clock
) -> None:
    entries: dict[str, dict[str, Any]] = {
        "event": {"on": {"event": "Review Written"}},
        "condition": {"on": {"event": "Order Paid"}, "if": DEED},
        "trait": {"on": {"event": "Order Paid"}, "if": WISH},
        "predicate": {"on": {"event": "Order Paid", "where": [_SIZE]}},
        "date": {"on": {"date": {"trait": "renewal", "at": "09:00"}}},
        "audience": {"on": {"schedule": "0 9 * * 1", "audience": {"any": [WISH, DEED]}}},
    }
    for key, enter in entries.items():
        steps = [{"reward": {"give": "tea"}, "id": "tea"}]
        await publish(database, "journey", {"journey": key, "enter": enter, "steps": steps})
    await somebody.say("identify", traits={"renewal": (clock.now + timedelta(days=1)).date().isoformat()})
    await somebody.say_everything()
    await somebody.route()
    shop = Client(somebody.http, database, api_server.write_key, somebody.admin, somebody.now)
    await shop.say("track", event="Order Paid", properties={"order_id": "paid", "size": "M"})
    activities = AudienceActivities(database)
    page = AudiencePage(journey="audience", entry=0, fired=clock.now)
    await ActivityEnvironment().run(activities.enter_audience, page)
    await activities.enter_due_dates(DueDatesInput(as_of=clock.now + timedelta(days=2)))
    await shop.route()

    runs = (await somebody.admin.get("/v1/runs", params={"customer_id": "ann"})).json()["data"]

    assert {run["journey"] for run in runs} == set(entries)
    assert {run["trusted"] for run in runs} == {is_trusted(somebody, api_server)}
    if not is_trusted(somebody, api_server):
        doubts = {run["journey"]: run["untrusted"]["by"] for run in runs}
        assert doubts == {
            **dict.fromkeys(("event", "predicate"), "event"),
            **dict.fromkeys(("condition", "trait"), "condition"),
            "date": "date",
            "audience": "audience",
        }
