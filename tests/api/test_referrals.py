"""Referrals over HTTP: codes and links, clicks, claims, and the queue for people."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from api.dependencies import ApiDependencies
from database.audit import AuditEntry
from database.events import Event
from database.referral_signals import ReferralSignal
from database.session import Database
from database.shop_settings import save_shop_settings
from domain.referral_signals import SignalKind
from domain.shop_settings import ShopSettings
from tests.api.conftest import ApiServer
from tests.referring import ReferringShop

BROWSER = {"User-Agent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Safari/605.1.15"}
WEBSITE = "https://shop.example/welcome?lang=de&ref=old"


@pytest.fixture
def api_dependencies(database: Database, shop: ReferringShop) -> ApiDependencies:
    """An API whose clock is the shop's."""
    return ApiDependencies(database=database, now=lambda: shop.now, public_url="https://links.example")


@pytest.fixture
async def shop(database: Database) -> ReferringShop:
    """A shop with a live programme, a website, and three customers."""
    shop = ReferringShop(database)
    async with database.transaction() as session:
        await save_shop_settings(session, ShopSettings(website=WEBSITE), shop.now)
    await shop.publish_programme()
    await shop.sign_up("ann", "bob", "cid")
    return shop


@pytest.fixture
async def anybody(client: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody without a key."""
    async with httpx.AsyncClient(base_url=client.base_url, headers=BROWSER, timeout=30) as anybody:
        yield anybody


async def referral_of(client: httpx.AsyncClient, customer_id: str) -> dict[str, Any]:
    answer = await client.get(f"/v1/customers/{customer_id}/referral")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def claim(client: httpx.AsyncClient, **wish: Any) -> httpx.Response:
    return await client.post("/v1/referrals/claim", json=wish)


async def test_a_customer_has_one_code_and_a_link_with_it(client: httpx.AsyncClient) -> None:
    first, again = await referral_of(client, "ann"), await referral_of(client, "ann")

    assert first == again
    assert first["link"] == f"https://links.example/r/{first['code']}"
    assert (first["active"], first["clicks"], first["counts"], first["friends"]) == (
        *(True, {"people": 0, "machines": 0}, {}, []),
    )
    assert (await referral_of(client, "bob"))["code"] != first["code"]
    assert (await client.get("/v1/customers/nobody/referral")).status_code == 404


async def test_following_a_link_leads_to_the_website_and_only_counts(
    client: httpx.AsyncClient, anybody: httpx.AsyncClient, shop: ReferringShop
) -> None:
    code = (await referral_of(client, "ann"))["code"]
    answers = [await anybody.get(f"/r/{code.lower()}?next=https://evil.example") for _ in range(3)]

    answer = answers[-1]
    assert answer.status_code == 302
    assert answer.headers["location"] == f"https://shop.example/welcome?lang=de&ref={code}"
    assert (await referral_of(client, "ann"))["clicks"] == {"people": 3, "machines": 0}
    assert await shop.referrals() == []
    await shop.route()
    assert await shop.told("Referral Clicked") == [("ann", "referrer")]  # once a day, however often


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("HEAD", {}),
        ("GET", {"User-Agent": "facebookexternalhit/1.1"}),
        ("GET", {"User-Agent": "Barracuda Sentinel (EE)"}),
        ("GET", {"Sec-Purpose": "prefetch"}),
    ],
)
async def test_scanners_and_previews_are_counted_apart(
    client: httpx.AsyncClient, anybody: httpx.AsyncClient, method: str, headers: dict[str, str]
) -> None:
    code = (await referral_of(client, "ann"))["code"]
    answer = await anybody.request(method, f"/r/{code}", headers=headers)
    assert answer.status_code == 302
    assert (await referral_of(client, "ann"))["clicks"] == {"people": 0, "machines": 1}


async def test_an_unknown_link_is_a_page_that_says_so(anybody: httpx.AsyncClient) -> None:
    answer = await anybody.get("/r/00000000")
    assert answer.status_code == 404
    assert "not one of ours" in answer.text


async def test_nobody_finds_a_referral_code_by_following_links(
    client: httpx.AsyncClient, anybody: httpx.AsyncClient, shop: ReferringShop
) -> None:
    code = (await referral_of(client, "ann"))["code"]
    good = [(await anybody.get(f"/r/{code}")).status_code for _ in range(30)]
    guesses = [(await anybody.get(f"/r/0000000{number % 10}")).status_code for number in range(21)]
    assert (set(good), guesses.count(404), guesses.count(429)) == ({302}, 20, 1)

    answer = await anybody.get(f"/r/{code}")  # nothing tells it from a wrong one
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
    assert "wait a minute" in answer.text

    shop.now += timedelta(minutes=1)
    assert (await anybody.get(f"/r/{code}")).status_code == 302


async def test_an_invitation_goes_from_invited_to_clicked_to_claimed(
    client: httpx.AsyncClient, anybody: httpx.AsyncClient
) -> None:
    made = (await client.post("/v1/customers/ann/referral/invitations")).json()
    assert (await referral_of(client, "ann"))["counts"] == {"invited": 1}

    await anybody.get(f"/r/{made['code']}", headers={"User-Agent": "facebookexternalhit/1.1"})
    assert (await referral_of(client, "ann"))["counts"] == {"invited": 1}
    await anybody.get(f"/r/{made['code']}")
    assert (await referral_of(client, "ann"))["counts"] == {"clicked": 1}

    claimed = await claim(client, code=made["code"], referee="bob")
    assert (claimed.status_code, claimed.json()["id"]) == (201, made["referral_id"])
    passed_on = await claim(client, code=made["code"], referee="cid")
    assert (passed_on.status_code, passed_on.json()["id"] != made["referral_id"]) == (201, True)
    assert (await referral_of(client, "ann"))["counts"] == {"claimed": 2}


async def test_a_claim_is_safe_to_repeat_and_shows_nothing_of_the_friend_to_the_referrer(
    client: httpx.AsyncClient,
) -> None:
    code = (await referral_of(client, "ann"))["code"]
    first = await claim(client, code=code, referee="bob")
    again = await claim(client, code=code, referee="bob")
    by_name = await claim(client, referrer="ann", customer_id="bob")

    assert (first.status_code, again.status_code, by_name.status_code) == (201, 200, 200)
    assert first.json() == again.json() == by_name.json()
    shown = await referral_of(client, "ann")
    assert [friend["state"] for friend in shown["friends"]] == ["claimed"]
    assert "bob" not in str(shown)
    assert (await referral_of(client, "bob"))["referred_by_link"] is True


@pytest.mark.parametrize(
    ("wish", "status", "code"),
    [
        ({"referrer": "ann", "referee": "ann"}, 409, "self_referral"),
        ({"code": "00000000", "referee": "bob"}, 404, "referral_code_not_found"),
        ({"referrer": "nobody", "referee": "bob"}, 404, "referrer_not_found"),
        ({"referee": "bob"}, 422, "invalid"),
        ({"code": "00000000", "referrer": "ann", "referee": "bob"}, 422, "invalid"),
    ],
)
async def test_a_refused_claim_says_why_and_leaves_nothing(
    client: httpx.AsyncClient, shop: ReferringShop, wish: dict[str, str], status: int, code: str
) -> None:
    answer = await claim(client, **wish)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert await shop.referrals() == []


async def test_a_friend_is_brought_once(client: httpx.AsyncClient) -> None:
    await claim(client, referrer="ann", referee="bob")
    answer = await claim(client, referrer="cid", referee="bob")
    assert (answer.status_code, answer.json()["code"]) == (409, "already_referred")


async def test_nothing_is_claimed_without_a_programme(client: httpx.AsyncClient, other_shop: None) -> None:
    answer = await claim(client, referrer="ann", referee="bob")
    assert (answer.status_code, answer.json()["code"]) == (409, "no_programme")


@pytest.fixture
async def other_shop(shop: ReferringShop) -> None:
    """The same shop after its programme was archived."""
    await shop.archive_programme()


async def test_people_decide_about_what_is_doubtful_and_it_is_written_down(
    client: httpx.AsyncClient, shop: ReferringShop, database: Database
) -> None:
    for friend in ("bob", "cid"):
        device = f"phone of {friend}"
        await shop.track("Product Viewed", user_id="ann", context={"device": {"id": device}})
        answer = await claim(client, referrer="ann", referee=friend, signals={"device": device})
        assert answer.json()["state"] == "under_review"
    shop.later(hours=1)
    await shop.order("bob", "o-1")
    queue = (await client.get("/v1/referrals?state=under_review&limit=1")).json()
    [second] = queue["data"]
    [first] = (await client.get(f"/v1/referrals?state=under_review&cursor={queue['next_cursor']}")).json()["data"]

    approved = await client.post(f"/v1/referrals/{first['id']}/approve")
    rejected = await client.post(f"/v1/referrals/{second['id']}/reject", json={"reason": "fraud"})
    again = await client.post(f"/v1/referrals/{first['id']}/approve")

    assert (approved.json()["state"], rejected.json()["state"], rejected.json()["reason"]) == (
        *("qualified", "rejected", "fraud"),
    )
    assert (again.status_code, again.json()["code"]) == (409, "not_under_review")
    await shop.route()
    assert await shop.states() == ["held", "rejected(fraud)"]
    async with database.read() as session:
        acts = (await session.execute(select(AuditEntry.action).order_by(AuditEntry.at, AuditEntry.id))).scalars().all()
    assert acts == ["referral.approve", "referral.reject"]
    shown = (await client.get(f"/v1/referrals/{second['id']}")).json()
    assert shown["suspicions"] == ["same_device"]


async def test_a_referral_that_is_approved_while_no_programme_is_live_is_held_and_paid_once_one_is(
    client: httpx.AsyncClient, shop: ReferringShop
) -> None:
    """What is due later is what the version says that decided."""
    await shop.track("Product Viewed", user_id="ann", context={"device": {"id": "d-1"}})
    claimed = (await claim(client, referrer="ann", referee="bob", signals={"device": "d-1"})).json()
    shop.later(hours=1)
    await shop.order("bob")
    await shop.archive_programme()

    await client.post(f"/v1/referrals/{claimed['id']}/approve")
    await shop.route()
    assert await shop.states() == ["held"]
    shop.later(days=15)
    assert await shop.end_holds() == 0
    await shop.publish_programme()

    assert await shop.end_holds() == 1
    assert [await shop.points(user) for user in ("ann", "bob")] == [500, 100]


async def test_what_was_told_about_a_friend_is_kept_as_hashes_only(
    client: httpx.AsyncClient, database: Database
) -> None:
    canary = "canary-93.184"
    signals = dict.fromkeys(("ip", "device", "address", "payment"), canary)
    await claim(client, referrer="ann", referee="bob", signals=signals)
    async with database.read() as session:
        told = (await session.execute(select(Event.properties))).scalars().all()
        rows = (await session.execute(select(ReferralSignal.kind, ReferralSignal.hash))).all()
    assert canary not in str(told)
    assert {row.kind for row in rows} == {kind for kind in SignalKind if kind is not SignalKind.NETWORK}
    assert canary.encode() not in b"".join(row.hash for row in rows)


async def test_a_friend_whom_nobody_knows_yet_is_told_of_and_can_be_claimed_soon(
    client: httpx.AsyncClient, shop: ReferringShop
) -> None:
    first = await claim(client, referrer="ann", referee="new")  # no router runs beside this API
    await shop.route()
    again = await claim(client, referrer="ann", referee="new")
    assert (first.status_code, first.json()["code"]) == (503, "customer_pending")
    assert again.status_code == 201


async def test_a_browsers_key_claims_nothing(client: httpx.AsyncClient, api_server: ApiServer) -> None:
    for key in (api_server.browser_key, api_server.write_key):
        answer = await client.post(
            "/v1/referrals/claim",
            json={"referrer": "ann", "referee": "bob"},
            headers={"Authorization": f"Bearer {key}"},
        )
        assert answer.status_code == 403
