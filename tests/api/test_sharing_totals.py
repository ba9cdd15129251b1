"""What referrals and shared links came to, and whose they are, for the shop's own people."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from api.dependencies import ApiDependencies
from database.session import Database
from tests.referring import ReferringShop

SAFARI = {"User-Agent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Safari/605.1.15"}
BASE = "https://links.example"


@pytest.fixture
def api_dependencies(database: Database, shop: ReferringShop) -> ApiDependencies:
    """An API whose clock is the shop's."""
    return ApiDependencies(database=database, now=lambda: shop.now, public_url=BASE)


@pytest.fixture
async def shop(database: Database) -> ReferringShop:
    """A shop with referrals and six customers."""
    shop = ReferringShop(database)
    await shop.publish_programme()
    await shop.sign_up("ann", "bob", "cid", "dan", "eve", "fay")
    return shop


@pytest.fixture
async def anybody(client: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody without a key."""
    async with httpx.AsyncClient(base_url=client.base_url, headers=SAFARI, timeout=30) as anybody:
        yield anybody


async def test_a_funnel_says_how_many_referrals_got_how_far(
    client: httpx.AsyncClient, anybody: httpx.AsyncClient, shop: ReferringShop
) -> None:
    invitations = [(await client.post("/v1/customers/ann/referral/invitations")).json() for _ in range(4)]
    for invitation in invitations[:3]:
        await anybody.get(invitation["link"].removeprefix(BASE))
    for friend, invitation in zip(("bob", "cid"), invitations, strict=False):
        await client.post("/v1/referrals/claim", json={"code": invitation["code"], "referee": friend})
    for friend in ("dan", "eve"):
        await client.post("/v1/referrals/claim", json={"referrer": "ann", "referee": friend})
    shop.later(hours=1)
    for friend in ("bob", "dan"):
        await shop.order(friend, f"o-{friend}")
    shop.later(days=15)
    await shop.end_holds()
    await shop.refund("dan", "o-dan")

    told = (await client.get("/v1/referrals/totals")).json()

    steps = ("visits", "invited", "clicked", "claimed", "qualified", "rewarded")
    assert [told[step] for step in steps] == [3, 4, 3, 4, 2, 2]
    assert told["conversion"] == {
        "clicked_of_invited": 75.0, "claimed_of_invited": 50.0,
        "qualified_of_claimed": 50.0, "rewarded_of_claimed": 50.0,
    }  # fmt: skip
    assert told["states"] == {"invited": 1, "clicked": 1, "claimed": 2, "rewarded": 1, "revoked": 1}
    assert told["rejected"] == {}
    earlier = (await client.get("/v1/referrals/totals", params={"to": "2026-05-01T00:00:00Z"})).json()
    assert [earlier[step] for step in steps] == [0] * 6
    assert set(earlier["conversion"].values()) == {None}


async def test_the_funnel_says_why_claims_were_rejected(client: httpx.AsyncClient, shop: ReferringShop) -> None:
    card = {"payment": "card"}
    for friend in ("bob", "cid"):
        await client.post("/v1/referrals/claim", json={"referrer": "ann", "referee": friend, "signals": card})
    [second, _] = (await client.get("/v1/referrals")).json()["data"]
    assert second["state"] == "under_review"
    await client.post(f"/v1/referrals/{second['id']}/reject", json={"reason": "policy"})

    told = (await client.get("/v1/referrals/totals")).json()

    assert (told["claimed"], told["rejected"], told["states"]) == (2, {"policy": 1}, {"claimed": 1, "rejected": 1})


async def test_whoever_decides_about_a_referral_sees_who_is_in_it(
    client: httpx.AsyncClient, shop: ReferringShop
) -> None:
    card = {"payment": "card"}
    for friend in ("bob", "cid"):
        await client.post("/v1/referrals/claim", json={"referrer": "ann", "referee": friend, "signals": card})
    await client.post("/v1/customers/fay/referral/invitations")

    [waiting] = (await client.get("/v1/referrals?state=under_review")).json()["data"]
    [invited] = (await client.get("/v1/referrals?state=invited")).json()["data"]
    decided = (await client.post(f"/v1/referrals/{waiting['id']}/approve")).json()

    assert (waiting["referrer"], waiting["referee"]) == ("ann", "cid")
    assert (invited["referrer"], invited["referee"]) == ("fay", None)
    assert (decided["referrer"], decided["referee"]) == ("ann", "cid")
    assert "cid" not in (await client.get("/v1/customers/ann/referral")).text


async def test_what_shared_links_came_to_by_action(
    client: httpx.AsyncClient, anybody: httpx.AsyncClient, shop: ReferringShop
) -> None:
    shared = [("ann", "share", "lamp"), ("ann", "share", "rug"), ("bob", "share", "lamp"), ("bob", "review", "lamp")]
    links = []
    for user, action, thing in shared:
        wish = {"action": action, "object": thing, "url": "https://shop.example/x"}
        made = await client.post(f"/v1/customers/{user}/shares", json=wish)
        links.append(made.json()["link"].removeprefix(BASE))
    shop.later(minutes=1)
    for agent in ("one", "two"):
        await anybody.get(links[0], headers=SAFARI | {"User-Agent": f"{SAFARI['User-Agent']} {agent}"})
    order = {"order_id": "o-1", "total": 20, "currency": "EUR", "share": links[1].removeprefix("/s/")}
    await shop.track("Order Completed", order, user_id="cid")

    told = (await client.get("/v1/shares/totals")).json()

    assert told["total"] == {
        "action": None, "links": 4, "sharers": 2, "visitors": 2, "verified": 2, "ordered": 1,
        "verified_of_links": 50.0, "ordered_of_links": 25.0,
    }  # fmt: skip
    assert [(each["action"], each["links"], each["ordered_of_links"]) for each in told["actions"]] == [
        ("review", 1, 0.0), ("share", 3, 33.33),
    ]  # fmt: skip
    nothing = (await client.get("/v1/shares/totals", params={"to": "2026-05-01T00:00:00Z"})).json()
    assert (nothing["total"]["links"], nothing["total"]["ordered_of_links"], nothing["actions"]) == (0, None, [])


async def test_whoever_decides_about_a_submission_sees_whose_it_is(
    client: httpx.AsyncClient, shop: ReferringShop
) -> None:
    for user in ("ann", "bob"):
        wish = {"customer_id": user, "action": "photo", "object": "https://photos.example/1"}
        assert (await client.post("/v1/submissions", json=wish)).json()["customer_id"] == user

    queue = (await client.get("/v1/submissions?state=pending")).json()["data"]
    decided = (await client.post(f"/v1/submissions/{queue[0]['id']}/approve")).json()

    assert [each["customer_id"] for each in queue] == ["bob", "ann"]
    assert decided["customer_id"] == "bob"
