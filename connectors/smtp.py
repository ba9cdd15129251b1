"""Any SMTP server: TLS, authentication, DKIM. It has no webhook, so what is unknown after DATA settles by policy."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.errors import MessageError
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.policy import SMTPUTF8 as SMTPUTF8_POLICY
from email.utils import format_datetime
from typing import Literal

import aiosmtplib
import dkim

from connectors.envelopes import enveloped
from domain.emails import OutgoingEmail
from domain.provider_answers import (
    ADDRESS_NEEDS_SMTPUTF8,
    Accepted,
    Deferred,
    ProviderAnswer,
    Rejected,
    SmtpStage,
    Unknown,
    smtp_answer,
)
from domain.refusals import Fault
from domain.wire_addresses import needs_smtputf8

TIMEOUT = 20.0
"""Seconds for all that is said before the content together, and again for the reply to it."""
_LONGEST_LINE = 998
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_SEPARATORS = re.compile("[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]+")
_LEADING_DOT = re.compile(rb"(?m)^\.")
_SIGNED = (
    *(b"from", b"to", b"subject", b"date", b"message-id", b"reply-to", b"mime-version", b"content-type"),
    *(b"list-unsubscribe", b"list-unsubscribe-post", b"feedback-id"),
)
"""RFC 8058 wants both List-Unsubscribe headers under the signature."""


@dataclass(frozen=True, slots=True)
class Dkim:
    """Signs for a domain; `private_key` is PEM."""

    domain: str
    selector: str
    private_key: bytes


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Where mail is handed over and how the way there is protected."""

    host: str
    port: int
    security: Literal["none", "starttls", "tls"] = "starttls"
    username: str | None = None
    password: str | None = None
    timeout: float = TIMEOUT


class SmtpProvider:
    """One conversation for each e-mail."""

    name = "smtp"

    def __init__(self, server: SmtpServer, *, dkim_key: Dkim | None = None) -> None:
        self._server = server
        self._dkim = dkim_key

    async def send(self, email: OutgoingEmail, as_of: datetime) -> ProviderAnswer:
        """Hand one e-mail over."""
        addressed = enveloped(email)
        if not isinstance(addressed, OutgoingEmail):
            return addressed
        try:
            content = self.mime(addressed, as_of)
        except (ValueError, MessageError):
            return Rejected("unwritable_header")
        except dkim.DKIMException:
            return Deferred("dkim_key_unusable", fault=Fault.PROVIDER)
        return await _Conversation(self._server).deliver(addressed, content)

    def mime(self, email: OutgoingEmail, as_of: datetime) -> bytes:
        """The message as it goes over the wire: text first, then HTML; CRLF before it is signed."""
        is_utf8 = needs_smtputf8(email.sender_address) or needs_smtputf8(email.to)
        message = EmailMessage(policy=SMTPUTF8_POLICY if is_utf8 else SMTP_POLICY)
        domain = email.sender_address.partition("@")[2]
        message["From"] = _mailbox(_on_one_line(email.sender_name), email.sender_address)
        message["To"] = email.to
        message["Subject"] = _on_one_line(email.subject)
        message["Date"] = format_datetime(as_of)
        message.set_content(email.text, cte="quoted-printable")
        if email.html:
            message.add_alternative(email.html, subtype="html", cte="quoted-printable")
        feedback = {"Feedback-ID": ":".join([*email.categories[:2], domain])} if email.categories else {}
        as_written = {"Message-ID": f"<{email.message_id}@{domain}>", **feedback, **email.headers}
        content = _lines(as_written) + message.as_bytes()
        return content if self._dkim is None else _signed(content, self._dkim)


class _Conversation:
    """One SMTP session, which remembers how far it came."""

    def __init__(self, server: SmtpServer) -> None:
        self._server = server
        self._stage = SmtpStage.CONNECT

    async def deliver(self, email: OutgoingEmail, content: bytes) -> ProviderAnswer:
        """All that can go wrong is classified here: before the content nothing was taken, after it nobody knows."""
        try:
            return await self._speak(email, content)
        except aiosmtplib.SMTPResponseException as error:
            return smtp_answer(error.code, error.message, self._stage)
        except (aiosmtplib.SMTPException, OSError, ValueError, RuntimeError) as error:
            code = "timeout" if isinstance(error, TimeoutError) else "connection_lost"
            if isinstance(error, ssl.SSLError):
                code = "tls_failed"
            return Unknown(code) if self._stage is SmtpStage.CONTENT else Deferred(code, fault=Fault.PROVIDER)

    async def _speak(self, email: OutgoingEmail, content: bytes) -> ProviderAnswer:
        server = self._server
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.username,
            password=server.password,
            use_tls=server.security == "tls",
            start_tls=server.security == "starttls",
            timeout=server.timeout,
        )
        try:
            async with asyncio.timeout(server.timeout):
                await client.connect()
                await _greet(client)
                refusal = _beyond(client, email) or await self._address(client, email)
            return refusal or await self._hand_over(client, content)
        finally:
            client.close()

    async def _address(self, client: aiosmtplib.SMTP, email: OutgoingEmail) -> ProviderAnswer | None:
        """The envelope, until the server asks for the content."""
        self._stage = SmtpStage.SENDER
        is_utf8 = needs_smtputf8(email.sender_address) or needs_smtputf8(email.to)
        options = [b"SMTPUTF8", *([b"BODY=8BITMIME"] if client.supports_extension("8bitmime") else [])]
        sender = f"FROM:<{email.sender_address}>".encode()
        if refusal := await self._ask(client, b"MAIL", sender, *(options if is_utf8 else [])):
            return refusal
        self._stage = SmtpStage.RECIPIENT
        if refusal := await self._ask(client, b"RCPT", f"TO:<{email.to}>".encode()):
            return refusal
        return await self._ask(client, b"DATA", wanted=3)

    async def _ask(self, client: aiosmtplib.SMTP, *command: bytes, wanted: int = 2) -> ProviderAnswer | None:
        """None if the reply begins with the wanted digit, else what it means."""
        reply = await client.execute_command(*command)
        return None if reply.code // 100 == wanted else smtp_answer(reply.code, reply.message, self._stage)

    async def _hand_over(self, client: aiosmtplib.SMTP, content: bytes) -> ProviderAnswer:
        """The content and the reply that decides. From the first byte on it may have been taken."""
        if client.protocol is None:
            raise aiosmtplib.SMTPServerDisconnected("Connection lost")
        self._stage = SmtpStage.CONTENT
        client.protocol.write(_LEADING_DOT.sub(b"..", content) + b".\r\n")
        reply = await client.protocol.read_response(timeout=self._server.timeout)
        if reply.code // 100 == 2:
            return Accepted(_queue_id(reply.message))
        return smtp_answer(reply.code, reply.message, self._stage)


async def _greet(client: aiosmtplib.SMTP) -> None:
    """EHLO, or HELO where a server is that old, unless STARTTLS or the login has made it necessary already."""
    if client.is_ehlo_or_helo_needed:
        try:
            await client.ehlo()
        except aiosmtplib.SMTPHeloError as error:
            if error.code // 100 != 5:
                raise
            await client.helo()


def _beyond(client: aiosmtplib.SMTP, email: OutgoingEmail) -> ProviderAnswer | None:
    """What this server cannot carry: an address with other letters than ASCII before the `@`, without SMTPUTF8."""
    if client.supports_extension("smtputf8"):
        return None
    if needs_smtputf8(email.sender_address):
        return Deferred("sender_needs_smtputf8", fault=Fault.PROVIDER)
    return Rejected(ADDRESS_NEEDS_SMTPUTF8, fault=Fault.MAILBOX) if needs_smtputf8(email.to) else None


def _lines(headers: Mapping[str, str]) -> bytes:
    """Headers that machines read, as they are: the library would encode a link that is longer than a line.

    Raises ValueError for what is no ASCII, no single line, or longer than any server takes (RFC 5322, 2.1.1).
    """
    lines = [f"{name}: {value}".encode("ascii") for name, value in headers.items()]
    if any(len(line) > _LONGEST_LINE or _CONTROL.search(line) for line in lines):
        raise ValueError("a header is longer than a line may be, or more than one")
    return b"".join(line + b"\r\n" for line in lines)


def _on_one_line(text: str) -> str:
    """Without the rarer separators of lines, which come with names; a plain line break is left to be refused."""
    return _SEPARATORS.sub(" ", text)


def _mailbox(name: str, address: str) -> str:
    quoted = name.replace("\\", "").replace('"', "")
    return f'"{quoted}" <{address}>' if quoted else address


def _signed(content: bytes, key: Dkim) -> bytes:
    present = {
        line.split(b":", 1)[0].lower() for line in content.split(b"\r\n\r\n", 1)[0].split(b"\r\n") if b":" in line
    }
    signature: bytes = dkim.sign(
        content,
        key.selector.encode(),
        key.domain.encode(),
        key.private_key,
        canonicalize=(b"relaxed", b"relaxed"),
        include_headers=[name for name in _SIGNED if name in present],
    )
    return signature + content


def _queue_id(reply: str) -> str | None:
    """The server's name for the message, at the end of most servers' replies ("... queued as r3td4SXH")."""
    words = "".join(each if each.isprintable() else " " for each in reply.encode("ascii", "ignore").decode()).split()
    return words[-1][:200] if words else None
