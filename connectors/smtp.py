"""Any SMTP server: TLS, authentication, DKIM. It has no webhook, so what is unknown after DATA settles by policy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from email.errors import MessageError
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime
from enum import StrEnum
from typing import Literal

import aiosmtplib
import dkim

from domain.emails import OutgoingEmail
from domain.provider_answers import Accepted, Deferred, ProviderAnswer, Rejected, Unknown, smtp_answer
from domain.refusals import Fault

TIMEOUT = 20.0
"""Seconds for each command."""
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


class _Phase(StrEnum):
    """How far a conversation came: before DATA nothing was taken, after it nobody knows until the reply."""

    CONNECT = "connect"
    ENVELOPE = "envelope"
    DATA = "data"


class SmtpProvider:
    """One conversation for each e-mail."""

    name = "smtp"

    def __init__(self, server: SmtpServer, *, dkim_key: Dkim | None = None) -> None:
        self._server = server
        self._dkim = dkim_key

    async def send(self, email: OutgoingEmail, as_of: datetime) -> ProviderAnswer:
        """Hand one e-mail over."""
        try:
            content = self.mime(email, as_of)
        except (ValueError, MessageError):
            return Rejected("unwritable_header")
        return await _Conversation(self._server).deliver(email, content)

    def mime(self, email: OutgoingEmail, as_of: datetime) -> bytes:
        """The message as it goes over the wire: text first, then HTML; CRLF before it is signed."""
        message = EmailMessage(policy=SMTP_POLICY)
        domain = email.sender_address.partition("@")[2]
        message["From"] = _mailbox(email.sender_name, email.sender_address)
        message["To"] = email.to
        message["Subject"] = email.subject
        message["Date"] = format_datetime(as_of)
        message["Message-ID"] = f"<{email.message_id}@{domain}>"
        if email.categories:
            message["Feedback-ID"] = ":".join([*email.categories[:2], domain])
        for name, value in email.headers.items():
            message[name] = value
        message.set_content(email.text, cte="quoted-printable")
        message.add_alternative(email.html, subtype="html", cte="quoted-printable")
        content = message.as_bytes()
        return content if self._dkim is None else _signed(content, self._dkim)


class _Conversation:
    """One SMTP session, which remembers how far it came."""

    def __init__(self, server: SmtpServer) -> None:
        self._server = server
        self._phase = _Phase.CONNECT

    async def deliver(self, email: OutgoingEmail, content: bytes) -> ProviderAnswer:
        try:
            return await self._speak(email, content)
        except aiosmtplib.SMTPRecipientRefused as error:
            return smtp_answer(error.code, error.message, of_recipient=True)
        except aiosmtplib.SMTPResponseException as error:
            return smtp_answer(error.code, error.message, of_recipient=self._phase is _Phase.DATA)
        except aiosmtplib.SMTPNotSupported:
            return Rejected("smtp_not_supported")
        except (aiosmtplib.SMTPException, OSError) as error:
            code = "timeout" if isinstance(error, TimeoutError) else "connection_lost"
            return Unknown(code) if self._phase is _Phase.DATA else Deferred(code, fault=Fault.PROVIDER)

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
        await client.connect()
        try:
            self._phase = _Phase.ENVELOPE
            await client.mail(email.sender_address)
            await client.rcpt(email.to)
            self._phase = _Phase.DATA
            reply = await client.data(content)
            return Accepted(_queue_id(reply.message))
        finally:
            client.close()


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
    words = reply.split()
    return words[-1][:200] if words else None
