"""SendGrid: what its official client sends for us, and what its answers mean."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import orjson
import pytest
from sendgrid import SendGridAPIClient
from sendgrid.helpers.eventwebhook import EventWebhook
from sendgrid.helpers.mail import Mail

from connectors.sendgrid import SendGridProvider
from connectors.sendgrid_events import read_events, verify
from domain.emails import OutgoingEmail
from domain.errors import Forbidden, Malformed
from domain.message_events import Kind
from domain.provider_answers import Accepted, Deferred, ProviderAnswer, Rejected, Unknown
from domain.refusals import Fault
from tests.fake_sendgrid import FakeSendGrid, Reply, fake_sendgrid

NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)
MESSAGE = UUID("01890000-0000-7000-8000-000000000001")
EMAIL = OutgoingEmail(
    message_id=MESSAGE,
    to="ann@example.com",
    sender_name="Shop",
    sender_address="hello@shop.example",
    subject="Hi – Ünï",
    html="<p>Hi</p>",
    text="Hi",
    headers={
        "Reply-To": "help@shop.example",
        "List-Unsubscribe": "<https://l.shop.example/u/t>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    },
    categories=("welcome", "hello"),
)


@pytest.fixture
def sendgrid() -> Iterator[FakeSendGrid]:
    """SendGrid on this machine."""
    with fake_sendgrid() as fake:
        yield fake


@pytest.fixture
def provider(sendgrid: FakeSendGrid) -> Iterator[SendGridProvider]:
    """Our provider, pointed at it, with little patience."""
    provider = SendGridProvider("SG.fake", host=sendgrid.url, timeout=0.3)
    yield provider
    provider.close()


async def test_the_request_carries_our_id_and_headers_and_none_of_their_tracking(
    sendgrid: FakeSendGrid, provider: SendGridProvider
) -> None:
    answer = await provider.send(EMAIL, NOW)

    assert answer == Accepted("fake-1")
    (request,) = sendgrid.requests
    assert request["path"] == "/v3/mail/send"
    assert request["headers"]["Authorization"] == "Bearer SG.fake"
    body = request["body"]
    assert body["personalizations"] == [
        {"to": [{"email": "ann@example.com"}], "custom_args": {"message_id": str(MESSAGE)}}
    ]
    assert [part["type"] for part in body["content"]] == ["text/plain", "text/html"]
    assert body["reply_to"] == {"email": "help@shop.example"}
    assert set(body["headers"]) == {"List-Unsubscribe", "List-Unsubscribe-Post"}
    assert body["categories"] == ["welcome", "hello"]
    assert not any(setting["enable"] for setting in body["tracking_settings"].values())


@pytest.mark.parametrize(
    ("reply", "meaning"),
    [
        (Reply(400), Rejected("http_400", 400)),
        (Reply(413), Rejected("http_413", 413)),
        (Reply(401), Deferred("http_401", 401, fault=Fault.PROVIDER)),
        (Reply(503), Deferred("http_503", 503, fault=Fault.PROVIDER)),
        (Reply(500), Unknown("http_500", 500)),
        (Reply(502), Unknown("http_502", 502)),
        (Reply(504), Unknown("http_504", 504)),
        (Reply(takes=True, hangs=0.6), Unknown("timeout")),
        (Reply(takes=True, drops=True), Unknown("connection_lost")),
    ],
)
async def test_only_proof_that_nothing_was_taken_lets_a_message_be_tried_again(
    sendgrid: FakeSendGrid, provider: SendGridProvider, reply: Reply, meaning: ProviderAnswer
) -> None:
    sendgrid.script = [reply]

    assert await provider.send(EMAIL, NOW) == meaning


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"X-RateLimit-Reset": str(int(NOW.timestamp()) + 42)}, 42),
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "Wed, 10 Jun 2026 12:00:09 GMT"}, 9),
        ({"X-RateLimit-Reset": "99999999999", "Retry-After": "3"}, 86_400),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
async def test_a_429_says_by_its_headers_when_to_come_back(
    sendgrid: FakeSendGrid, provider: SendGridProvider, headers: dict[str, str], wait: int | None
) -> None:
    sendgrid.script = [Reply(429, headers)]

    answer = await provider.send(EMAIL, NOW)

    assert isinstance(answer, Deferred)
    assert answer.not_before == (None if wait is None else NOW + timedelta(seconds=wait))


async def test_a_provider_that_cannot_be_reached_has_taken_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    provider = SendGridProvider("SG.fake", host=f"http://127.0.0.1:{port}", timeout=1)

    assert await provider.send(EMAIL, NOW) == Deferred("provider_unreachable", fault=Fault.PROVIDER)
    provider.close()


async def test_a_sender_without_an_address_is_refused_like_theirs(
    sendgrid: FakeSendGrid, provider: SendGridProvider
) -> None:
    assert await provider.send(replace(EMAIL, sender_address="bad"), NOW) == Rejected("http_400", 400)


def test_the_fake_speaks_as_the_official_client_expects(sendgrid: FakeSendGrid) -> None:
    client = SendGridAPIClient("SG.fake", host=sendgrid.url)
    mail = Mail("hello@shop.example", "ann@example.com", "Hi", "Hi", "<p>Hi</p>")

    answer = client.send(mail)

    assert (answer.status_code, answer.body, answer.headers["X-Message-Id"]) == (202, b"", "fake-1")
    body, headers = sendgrid.signed([{"event": "delivered"}], 1_795_295_528)
    webhook = EventWebhook()
    assert webhook.verify_signature(
        body.decode(), *headers.values(), webhook.convert_public_key_to_ecdsa(sendgrid.public_key)
    )


def test_a_recorded_signature_is_accepted_and_any_change_is_not() -> None:
    sample = orjson.loads((Path(__file__).parent / "sendgrid_event_webhook_signed_sample.json").read_bytes())
    at = datetime.fromtimestamp(int(sample["ts"]), UTC)
    body = sample["body"].encode()

    verify(sample["pub"], signature=sample["sig"], timestamp=sample["ts"], body=body, as_of=at)

    for changed in (
        {"body": body.rstrip()},  # a body that was parsed and written again
        {"timestamp": str(int(sample["ts"]) + 1)},
        {"signature": sample["sig"][:-8] + "AAAAAAA="},
        {"signature": "not base64"},
        {"timestamp": "١٢٣"},
        {"as_of": at + timedelta(hours=26)},
        {"as_of": at - timedelta(hours=1)},
    ):
        with pytest.raises(Forbidden):
            verify(
                sample["pub"],
                **({"signature": sample["sig"], "timestamp": sample["ts"], "body": body, "as_of": at} | changed),
            )


def test_what_cannot_be_read_is_passed_over() -> None:
    good = {"event": "delivered", "sg_event_id": "e1", "timestamp": int(NOW.timestamp()), "message_id": str(MESSAGE)}
    entries = [
        good,
        None,
        1,
        {},
        good | {"event": ["delivered"]},
        good | {"event": "unheard_of"},
        good | {"sg_event_id": None},
        good | {"sg_event_id": "x" * 500},
        good | {"sg_event_id": "a\x00b"},
        good | {"sg_event_id": "e2", "timestamp": "yesterday", "message_id": "no id"},
        good | {"sg_event_id": "e3", "timestamp": 10**30},
    ]

    told = read_events(orjson.dumps(entries[:-1]), NOW)

    assert [event.report.event_id for event in told] == ["e1", "e2"]
    assert (told[1].report.at, told[1].message_id) == (NOW, None)


@pytest.mark.parametrize("body", [b"", b"{}", b"[", b"\xff", b"[" * 100_000])
def test_anything_but_a_list_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        read_events(body, NOW)


@pytest.mark.parametrize(
    ("entry", "kind", "is_hard"),
    [
        ({"event": "bounce", "type": "bounce", "status": "5.1.1"}, Kind.BOUNCED, True),
        ({"event": "bounce", "type": "blocked", "status": "5.7.1"}, Kind.BLOCKED, False),
        ({"event": "bounce", "type": "bounce", "status": "4.2.2"}, Kind.BOUNCED, False),
        ({"event": "bounce"}, Kind.BOUNCED, True),
        ({"event": "dropped", "reason": "Bounced Address"}, Kind.DROPPED, True),
        ({"event": "dropped", "reason": "Unsubscribed Address"}, Kind.DROPPED, False),
        ({"event": "spamreport"}, Kind.COMPLAINED, False),
        ({"event": "group_unsubscribe"}, Kind.UNSUBSCRIBED, False),
    ],
)
def test_hard_and_soft_bounces_are_told_apart(entry: dict[str, str], kind: Kind, is_hard: bool) -> None:
    (told,) = read_events(orjson.dumps([entry | {"sg_event_id": "e"}]), NOW)

    assert (told.report.kind, told.report.is_hard) == (kind, is_hard)
