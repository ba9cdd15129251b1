"""What a provider's answer means for the message: accepted, rejected for good, not accepted yet, or unknown.

The line between "not accepted" and "unknown" decides about second copies: only an answer that proves that nothing
was taken (429, 503, a refused connection, an SMTP 4xx) may be tried again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum

from domain.refusal_rules import ACCOUNT, RECIPIENT, SENDGRID_FIELDS
from domain.refusals import Fault, fault_of, read_reply

SETTLING_TIME = timedelta(minutes=15)
"""How long an `unknown` waits for the provider's word before the policy settles it."""

ADDRESS_NEEDS_SMTPUTF8 = "address_needs_smtputf8"
"""Why a message is rejected whose provider cannot be told an address with other letters than ASCII before the `@`."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider has taken it over; `provider_id` is its name for the message."""

    provider_id: str | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """It will never be taken. With the fault `address` nothing is sent there any more."""

    code: str
    status: int | None = None
    fault: Fault = Fault.MESSAGE
    field: str | None = None
    """The member of our request that it objected to, as in `content.0.value`."""


@dataclass(frozen=True, slots=True)
class Deferred:
    """It was not taken and may be tried again, at `not_before` if the provider said when.

    With the fault `provider` it takes nothing from anybody now (429, 503), which is no trouble of this message.
    """

    code: str
    status: int | None = None
    not_before: datetime | None = None
    fault: Fault = Fault.MESSAGE
    field: str | None = None
    is_doubtful: bool = False
    """Whether what looks like everybody's trouble may be one recipient's: others find out."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """It may have been taken: a time-out, a reset after the body, 500, 502, 504."""

    code: str
    status: int | None = None


ProviderAnswer = Accepted | Rejected | Deferred | Unknown


class SmtpStage(StrEnum):
    """How far a conversation had come. Before `content` nothing was taken; after it nobody knows until the reply."""

    CONNECT = "connect"  # greeting, EHLO, STARTTLS, AUTH
    SENDER = "sender"  # MAIL FROM
    RECIPIENT = "recipient"  # RCPT TO, and DATA until the content is asked for
    CONTENT = "content"


def http_answer(status: int, headers: Mapping[str, str], as_of: datetime) -> ProviderAnswer:
    """The meaning of SendGrid's status for POST /v3/mail/send; `headers` with lower-case names.

    It takes a message with 202 and X-Message-Id, and with nothing else: another success is a portal's or its sandbox's.
    """
    code, provider_id = f"http_{status}", headers.get("x-message-id")
    if status == 202 and provider_id:
        return Accepted(provider_id)
    if status == 202 or (200 <= status < 300 and provider_id):
        return Unknown("answer_unknown", status)
    if status in (429, 503):
        return Deferred(code, status, not_before=_retry_time(headers, as_of), fault=Fault.PROVIDER)
    if status < 400 or status in _NOT_LET_IN:
        return Deferred(code, status, fault=Fault.PROVIDER, is_doubtful=status in _PERHAPS_ONE)
    if status >= 500 or status == 408:
        return Unknown(code, status)
    return Rejected(code, status)


def refused_answer(status: int, fields: Sequence[str] | None) -> ProviderAnswer:
    """The meaning of a refusal by the members that it objects to, as SendGrid names them; None: it named nothing.

    Sender and Reply-To are the shop's, so what is wrong with them is wrong with every message; a person mends it. What
    somebody on the way answers proves that nothing was taken, and says nothing about the message: it is tried again.
    """
    code = f"http_{status}"
    if fields is None:
        return Deferred(code, status)
    faults = [(_fault_of_field(field), _CLOSED_UP.sub("", field)[:_LONGEST_FIELD] or None) for field in fields]
    for fault, field in faults:
        if fault is Fault.PROVIDER:
            return Deferred("sender_refused", status, fault=fault, field=field)
    fault, field = next((each for each in faults if each[0] is Fault.MESSAGE), faults[0])
    return Rejected("address_refused" if fault is Fault.MAILBOX else code, status, fault, field)


_LONGEST_FIELD = 100
_CLOSED_UP = re.compile(r"[^A-Za-z0-9_.-]")
"""Names of members only: no address finds its way from an answer into a log."""


def _fault_of_field(field: str) -> Fault:
    return next((fault for pattern, fault in SENDGRID_FIELDS.items() if re.match(pattern, field)), Fault.MESSAGE)


_NOT_LET_IN = frozenset({401, 402, 403, 404, 405, 407, 421, 451, 511})
"""A wrong or revoked key, an account without credits, an address that is not SendGrid's, a proxy or portal on the way.

A person mends it; the message is not to blame and keeps its place.
"""
_PERHAPS_ONE = frozenset({403, 404, 405, 451})
"""What also a filter on the way answers that dislikes a single message."""


def smtp_answer(status: int, text: str, stage: SmtpStage) -> ProviderAnswer:
    """The meaning of an SMTP reply (RFC 5321, 4.2.1) that did not let the conversation go on."""
    code, reply = f"smtp_{status}", read_reply(text)
    if not 400 <= status < 600:  # no SMTP, or nothing that can be said here
        return Unknown("reply_unreadable") if stage is SmtpStage.CONTENT else _deferred("reply_unreadable")
    if stage is SmtpStage.CONNECT or status in _OUR_TROUBLE:
        return _deferred(code, status)
    if fault_of(reply, ACCOUNT, Fault.MAILBOX) is Fault.PROVIDER:
        return _deferred(code, status, is_doubtful=stage is not SmtpStage.SENDER)
    otherwise = {SmtpStage.SENDER: Fault.PROVIDER, SmtpStage.RECIPIENT: Fault.MAILBOX}.get(stage, Fault.MESSAGE)
    if status < 500:
        return Deferred(code, status, fault=otherwise)
    fault = fault_of(reply, RECIPIENT, otherwise)
    if stage is SmtpStage.SENDER and fault is not Fault.MESSAGE:
        return _deferred(code, status)  # all our messages come from the same sender
    return Rejected(code, status, fault)


_OUR_TROUBLE = frozenset({421, 530, 534, 535, 538})
"""Closing, and what has to do with our credentials (RFC 4954)."""


def _deferred(code: str, status: int | None = None, *, is_doubtful: bool = False) -> Deferred:
    return Deferred(code, status, fault=Fault.PROVIDER, is_doubtful=is_doubtful)


def _retry_time(headers: Mapping[str, str], as_of: datetime) -> datetime | None:
    """`X-RateLimit-Reset` (Unix seconds, SendGrid) or `Retry-After` (seconds or a date), at most a day ahead."""
    for name in ("x-ratelimit-reset", "retry-after"):
        moment = _moment(headers.get(name, "").strip(), as_of)
        if moment is not None and moment > as_of:
            return min(moment, as_of + timedelta(days=1))
    return None


def _moment(text: str, as_of: datetime) -> datetime | None:
    if text.isdecimal() and len(text) <= 12:
        number = int(text)
        return as_of + timedelta(seconds=number) if number < 10_000_000 else datetime.fromtimestamp(number, UTC)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
