"""One story of the loyalty programme over HTTP, with holds of seconds: every balance along the way worked out by hand.

Ann has bought something and gives Bob her link. He signs up, buys, reaches silver; both are rewarded after the hold; he
spends points on a teapot, returns half of his order, writes a review, and returns the rest.

One point for each whole euro. A point costs 1 cent x 0.85, and none has lapsed, so all are expected to be redeemed: the
liability is outstanding x 0.85 cents, half-even. `issued` counts every point that ever came in, returned or not.

                                 Bob                                            Ann             both
 after                 avail.  pend.  issued  spent  tier (figure)     avail.  pend.  issued   outst.  cents
 Ann's 120.90 euros         0      0       0      0  bronze    0            0    120     120      120    102
 Bob's 320.80, gift 50     50    320     370      0  silver  320            0    120     120      490    416  (416.5)
 holds over, 100 / 500    470      0     470      0  silver  320          620      0     620    1,090    926  (926.5)
 a teapot for 400          70      0     470    400  silver  320          620      0     620      690    586  (586.5)
 half returned: -160      -90      0     470    400  bronze  160          620      0     620      530    450  (450.5)
 a review: +50            -40      0     520    400  bronze  210          620      0     620      580    493
 rest returned: -160     -300      0     520    400  bronze   50          120      0     620     -180      0
   and 100 / 500

 The teapot takes what lapses first: Bob's 100 of the referral (30 days), 50 of the gift (90 days), 250 of the purchase
 (365 days), which leaves 70 there. Half of 320.80 takes back floor(320 x 160.40 / 320.80) = 160: those 70, and 90 owed.
 Half of the order leaves 160.40, more than the 30 that a referral asks for; the whole order leaves nothing, so it is
 revoked: 100 from Bob, 500 from Ann.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime
from email.message import EmailMessage
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest
from segment.analytics.client import Client as Segment

from tests.scenarios.conftest import Stack, eventually
from tests.scenarios.shoppers import Json, archive_programmes, new_key
from tests.scenarios.warehouse import Warehouse, open_warehouse, verified

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"}
WEBSITE = "https://shop.example/welcome"
THANKS = "Your thank-you has arrived"
HOLD_SECONDS = 8
LEVELS = [
    {"tier": "bronze", "from": 0},
    {"tier": "silver", "name": "Silver", "from": 300, "benefits": ["Free parcels"]},
]
TERMS = {
    "zone": "Europe/Berlin",
    "points": {"value": {"amount": 1, "currency": "EUR"}, "cost_share": 0.85},
    "expires": {"after": "365d"},
    "earn": [
        {
            "rule": "purchase",
            "on": {"event": "Order Completed"},
            "amount": {"per": {"amount": 100, "currency": "EUR"}, "of": "properties.subtotal"},
            "pending": f"{HOLD_SECONDS}s",
        },
        {"rule": "review", "on": {"event": "Product Reviewed"}, "amount": {"points": 50}},
    ],
    "tiers": {"measure": {"points": "earned", "window": {"rolling": "12mo"}}, "levels": LEVELS},
    "referral": {
        "qualifies_on": {"event": "Order Completed", "where": [{"property": "subtotal", "gte": 30}]},
        "hold": f"{HOLD_SECONDS}s",
        "referrer": {"points": 500},
        "referee": {"points": 100, "expires": {"after": "30d"}},
    },
}


class Member:
    """One customer, as the shop's backend reports them with Segment's own client."""

    def __init__(self, stack: Stack, segment: Segment, first_name: str) -> None:
        self.id = f"{first_name.lower()}-{uuid.uuid4().hex[:8]}"
        self.email = f"{uuid.uuid4().hex[:12]}@example.com"
        self.path = f"/v1/customers/{quote(self.id, safe='')}"
        self._stack, self._segment = stack, segment
        segment.identify(self.id, {"email": self.email, "first_name": first_name, "timezone": "Europe/Berlin"})
        self.track("Consent Granted", {"purpose": "marketing", "channel": "email"})
        eventually(lambda: stack.client.get(self.path), lambda answer: answer.is_success)

    def track(self, event: str, properties: Json) -> None:
        """Report one event and wait until it is acknowledged."""
        self._segment.track(self.id, event, properties)
        self._segment.flush()

    def points(self) -> tuple[int, int, int, int]:
        """Available, pending, issued and spent; nothing is ever held or expired when we look."""
        told = self._stack.get(f"{self.path}/points")
        assert (told["held"], told["expired"]) == (0, 0)
        return told["available"], told["pending"], told["issued"], told["spent"]

    def lots(self) -> list[tuple[str, int, int]]:
        """What came in and what is left of it, in the order in which it is spent."""
        return [
            (lot["source"], lot["original"], lot["remaining"]) for lot in self._stack.get(f"{self.path}/points")["lots"]
        ]

    def tier(self) -> tuple[str, str]:
        """The tier, and why they have it."""
        told = self._stack.get(f"{self.path}/tier")
        return told["tier"], told["history"][0]["reason"]

    def referral(self) -> Json:
        """The customer's link, and what became of the friends who followed it."""
        return self._stack.get(f"{self.path}/referral")

    def mails(self) -> dict[str, EmailMessage]:
        """What is in the inbox, by subject."""
        return {str(mail["Subject"]): mail for mail in self._stack.mailbox.of(self.email)}


@pytest.fixture
def programme(stack: Stack) -> Iterator[str]:
    """The story's own programme, live; no other is meanwhile."""
    archive_programmes(stack)
    key = new_key("story")
    publish(stack, "programmes", key, TERMS)
    stack.client.put("/v1/settings", json=stack.get("/v1/settings") | {"website": WEBSITE}).raise_for_status()
    yield key
    stack.client.post(f"/v1/programmes/{key}/archive", json={})


@pytest.fixture
def segment(stack: Stack) -> Iterator[Segment]:
    """Segment's own client with the shop's write key."""
    client = Segment(stack.addresses["write_key"], host=stack.addresses["api"], upload_interval=0.05)
    yield client
    client.shutdown()


@pytest.fixture
def warehouse() -> Iterator[Warehouse]:
    """Who delivers teapots."""
    with open_warehouse() as warehouse:
        yield warehouse


def publish(stack: Stack, kind: str, key: str, document: Json) -> None:
    """Save a document and publish it."""
    saved = stack.client.put(f"/v1/{kind}/{key}", json=document)
    assert saved.status_code == 200, saved.text
    published = stack.client.post(f"/v1/{kind}/{key}/publish", json={})
    assert published.status_code == 200, published.text


def order(order_id: str, *prices: float) -> Json:
    """An order of one piece for each price, in euros."""
    products = [{"product_id": f"p-{number}", "price": price, "quantity": 1} for number, price in enumerate(prices)]
    total = round(sum(prices), 2)
    return {"order_id": order_id, "subtotal": total, "total": total, "currency": "EUR", "products": products}


def test_a_friend_signs_up_buys_reaches_silver_redeems_and_returns_half(
    stack: Stack, programme: str, segment: Segment, warehouse: Warehouse
) -> None:
    def owed() -> tuple[int, int]:
        """Points outstanding, and what they will cost in cents."""
        told = stack.get(f"/v1/programmes/{programme}/liability")
        assert told["liability"]["currency"] == "EUR"
        return told["outstanding"], told["liability"]["amount"]

    ann = Member(stack, segment, "Ann")
    ann.track("Order Completed", order(new_key("a"), 120.90))
    eventually(ann.points, lambda points: points == (0, 120, 120, 0))
    assert owed() == (120, 102)

    bob = sign_up_by_link(stack, segment, ann)
    assert bob.points() == (0, 0, 0, 0)
    bought = order(new_key("b"), 160.40, 160.40)
    bob.track("Order Completed", bought)
    eventually(bob.points, lambda points: points == (50, 320, 370, 0))
    assert bob.tier() == ("silver", "qualified")
    assert ann.points()[3] == 0
    assert ann.referral()["counts"] == {"held": 1}
    assert owed() == (490, 416)

    eventually(ann.referral, lambda told: told["counts"] == {"rewarded": 1})
    eventually(lambda: (bob.points(), ann.points()), lambda now: now == ((470, 0, 470, 0), (620, 0, 620, 0)))
    assert bob.lots() == [("referral", 100, 100), ("journey/tier-upgrade", 50, 50), ("purchase", 320, 320)]
    assert owed() == (1_090, 926)
    assert_told(stack, ann, bob)

    redeem_a_teapot(stack, bob, warehouse)
    assert bob.points() == (70, 0, 470, 400)
    assert bob.lots() == [("purchase", 320, 70)]
    assert owed() == (690, 586)

    half = {"order_id": bought["order_id"], "total": 160.40, "currency": "EUR", "products": bought["products"][:1]}
    bob.track("Order Refunded", half)
    eventually(bob.points, lambda points: points == (-90, 0, 470, 400))
    assert bob.tier() == ("bronze", "taken_back")
    assert (ann.points(), ann.referral()["counts"]) == ((620, 0, 620, 0), {"rewarded": 1})
    assert owed() == (530, 450)

    bob.track("Product Reviewed", {"product_id": "p-1", "review_body": "Holds water."})
    eventually(bob.points, lambda points: points == (-40, 0, 520, 400))
    assert owed() == (580, 493)

    bob.track("Order Refunded", half | {"products": bought["products"][1:]})
    eventually(bob.points, lambda points: points == (-300, 0, 520, 400))
    eventually(ann.points, lambda points: points == (120, 0, 620, 0))
    assert ann.referral()["counts"] == {"revoked": 1}
    assert owed() == (-180, 0)
    again = stack.client.post("/v1/referrals/claim", json={"code": ann.referral()["code"], "referee": bob.id})
    assert (again.status_code, again.json()["state"]) == (200, "revoked")  # nobody is brought twice


def sign_up_by_link(stack: Stack, segment: Segment, referrer: Member) -> Member:
    """Bob follows the link, signs up, and the shop's backend claims with the code that came along."""
    link = referrer.referral()
    followed = httpx.get(link["link"], headers=BROWSER, follow_redirects=False, timeout=60)
    assert followed.status_code == 302
    landed = urlsplit(followed.headers["location"])
    assert landed._replace(query="").geturl() == WEBSITE
    [code] = parse_qs(landed.query)["ref"]
    assert referrer.referral()["clicks"] == {"people": 1, "machines": 0}
    bob = Member(stack, segment, "Bob")
    wish = {"code": code, "referee": bob.id, "signals": {"ip": "93.184.216.34", "device": uuid.uuid4().hex}}
    claimed = stack.client.post("/v1/referrals/claim", json=wish)
    assert (claimed.status_code, claimed.json()["state"]) == (201, "claimed"), claimed.text
    assert referrer.referral()["counts"] == {"claimed": 1}
    return bob


def assert_told(stack: Stack, ann: Member, bob: Member) -> None:
    """Both journeys that come with the product did their talking."""
    told = eventually(ann.mails, lambda mails: len(mails) == 3)
    assert set(told) == {"Your friend is here", "Your friend has ordered: almost there", THANKS}
    told = eventually(bob.mails, lambda mails: len(mails) == 3)
    shop = stack.get("/v1/settings")["name"]
    assert set(told) == {f"Welcome to {shop}, Bob", "Welcome to Silver", THANKS}
    text = told["Welcome to Silver"].get_body(("plain",))
    assert text is not None
    assert "Free parcels" in text.get_content()
    assert "50" in text.get_content().split()  # the gift; what his order earned is still pending


def redeem_a_teapot(stack: Stack, member: Member, warehouse: Warehouse) -> None:
    """For 400 points; the shop's own system is away at first, then delivers it."""
    warehouse.statuses = [503]
    reward = new_key("teapot")
    terms = {"gives": {"gift": "teapot"}, "price": [{"points": 400}], "stock": 1, "fulfil": {"url": warehouse.url}}
    publish(stack, "rewards", reward, terms)
    answer = stack.client.post(f"{member.path}/rewards/{reward}/redeem", json={"points": 400})
    assert answer.status_code == 200, answer.text
    redemption = answer.json()
    assert (redemption["state"], redemption["points"]) == ("reserved", 400)
    path = f"/v1/redemptions/{redemption['id']}"
    ended = eventually(lambda: stack.get(path), lambda now: now["ended_at"] is not None)
    assert ended["state"] == "fulfilled"
    asked = [verified(headers, body) for headers, body in warehouse.asked]
    assert [(each["type"], each["data"]["redemption_id"], each["data"]["customer_id"]) for each in asked] == [
        ("reward.redeemed", redemption["id"], member.id)
    ] * 2
    assert len({headers["webhook-id"] for headers, _ in warehouse.asked}) == 1
    assert datetime.fromisoformat(ended["issued_at"]) >= datetime.fromisoformat(ended["requested_at"])
