"""SendGrid: what its official client sends for us, and what its answers mean."""

from __future__ import annotations

import asyncio
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
    """Our provider, pointed at it, with patience enough for a busy machine."""
    provider = SendGridProvider("SG.fake", host=sendgrid.url, timeout=30)
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


async def test_a_mail_of_text_only_has_one_part(sendgrid: FakeSendGrid, provider: SendGridProvider) -> None:
    await provider.send(replace(EMAIL, html=""), NOW)

    assert [part["type"] for part in sendgrid.requests[0]["body"]["content"]] == ["text/plain"]


@pytest.mark.parametrize(
    ("reply", "meaning"),
    [
        (Reply(400), Rejected("http_400", 400)),
        (Reply(413), Rejected("http_413", 413)),
        (Reply(401), Deferred("http_401", 401, fault=Fault.PROVIDER)),
        (Reply(503), Deferred("http_503", 503, fault=Fault.PROVIDER)),
        (Reply(404), Deferred("http_404", 404, fault=Fault.PROVIDER, is_doubtful=True)),
        (Reply(407), Deferred("http_407", 407, fault=Fault.PROVIDER)),
        (Reply(511), Deferred("http_511", 511, fault=Fault.PROVIDER)),
        (Reply(304), Deferred("http_304", 304, fault=Fault.PROVIDER)),
        (Reply(200), Deferred("http_200", 200, fault=Fault.PROVIDER)),
        (Reply(200, {"X-Message-Id": "sandbox"}), Unknown("answer_unknown", 200)),
        (Reply(202, {"X-Message-Id": ""}), Unknown("answer_unknown", 202)),
        (Reply(500), Unknown("http_500", 500)),
        (Reply(502), Unknown("http_502", 502)),
        (Reply(504), Unknown("http_504", 504)),
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


def _objecting(*fields: str | None) -> Reply:
    told = [{"message": "Does not contain a valid address.", "field": field, "help": None} for field in fields]
    return Reply(400, body=orjson.dumps({"errors": told}))


TO = "personalizations.0.to.0.email"


@pytest.mark.parametrize(
    ("reply", "meaning"),
    [
        (_objecting(TO), Rejected("address_refused", 400, Fault.MAILBOX, TO)),
        (_objecting("personalizations.0.to"), Rejected("address_refused", 400, Fault.MAILBOX, "personalizations.0.to")),
        (_objecting("from.email"), Deferred("sender_refused", 400, fault=Fault.PROVIDER, field="from.email")),
        (_objecting("reply_to"), Deferred("sender_refused", 400, fault=Fault.PROVIDER, field="reply_to")),
        (_objecting(TO, "from"), Deferred("sender_refused", 400, fault=Fault.PROVIDER, field="from")),
        (_objecting(TO, "subject"), Rejected("http_400", 400, field="subject")),
        (_objecting("content.0.value"), Rejected("http_400", 400, field="content.0.value")),
        (_objecting("headers.X ann@example.com"), Rejected("http_400", 400, field="headers.Xannexample.com")),
        (_objecting(None), Rejected("http_400", 400)),
        (_objecting(), Deferred("http_400", 400)),
        (Reply(400, body=b"<html>400 Bad Request</html>"), Deferred("http_400", 400)),
        (Reply(400, body=b'{"errors": "no"}'), Deferred("http_400", 400)),
        (Reply(400, body=b""), Deferred("http_400", 400)),
        (Reply(413, body=b"<html>too large</html>"), Deferred("http_413", 413)),
        (Reply(422, body=b"<h1>portal</h1>"), Deferred("http_422", 422)),
    ],
)
async def test_a_refusal_says_what_of_the_message_was_wrong_and_whose_fault_it_is(
    sendgrid: FakeSendGrid, provider: SendGridProvider, reply: Reply, meaning: ProviderAnswer
) -> None:
    sendgrid.script = [reply]

    assert await provider.send(EMAIL, NOW) == meaning


async def test_silence_after_the_request_may_mean_that_the_message_was_taken(sendgrid: FakeSendGrid) -> None:
    sendgrid.script = [Reply(takes=True, hangs=3.0)]
    provider = SendGridProvider("SG.fake", host=sendgrid.url, timeout=1)

    assert await provider.send(EMAIL, NOW) == Unknown("timeout")
    provider.close()


async def test_a_provider_that_cannot_be_reached_has_taken_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    provider = SendGridProvider("SG.fake", host=f"http://127.0.0.1:{port}", timeout=30)

    assert await provider.send(EMAIL, NOW) == Deferred("provider_unreachable", fault=Fault.PROVIDER)
    provider.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed_and_the_key_goes_nowhere_else(
    sendgrid: FakeSendGrid, provider: SendGridProvider, status: int
) -> None:
    with fake_sendgrid() as portal:
        sendgrid.script = [Reply(status, {"Location": f"{portal.url}/login"})]

        answer = await provider.send(EMAIL, NOW)

        assert answer == Deferred(f"http_{status}", status, fault=Fault.PROVIDER)
        assert portal.heard == []


async def test_the_page_of_a_captive_portal_is_no_acceptance(
    sendgrid: FakeSendGrid, provider: SendGridProvider
) -> None:
    sendgrid.script = [Reply(200, {"Content-Type": "text/html"})]

    assert await provider.send(EMAIL, NOW) == Deferred("http_200", 200, fault=Fault.PROVIDER)


async def test_a_connection_that_never_came_about_has_taken_nothing_however_long_it_took(
    provider: SendGridProvider,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # speaks no TLS, ever
        secured = SendGridProvider("SG.fake", host=f"https://127.0.0.1:{listener.getsockname()[1]}", timeout=2)

        assert await secured.send(EMAIL, NOW) == Deferred("provider_unreachable", fault=Fault.PROVIDER)
        secured.close()


async def test_other_letters_travel_as_their_own_forms_or_are_refused_with_a_reason(
    sendgrid: FakeSendGrid, provider: SendGridProvider
) -> None:
    email = replace(EMAIL, to="zoe@b\u00fccher.example", sender_address="hallo@g\u00e4rten.example", sender_name="Zoë")

    assert isinstance(await provider.send(email, NOW), Accepted)
    assert await provider.send(replace(EMAIL, to="zoë@example.com"), NOW) == Rejected(
        "address_needs_smtputf8", fault=Fault.MAILBOX
    )

    (request,) = sendgrid.requests
    assert request["body"]["personalizations"][0]["to"] == [{"email": "zoe@xn--bcher-kva.example"}]
    assert request["body"]["from"] == {"email": "hallo@xn--grten-gra.example", "name": "Zoë"}


async def test_a_sender_without_an_address_stops_no_message_for_good(
    sendgrid: FakeSendGrid, provider: SendGridProvider
) -> None:
    answer = await provider.send(replace(EMAIL, sender_address="bad"), NOW)

    assert answer == Deferred("sender_unwritable", fault=Fault.PROVIDER)


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


def test_what_cannot_be_read_is_passed_over_and_counted() -> None:
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

    read = read_events(orjson.dumps(entries[:-1]), NOW)

    assert [event.report.event_id for event in read.told] == ["e1", "e2"]
    assert (read.told[1].report.at, read.told[1].message_id) == (NOW, None)
    assert read.unread == {"not_an_object": 2, "event_unknown": 3, "event_id": 3}


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
        ({"event": "bounce"}, Kind.BOUNCED, False),
        (
            {"event": "bounce", "type": "bounce", "reason": "552 5.2.2 over quota"},
            Kind.BOUNCED,
            False,
        ),
        ({"event": "bounce", "type": "bounce", "reason": "550 5.1.1 unknown"}, Kind.BOUNCED, True),
        ({"event": "bounce", "reason": "unable to get mx info: no such host", "status": "5.0.0"}, Kind.BOUNCED, False),
        ({"event": "bounce", "bounce_classification": "Invalid Address", "status": "5.5.0"}, Kind.BOUNCED, True),
        ({"event": "bounce", "bounce_classification": "Mailbox Unavailable", "status": "5.1.1"}, Kind.BOUNCED, False),
        ({"event": "bounce", "bounce_classification": "Technical Failure", "status": "5.1.1"}, Kind.BOUNCED, False),
        ({"event": "bounce", "bounce_classification": "Content", "status": "5.1.1"}, Kind.BOUNCED, False),
        ({"event": "bounce", "bounce_classification": "Reputation", "status": "5.1.1"}, Kind.BLOCKED, False),
        ({"event": "bounce", "bounce_classification": "Unclassified", "type": "blocked"}, Kind.BLOCKED, False),
        ({"event": "bounce", "bounce_classification": "Unclassified", "status": "5.1.1"}, Kind.BOUNCED, True),
        ({"event": "dropped", "reason": "Bounced Address"}, Kind.DROPPED, False),
        ({"event": "dropped", "reason": "Bounced Address", "status": "5.1.1"}, Kind.DROPPED, True),
        ({"event": "dropped", "reason": "Invalid"}, Kind.DROPPED, True),
        ({"event": "dropped", "reason": "Spam Content", "status": "5.1.1"}, Kind.DROPPED, False),
        ({"event": "deferred", "response": "452 4.2.2 over quota"}, Kind.DEFERRED, False),
        ({"event": "dropped", "reason": "Unsubscribed Address"}, Kind.DROPPED, False),
        ({"event": "spamreport"}, Kind.COMPLAINED, False),
        ({"event": "group_unsubscribe"}, Kind.UNSUBSCRIBED, False),
    ],
)
def test_only_a_bounce_that_says_that_the_address_does_not_exist_is_hard(
    entry: dict[str, str], kind: Kind, is_hard: bool
) -> None:
    (told,) = read_events(orjson.dumps([entry | {"sg_event_id": "e"}]), NOW).told

    assert (told.report.kind, told.report.is_hard) == (kind, is_hard)


async def test_an_answer_at_a_byte_a_moment_ends_with_the_time_limit_of_the_call() -> None:
    async def dribble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in b"HTTP/1.1 202 Accepted":
            writer.write(bytes([byte]))
            await asyncio.sleep(0.1)
        writer.close()

    server = await asyncio.start_server(dribble, "127.0.0.1", 0)
    provider = SendGridProvider("SG.x", host=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout=0.5)
    assert await provider.send(EMAIL, NOW) == Unknown("timeout")  # it would have ended with "connection_lost"
    server.close()
