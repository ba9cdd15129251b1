"""SMTP against a real server: what arrives, what refusals mean, and when nobody knows."""

from __future__ import annotations

import asyncio
import email
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.policy import SMTPUTF8, default
from uuid import UUID

import dkim
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from connectors.smtp import Dkim, SmtpProvider, SmtpServer
from domain.emails import OutgoingEmail
from domain.provider_answers import Accepted, Deferred, ProviderAnswer, Rejected, Unknown
from domain.refusals import Fault
from tests.fake_smtp import DROP, HANG, fake_smtp

NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)
EMAIL = OutgoingEmail(
    message_id=UUID("01890000-0000-7000-8000-000000000001"),
    to="ann@example.com",
    sender_name="Ünï & Co",
    sender_address="hello@shop.example",
    subject="Deine Punkte – für René",
    html="<p>Grüße</p>" + "x" * 3_000,
    text="Grüße\n.\nEnd",
    headers={
        "List-Unsubscribe": "<https://l.shop.example/u/token>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "Reply-To": "help@shop.example",
    },
    categories=("welcome", "hello"),
)


PATIENT = 10.0
"""Seconds that a busy machine may take, where nobody hangs."""


@dataclass
class Postbox:
    """A server's handler: answers as it is told."""

    mails: list[Envelope] = field(default_factory=list)
    on_rcpt: str = "250 OK"
    on_data: str = "250 OK queued as r3td4SXH"
    hangs: float = 0

    async def handle_RCPT(  # noqa: N802  aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.on_rcpt.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.on_rcpt

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.on_data.startswith("250"):
            self.mails.append(envelope)
        await asyncio.sleep(self.hangs)
        return self.on_data


class _OnAnyPort(Controller):
    """aiosmtpd asks its own port before it knows it; ours is known to the system only."""

    def _trigger_server(self) -> None:
        assert self.server is not None
        with socket.create_connection(self.server.sockets[0].getsockname()[:2], 60):  # type: ignore[attr-defined]
            pass


@pytest.fixture
def postbox() -> Postbox:
    """What the server does."""
    return Postbox()


@pytest.fixture
def server(postbox: Postbox) -> Iterator[SmtpServer]:
    """A server on a free port."""
    controller = _OnAnyPort(postbox, hostname="127.0.0.1", port=0, ready_timeout=60)
    controller.start()
    port = controller.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    yield SmtpServer("127.0.0.1", port, "none", timeout=PATIENT)
    controller.stop()


async def test_the_message_arrives_whole_with_both_parts_and_its_headers(server: SmtpServer, postbox: Postbox) -> None:
    answer = await SmtpProvider(server).send(EMAIL, NOW)

    assert answer == Accepted("r3td4SXH")
    (envelope,) = postbox.mails
    assert (envelope.mail_from, envelope.rcpt_tos) == ("hello@shop.example", ["ann@example.com"])
    assert isinstance(envelope.content, bytes)
    message = email.message_from_bytes(envelope.content, policy=default)
    assert message["From"] == "Ünï & Co <hello@shop.example>"
    assert message["Subject"] == EMAIL.subject
    assert message["Message-ID"] == "<01890000-0000-7000-8000-000000000001@shop.example>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert message["Feedback-ID"] == "welcome:hello:shop.example"
    text, html = message.iter_parts()
    assert text.get_content().replace("\r\n", "\n").strip() == EMAIL.text
    assert html.get_content().strip() == EMAIL.html


async def test_a_mail_of_text_only_is_one_part(server: SmtpServer, postbox: Postbox) -> None:
    await SmtpProvider(server).send(replace(EMAIL, html=""), NOW)

    content = postbox.mails[0].content
    assert isinstance(content, bytes)
    message = email.message_from_bytes(content, policy=default)
    assert (message.is_multipart(), message.get_content_type()) == (False, "text/plain")
    assert message.get_content().replace("\r\n", "\n").strip() == EMAIL.text


async def test_the_dkim_signature_holds_and_covers_both_unsubscribe_headers(
    server: SmtpServer, postbox: Postbox
) -> None:
    key = rsa.generate_private_key(65_537, 2_048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    provider = SmtpProvider(server, dkim_key=Dkim("shop.example", "s1", private))

    await provider.send(EMAIL, NOW)

    content = postbox.mails[0].content
    assert isinstance(content, bytes)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    record = b"v=DKIM1; k=rsa; p=" + b"".join(public.splitlines()[1:-1])
    assert dkim.verify(content, dnsfunc=lambda *_, **__: record)
    signature = email.message_from_bytes(content, policy=default)["DKIM-Signature"]
    assert "list-unsubscribe" in signature
    assert "list-unsubscribe-post" in signature


@pytest.mark.parametrize(
    ("script", "meaning"),
    [
        ({"on_rcpt": "550 5.1.1 no such user"}, Rejected("smtp_550", 550, fault=Fault.ADDRESS)),
        ({"on_rcpt": "550 5.7.1 policy"}, Rejected("smtp_550", 550, fault=Fault.SENDER)),
        ({"on_rcpt": "550 who is that"}, Rejected("smtp_550", 550, fault=Fault.MAILBOX)),
        ({"on_rcpt": "552 5.2.2 mailbox full"}, Rejected("smtp_552", 552, fault=Fault.MAILBOX)),
        ({"on_rcpt": "451 4.7.1 greylisted"}, Deferred("smtp_451", 451, fault=Fault.MAILBOX)),
        ({"on_rcpt": "421 4.3.2 shutting down"}, Deferred("smtp_421", 421, fault=Fault.PROVIDER)),
        ({"on_data": "554 5.6.0 refused"}, Rejected("smtp_554", 554)),
        ({"on_data": "452 4.3.1 no space"}, Deferred("smtp_452", 452, fault=Fault.PROVIDER, is_doubtful=True)),
        ({"on_data": "451 4.7.1 wait"}, Deferred("smtp_451", 451)),
        (
            {"on_data": "550 5.4.5 Daily user sending limit exceeded"},
            Deferred("smtp_550", 550, fault=Fault.PROVIDER, is_doubtful=True),
        ),
        ({"on_data": "550 5.1.1 no such user"}, Rejected("smtp_550", 550, fault=Fault.ADDRESS)),
    ],
)
async def test_refusals_are_final_or_not_by_their_code(
    server: SmtpServer, postbox: Postbox, script: dict[str, str], meaning: ProviderAnswer
) -> None:
    for name, value in script.items():
        setattr(postbox, name, value)

    assert await SmtpProvider(server).send(EMAIL, NOW) == meaning


async def test_silence_after_data_is_unknown(server: SmtpServer, postbox: Postbox) -> None:
    postbox.hangs = 3.0

    assert await SmtpProvider(replace(server, timeout=1.0)).send(EMAIL, NOW) == Unknown("timeout")


async def test_a_server_that_is_away_or_says_nothing_has_taken_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        away = SmtpServer("127.0.0.1", port, "none", timeout=0.3)
        assert await SmtpProvider(away).send(EMAIL, NOW) == Deferred("timeout", fault=Fault.PROVIDER)
    away = replace(away, timeout=PATIENT)
    assert await SmtpProvider(away).send(EMAIL, NOW) == Deferred("connection_lost", fault=Fault.PROVIDER)


async def test_a_server_without_starttls_gets_no_mail_in_the_clear(server: SmtpServer, postbox: Postbox) -> None:
    answer = await SmtpProvider(replace(server, security="starttls")).send(EMAIL, NOW)

    assert not isinstance(answer, Accepted)
    assert not postbox.mails


@pytest.mark.parametrize(
    "changes", [{"subject": "a\r\nBcc: x@y.example"}, {"to": "a@b.example\r\nDATA"}, {"headers": {"Reply-To": "a\nb"}}]
)
async def test_a_line_break_in_a_header_never_leaves(
    server: SmtpServer, postbox: Postbox, changes: dict[str, str]
) -> None:
    assert isinstance(await SmtpProvider(server).send(replace(EMAIL, **changes), NOW), Rejected)  # type: ignore[arg-type]
    assert not postbox.mails


STAGES = ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "content"]


@pytest.mark.parametrize("trouble", [HANG, DROP, "HTTP/1.1 400 Bad Request", "-1 what", "250"])
@pytest.mark.parametrize("stage", STAGES)
async def test_whatever_goes_wrong_before_the_content_is_tried_again_and_after_it_is_unknown(
    stage: str, trouble: str
) -> None:
    patience = PATIENT if trouble != HANG else 1.0 if stage == "content" else 0.2
    async with fake_smtp(**{stage: trouble}) as fake:
        answer = await SmtpProvider(SmtpServer("127.0.0.1", fake.port, "none", timeout=patience)).send(EMAIL, NOW)

    if trouble == "250" and stage in ("MAIL", "RCPT", "content", "EHLO"):
        assert isinstance(answer, Accepted)
    elif stage == "content":
        assert isinstance(answer, Unknown)
    else:
        assert isinstance(answer, Deferred)
        assert answer.fault is Fault.PROVIDER


@pytest.mark.parametrize("refusal", ["554 No SMTP service here", "421 4.3.2 closing", "500 what"])
@pytest.mark.parametrize("stage", ["greeting", "EHLO", "MAIL"])
async def test_a_refused_greeting_or_sender_is_everybodys_trouble_and_no_messages(stage: str, refusal: str) -> None:
    says = {stage: refusal, **({"HELO": refusal} if stage == "EHLO" else {})}
    async with fake_smtp(**says) as fake:
        answer = await SmtpProvider(SmtpServer("127.0.0.1", fake.port, "none", timeout=PATIENT)).send(EMAIL, NOW)

    assert isinstance(answer, Deferred)
    assert answer.fault is Fault.PROVIDER


@pytest.mark.parametrize(
    "says",
    [
        {"STARTTLS": "454 4.7.0 TLS not available"},
        {"STARTTLS": "220 go"},  # and then speaks no TLS
        {"STARTTLS": DROP},
        {"STARTTLS": HANG},
        {"EHLO": "250 fake"},
    ],
)
async def test_a_failed_starttls_or_login_is_everybodys_trouble_and_nothing_leaves_in_the_clear(
    says: dict[str, str],
) -> None:
    async with fake_smtp(**({"EHLO": "250-fake\r\n250 STARTTLS"} | says)) as fake:
        server = SmtpServer("127.0.0.1", fake.port, "starttls", timeout=0.3)
        answer = await SmtpProvider(server).send(EMAIL, NOW)

    assert isinstance(answer, Deferred)
    assert answer.fault is Fault.PROVIDER
    assert not [line for line in fake.lines if line.startswith(("MAIL", "RCPT", "DATA"))]


@pytest.mark.parametrize("reply", ["535 5.7.8 bad credentials", "454 4.7.0 try later", "334 again", DROP, HANG])
async def test_a_refused_login_is_everybodys_trouble(reply: str) -> None:
    async with fake_smtp(EHLO="250-fake\r\n250 AUTH PLAIN", AUTH=reply) as fake:
        server = SmtpServer("127.0.0.1", fake.port, "none", "shop", "secret", timeout=0.3)
        answer = await SmtpProvider(server).send(EMAIL, NOW)

    assert isinstance(answer, Deferred)
    assert answer.fault is Fault.PROVIDER


async def test_a_server_that_is_slow_at_every_step_is_given_up_before_the_content() -> None:
    """Each reply is in time: greeting, EHLO, MAIL, RCPT and DATA together are not."""
    async with fake_smtp() as fake:
        fake.takes = 0.5
        answer = await SmtpProvider(SmtpServer("127.0.0.1", fake.port, "none", timeout=1.5)).send(EMAIL, NOW)

    assert answer == Deferred("timeout", fault=Fault.PROVIDER)
    assert (fake.content, fake.mails) == (b"", [])


@pytest.mark.parametrize("host", ["x" * 70 + ".example", "..", "bücher..example"])
async def test_a_server_that_cannot_be_called_so_keeps_every_message_for_later(host: str) -> None:
    answer = await SmtpProvider(SmtpServer(host, 25, "none", timeout=0.5)).send(EMAIL, NOW)

    assert isinstance(answer, Deferred)
    assert answer.fault is Fault.PROVIDER


async def test_a_reply_of_other_letters_is_no_trouble() -> None:
    async with fake_smtp(content="250 2.0.0 \udcff\udcfe \x00 angenommen für später als r3td\udcff") as fake:
        answer = await SmtpProvider(SmtpServer("127.0.0.1", fake.port, "none", timeout=PATIENT)).send(EMAIL, NOW)

    assert answer == Accepted("r3td")


async def test_mail_to_a_domain_with_an_umlaut_leaves(server: SmtpServer, postbox: Postbox) -> None:
    answer = await SmtpProvider(server).send(replace(EMAIL, to="zoe@bücher.example"), NOW)

    assert isinstance(answer, Accepted)
    (envelope,) = postbox.mails
    assert envelope.rcpt_tos == ["zoe@xn--bcher-kva.example"]
    assert isinstance(envelope.content, bytes)
    assert email.message_from_bytes(envelope.content, policy=default)["To"] == "zoe@xn--bcher-kva.example"


async def test_mail_from_a_domain_with_an_umlaut_leaves(server: SmtpServer, postbox: Postbox) -> None:
    answer = await SmtpProvider(server).send(replace(EMAIL, sender_address="hallo@gärten.example"), NOW)

    assert isinstance(answer, Accepted)
    (envelope,) = postbox.mails
    assert envelope.mail_from == "hallo@xn--grten-gra.example"
    assert isinstance(envelope.content, bytes)
    assert envelope.content.isascii()
    message = email.message_from_bytes(envelope.content, policy=default)
    assert message["From"] == "Ünï & Co <hallo@xn--grten-gra.example>"
    assert message["Message-ID"].endswith("@xn--grten-gra.example>")


async def test_zoe_with_two_dots_gets_her_mail_where_the_server_takes_other_letters(postbox: Postbox) -> None:
    controller = _OnAnyPort(postbox, hostname="127.0.0.1", port=0, ready_timeout=60, enable_SMTPUTF8=True)
    controller.start()
    try:
        port = controller.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        provider = SmtpProvider(SmtpServer("127.0.0.1", port, "none", timeout=PATIENT))
        answer = await provider.send(replace(EMAIL, to="zoë@bücher.example"), NOW)
    finally:
        controller.stop()

    assert isinstance(answer, Accepted)
    (envelope,) = postbox.mails
    assert envelope.smtp_utf8
    assert envelope.rcpt_tos == ["zoë@xn--bcher-kva.example"]
    assert isinstance(envelope.content, bytes)
    message = email.message_from_bytes(envelope.content, policy=SMTPUTF8)
    assert message["To"] == "zoë@xn--bcher-kva.example"
    assert message["Subject"] == EMAIL.subject


async def test_zoe_with_two_dots_is_told_apart_from_an_address_that_does_not_exist_where_the_server_does_not() -> None:
    async with fake_smtp() as fake:
        provider = SmtpProvider(SmtpServer("127.0.0.1", fake.port, "none", timeout=PATIENT))
        answer = await provider.send(replace(EMAIL, to="zoë@example.com"), NOW)

    assert answer == Rejected("address_needs_smtputf8", fault=Fault.MAILBOX)
    assert fake.lines[1:] == []


async def test_a_sender_that_the_server_cannot_be_told_stops_no_message_for_good() -> None:
    for sender in ("zoë@shop.example", "hello@-.é", "hello"):
        async with fake_smtp() as fake:
            provider = SmtpProvider(SmtpServer("127.0.0.1", fake.port, "none", timeout=PATIENT))
            answer = await provider.send(replace(EMAIL, sender_address=sender), NOW)

        assert isinstance(answer, Deferred)
        assert answer.fault is Fault.PROVIDER


async def test_an_unusable_signing_key_stops_no_message_for_good(server: SmtpServer) -> None:
    answer = await SmtpProvider(server, dkim_key=Dkim("shop.example", "s1", b"no key")).send(EMAIL, NOW)

    assert answer == Deferred("dkim_key_unusable", fault=Fault.PROVIDER)


@pytest.mark.parametrize("length", [1, 60, 200, 800])
async def test_the_inbox_can_read_the_one_click_link_however_long_it_is(
    server: SmtpServer, postbox: Postbox, length: int
) -> None:
    link = f"<https://links.shop.example/u/{'a' * length}>"
    sender = "hello@" + "long" * 12 + ".shop.example"
    written = replace(EMAIL, headers={**EMAIL.headers, "List-Unsubscribe": link}, sender_address=sender)

    assert isinstance(await SmtpProvider(server).send(written, NOW), Accepted)

    (envelope,) = postbox.mails
    assert isinstance(envelope.content, bytes)
    assert f"List-Unsubscribe: {link}\r\n".encode() in envelope.content
    assert f"Message-ID: <{EMAIL.message_id}@{sender[6:]}>\r\n".encode() in envelope.content
    assert b"Feedback-ID: welcome:hello:" in envelope.content


async def test_a_rare_line_separator_in_a_name_stops_no_mail(server: SmtpServer, postbox: Postbox) -> None:
    written = replace(EMAIL, subject="For Ann\u2028Lee\x85", sender_name="Shop\u2029Zoë")

    assert isinstance(await SmtpProvider(server).send(written, NOW), Accepted)

    (envelope,) = postbox.mails
    assert isinstance(envelope.content, bytes)
    message = email.message_from_bytes(envelope.content, policy=default)
    assert (message["Subject"], message["From"]) == ("For Ann Lee ", "Shop Zoë <hello@shop.example>")


async def test_lines_that_begin_with_a_dot_arrive_as_they_were_written(server: SmtpServer, postbox: Postbox) -> None:
    await SmtpProvider(server).send(replace(EMAIL, text=".\n..two\nEnd\n.", html="<p>.</p>\n.\n"), NOW)

    (envelope,) = postbox.mails
    assert isinstance(envelope.content, bytes)
    text, _ = email.message_from_bytes(envelope.content, policy=default).iter_parts()
    assert text.get_content().replace("\r\n", "\n").rstrip("\n") == ".\n..two\nEnd\n."
