"""The whole story over HTTP: Segment client in, mailbox out; real PostgreSQL, Temporal and SMTP, nothing injected."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import quote

import pytest
from segment.analytics.client import Client as Segment
from temporalio.client import Client as Temporal

from tests.scenarios.conftest import Stack, eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

JOURNEY = {
    "journey": "story-cart",
    "name": "Abandoned cart, with waits of seconds",
    "purpose": "marketing",
    "enter": {
        "on": {"event": "Product Added", "where": [{"property": "price", "gte": 20}]},
        "if": {"trait": "plan", "ne": "staff"},
        "occasion": "properties.cart_id",
    },
    "goal": {"event": "Order Completed", "within": "7d", "value": "properties.total"},
    "exit": [{"event": "Order Completed", "where": [{"property": "cart_id", "eq": {"entry": "properties.cart_id"}}]}],
    "steps": [
        {"wait_for": {"id": "quiet", "timeout": "2s", "restart_on": [{"event": "Product Added"}]}},
        {"send": {"id": "reminder", "template": "cart-reminder"}},
        {"wait": {"id": "patience", "for": "6s"}},
        {
            "branch": [
                {
                    "if": {"aggregate": "sum", "of": "properties.total", "over": "Order Completed", "gte": 300},
                    "steps": [{"send": {"id": "offer", "template": "cart-offer"}}],
                },
                {"else": [{"send": {"id": "last-call", "template": "cart-last-call"}}]},
            ]
        },
    ],
}


class Shopper:
    """One customer of the shop, as the shop's backend reports them with Segment's own client."""

    clients: ClassVar[list[Segment]] = []

    def __init__(self, stack: Stack, first_name: str) -> None:
        self.id = f"{first_name.lower()}/{uuid.uuid4().hex[:8]}@shop"
        self.email = f"{uuid.uuid4().hex[:12]}@example.com"
        self.cart = f"cart-{uuid.uuid4().hex[:8]}"
        self.stack = stack
        self.segment = Segment(stack.addresses["write_key"], host=stack.addresses["api"], upload_interval=0.05)
        self.clients.append(self.segment)
        self.segment.identify(self.id, {"email": self.email, "first_name": first_name, "timezone": "Europe/Berlin"})
        self.segment.track(self.id, "Consent Granted", {"purpose": "marketing", "channel": "email"})
        self.segment.flush()

    def track(self, event: str, properties: dict[str, Any]) -> None:
        """Report one event and wait until it is acknowledged."""
        self.segment.track(self.id, event, properties)
        self.segment.flush()

    def fill_cart(self) -> None:
        """Put something worth a reminder into the cart."""
        product = {"product_id": "p-1", "name": "Bergamot soap", "price": 24.5, "quantity": 2, "currency": "EUR"}
        self.track("Product Added", {"cart_id": self.cart, **product})

    def run(self) -> dict[str, Any]:
        """This customer's one run, as the API tells it."""
        path = f"/v1/runs?customer_id={quote(self.id, safe='')}&journey=story-cart"
        runs = eventually(lambda: self.stack.get(path)["data"], lambda runs: len(runs) == 1)
        return self.stack.get(f"/v1/runs/{runs[0]['id']}")

    def mails(self) -> list[Any]:
        """What is in the inbox."""
        return self.stack.mailbox.of(self.email)


@pytest.fixture(scope="module")
def shop(stack: Stack) -> Iterator[Stack]:
    """The stack with the journey published."""
    stack.publish(JOURNEY)
    yield stack
    for client in Shopper.clients:
        client.shutdown()


def test_a_cart_left_alone_brings_a_reminder_and_then_a_last_call(shop: Stack) -> None:
    ann = Shopper(shop, "Ann")
    ann.fill_cart()

    mails = eventually(ann.mails, lambda mails: len(mails) == 2)

    reminder, last_call = mails
    body = reminder.get_body(("html",)).get_content()
    assert "Ann" in body
    assert "Bergamot soap" in body
    assert reminder.get_body(("plain",)) is not None
    assert reminder["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert reminder["Subject"] != last_call["Subject"]
    run = eventually(ann.run, lambda run: run["state"] == "completed")
    outcomes = {step["step"]: step["outcome"] for step in run["steps"]}
    assert outcomes["reminder"] == outcomes["last-call"] == "done"
    messages = shop.get(f"/v1/messages?customer_id={quote(ann.id, safe='')}")["data"]
    assert {message["state"] for message in messages} == {"accepted"}


def test_buying_ends_the_journey_before_the_next_mail_and_counts_as_its_goal(shop: Stack) -> None:
    bob = Shopper(shop, "Bob")
    bob.fill_cart()
    eventually(bob.mails, lambda mails: len(mails) == 1)

    bob.track("Order Completed", {"order_id": f"o-{bob.cart}", "cart_id": bob.cart, "total": 49.0, "currency": "EUR"})

    run = eventually(bob.run, lambda run: run["state"] == "exited")
    assert "Order Completed" in run["reason"]
    orders = shop.get(f"/v1/customers/{quote(bob.id, safe='')}/orders")["data"]
    assert [order["total"] for order in orders] == [{"amount": 4900, "currency": "EUR"}]
    funnel = shop.get("/v1/journeys/story-cart/funnel")
    assert funnel["converted"] >= 1
    assert len(bob.mails()) == 1


def test_nobody_is_mailed_who_unsubscribed_by_one_click(shop: Stack) -> None:
    cleo = Shopper(shop, "Cleo")
    cleo.fill_cart()
    (reminder,) = eventually(cleo.mails, lambda mails: len(mails) == 1)

    link = reminder["List-Unsubscribe"].split(">")[0].strip("<")
    answer = shop.client.post(link, data={"List-Unsubscribe": "One-Click"}, headers={"Authorization": ""})

    assert answer.status_code == 200
    run = eventually(cleo.run, lambda run: run["state"] == "completed")
    skipped = {step["step"]: step["reason"] for step in run["steps"] if step["outcome"] == "skipped"}
    assert set(skipped) == {"last-call"}
    assert len(cleo.mails()) == 1


def test_the_same_cart_never_starts_a_second_run(shop: Stack) -> None:
    dora = Shopper(shop, "Dora")
    for _ in range(5):
        dora.fill_cart()

    eventually(dora.mails, lambda mails: len(mails) >= 1)

    assert dora.run()["occasion"] == dora.cart


def test_ops_find_a_customers_runs_in_temporal_without_personal_data(shop: Stack) -> None:
    emil = Shopper(shop, "Emil")
    emil.fill_cart()
    run = emil.run()

    described = asyncio.run(_describe(shop.addresses["temporal_address"], run["temporal"]["workflow_id"]))

    assert described["type"] == "story-cart"
    assert described["attributes"]["Journey"] == "story-cart"
    assert described["attributes"]["JourneyVersion"] == run["version"]
    assert emil.id not in str(described)
    assert emil.email not in str(described)
    assert datetime.fromisoformat(run["entered_at"]).tzinfo is not None


async def _describe(address: str, workflow_id: str) -> dict[str, Any]:
    client = await Temporal.connect(address)
    description = await client.get_workflow_handle(workflow_id).describe()
    attributes = {pair.key.name: pair.value for pair in description.typed_search_attributes}
    history = await client.get_workflow_handle(workflow_id).fetch_history()
    return {"type": description.workflow_type, "attributes": attributes, "history": history.to_json()}
