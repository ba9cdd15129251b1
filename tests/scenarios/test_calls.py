"""Outgoing webhooks as their receiver gets them: signed, repeated after failures, and their answers used."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.scenarios.conftest import WEBHOOK_SECRET, Stack, eventually
from tests.scenarios.shoppers import Json, Shopper, is_over, new_key, outcomes, published, reason_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ANSWER = {"sku": "s-1", "price": {"amount": 12}}


@dataclass
class Receiver:
    """The shop's own system: answers with these statuses, then with 200, and keeps what it got."""

    statuses: list[int] = field(default_factory=list)
    calls: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A web server on this machine."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.calls.append(({name.lower(): value for name, value in self.headers.items()}, body))
            answer = json.dumps(ANSWER).encode()
            self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  http.server's name
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield receiver
    server.shutdown()
    server.server_close()


def signature_of(headers: dict[str, str], body: bytes) -> str:
    """What the Standard Webhooks rules ask for."""
    key = base64.b64decode(WEBHOOK_SECRET.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def test_a_call_is_signed_repeated_under_one_id_and_its_answer_kept(stack: Stack, receiver: Receiver) -> None:
    receiver.statuses = [503]
    stock = {"id": "stock", "url": receiver.url, "body": {"sku": "{{ entry.properties.sku }}"}, "save_as": "stock"}
    mark = {"update": {"traits": {"reserved": True}}}
    reserved = {"if": {"event": "properties.sku", "eq": {"saved": "stock.sku"}}, "steps": [mark]}
    price = {"update": {"traits": {"price": "{{ saved.stock.price.amount }}"}}}
    journey = published(stack, [{"call": stock}, {"branch": [reserved]}, price])
    ann = Shopper(stack)
    ann.start(journey, {"sku": "s-1"})

    assert ann.run(journey, is_over)["state"] == "completed"

    assert [json.loads(body) for _, body in receiver.calls] == [{"sku": "s-1"}] * 2
    assert len({headers["webhook-id"] for headers, _ in receiver.calls}) == 1
    for headers, body in receiver.calls:
        assert signature_of(headers, body) in headers["webhook-signature"].split()
    traits = eventually(lambda: ann.profile()["traits"], lambda traits: "price" in traits)
    assert (traits["price"], traits["reserved"]) == (12, True)


def test_a_refused_call_ends_the_journey_only_where_the_step_says_so(stack: Stack, receiver: Receiver) -> None:
    receiver.statuses = [400, 404, 410]
    steps: list[Json] = [
        {"call": {"id": "own", "url": receiver.url, "on_failure": [{"update": {"id": "note", "traits": {"n": 1}}}]}},
        {"call": {"id": "plain", "url": receiver.url}},
        {"call": {"id": "last", "url": receiver.url, "on_failure": "exit"}},
        {"update": {"id": "never", "traits": {"n": 2}}},
    ]
    journey = published(stack, steps)
    ann = Shopper(stack)
    ann.start(journey)

    run = ann.run(journey, is_over)

    assert outcomes(run) == [("own", "failed"), ("note", "done"), ("plain", "failed"), ("last", "failed")]
    assert [reason_of(run, step) for step in ("own", "plain", "last")] == ["http_400", "http_404", "http_410"]


def test_a_message_of_the_webhook_channel_is_posted_with_values_of_their_own_type(
    stack: Stack, receiver: Receiver
) -> None:
    key = new_key("hook")
    body = {"who": "{{ customer.id }}", "cart": "{{ entry.properties.cart }}"}
    template = {"template": key, "channel": "webhook", "url": receiver.url, "body": body}
    stack.client.put(f"/v1/templates/{key}", json=template).raise_for_status()
    stack.client.post(f"/v1/templates/{key}/publish", json={}).raise_for_status()
    journey = published(stack, [{"send": {"template": key, "channel": "webhook"}}])
    ann = Shopper(stack)

    ann.start(journey, {"cart": {"items": [1, 2]}})

    assert ann.run(journey, is_over)["state"] == "completed"
    ((headers, posted),) = receiver.calls
    assert json.loads(posted) == {"who": ann.id, "cart": {"items": [1, 2]}}
    assert signature_of(headers, posted) in headers["webhook-signature"].split()
    assert [(message["channel"], message["state"]) for message in ann.messages()] == [("webhook", "accepted")]
