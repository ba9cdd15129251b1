"""Outgoing webhooks: signed by the standard, never into private networks, never redirected."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from connectors.webhook import Delivered, Refused, TryLater, Webhooks, is_public, signature_headers, signing_key

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


@dataclass
class Shop:
    """A shop's endpoint that answers what a test wants."""

    url: str = ""
    answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    requests: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        self.requests.append(head + await reader.readexactly(int(length.split(b":")[1])))
        writer.write(self.answer)
        await writer.drain()
        writer.close()


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    """A shop on the loopback address."""
    shop = Shop()
    server = await asyncio.start_server(shop.serve, "127.0.0.1", 0)
    shop.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    async with server:
        yield shop


@pytest.fixture
async def webhooks() -> AsyncIterator[Webhooks]:
    """Webhooks that may call local shops."""
    webhooks = Webhooks(SECRET, allow_private=True)
    yield webhooks
    await webhooks.close()


async def post(webhooks: Webhooks, url: str, **headers: str) -> Delivered | Refused | TryLater:
    return await webhooks.post(url, {"a": 1}, webhook_id="call_1", headers=headers, as_of=NOW)


def test_the_signature_is_that_of_the_standard() -> None:
    headers = signature_headers(signing_key(SECRET), "msg_1", NOW, b'{"a":1}')

    signed = f"msg_1.{int(NOW.timestamp())}.".encode() + b'{"a":1}'
    expected = base64.b64encode(hmac.new(base64.b64decode(SECRET[6:]), signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


def test_the_signature_of_a_recorded_webhook_verifies() -> None:
    body = '{"type":"points.earned","timestamp":"2026-11-21T20:26:10.344522Z","data":{"customer_id":"u-1","points":50}}'
    at = datetime.fromtimestamp(1_795_295_986, UTC)

    headers = signature_headers(signing_key(SECRET), "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", at, body.encode())

    recorded = "v1,4ciEGBnwh7dJznmRMwcksjl3OHCsVmugd4H/auk2RAQ= v1,NoDADGRvy0NuZNOyJNV91/cZbXVqGWdsHGEaeGqlxO4="
    assert headers["webhook-signature"] in recorded.split()  # of a rotated pair of secrets, ours is the second


@pytest.mark.parametrize("secret", ["", "secret", "whsec_", "whsec_c2hvcnQ=", "whsec_not base64!"])
def test_a_weak_secret_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        signing_key(secret)


async def test_a_shop_gets_the_signed_body_and_its_json_answer_is_kept(webhooks: Webhooks, shop: Shop) -> None:
    content = json.dumps({"ok": True}).encode()
    shop.answer = b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n%s" % (len(content), content)

    answer = await post(webhooks, shop.url, **{"X-Shop": "north", "webhook-id": "forged"})

    assert answer == Delivered(201, {"ok": True})
    [request] = shop.requests
    assert b"webhook-id: call_1\r\n" in request
    assert b"x-shop: north\r\n" in request
    assert b"forged" not in request
    assert request.endswith(b'{"a":1}')


async def test_an_answer_that_is_too_long_or_no_json_is_not_kept(webhooks: Webhooks, shop: Shop) -> None:
    long = b'"' + b"x" * 100_000 + b'"'
    shop.answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(long), long)
    assert await post(webhooks, shop.url) == Delivered(200, None)

    shop.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    assert await post(webhooks, shop.url) == Delivered(200, None)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("429 Too Many Requests\r\nRetry-After: 7", TryLater("http_429", 429, 7.0)),
        ("503 Unavailable\r\nRetry-After: Mon, 04 May 2026 12:01:00 GMT", TryLater("http_503", 503, 60.0)),
        ("429 Slow\r\nRetry-After: 999999999", TryLater("http_429", 429, 86_400.0)),
        ("429 Slow\r\nRetry-After: 99999999999999999999", TryLater("http_429", 429, 86_400.0)),
        ("503 Slow\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 GMT", TryLater("http_503", 503, 86_400.0)),
        ("500 Oops", TryLater("http_500", 500)),
        ("404 Not Found", Refused("http_404", 404)),
        ("302 Found\r\nLocation: http://127.0.0.1:1/", Refused("http_302", 302)),
    ],
)
async def test_what_a_status_means(webhooks: Webhooks, shop: Shop, status: str, expected: Refused | TryLater) -> None:
    shop.answer = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()

    assert await post(webhooks, shop.url) == expected
    assert len(shop.requests) == 1


async def test_a_customer_called_zoe_with_two_dots_is_named_in_headers_and_paths(
    webhooks: Webhooks, shop: Shop
) -> None:
    answer = await post(webhooks, f"{shop.url}/Zoë?name=Zoë&a=%20", **{"X-Customer": "Zoë 日本"})

    assert isinstance(answer, Delivered)
    (request,) = shop.requests
    assert request.startswith(b"POST /hook/Zo%C3%AB?name=Zo%C3%AB&a=%20 HTTP/1.1\r\n")
    assert "x-customer: Zoë 日本\r\n".encode() in request


async def test_a_shop_at_a_domain_with_an_umlaut_is_called_by_its_name_on_the_wire() -> None:
    webhooks = Webhooks(SECRET)

    assert await post(webhooks, "https://bücher.invalid/hook") == TryLater("unreachable")
    await webhooks.close()


async def test_a_shop_that_is_not_there_is_tried_again(webhooks: Webhooks) -> None:
    assert await post(webhooks, "http://127.0.0.1:1/") == TryLater("unreachable")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "::1", "fe80::1", "fc00::1", "::ffff:10.0.0.1", "2002:a00:1::", "64:ff9b::a00:1", "2001:0:a00:1::",
    ],
)  # fmt: skip
def test_addresses_inside_networks_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0x7f.1", "2130706433"])
async def test_private_addresses_are_refused_when_connecting(host: str) -> None:
    webhooks = Webhooks(SECRET)

    assert await post(webhooks, f"https://{host}:9/x") == Refused("address_private")
    await webhooks.close()


async def test_plain_http_is_refused(shop: Shop) -> None:
    webhooks = Webhooks(SECRET)

    assert await post(webhooks, shop.url) == Refused("address_not_https")
    assert shop.requests == []
    await webhooks.close()


@pytest.mark.parametrize("url", ["", "nonsense", "ftp://shop.example/x", "https://", "http://[/"])
async def test_what_is_no_address_is_refused(webhooks: Webhooks, url: str) -> None:
    assert isinstance(await post(webhooks, url), Refused)


async def test_a_header_cannot_smuggle_another_request(webhooks: Webhooks, shop: Shop) -> None:
    assert await post(webhooks, shop.url, **{"X-A": "1\r\nX-B: 2"}) == Refused("not_a_request")
    assert shop.requests == []
