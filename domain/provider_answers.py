"""What a provider's answer means for the message: accepted, rejected for good, not accepted yet, or unknown.

The line between "not accepted" and "unknown" decides about second copies: only an answer that proves that nothing
was taken (429, 503, a refused connection, an SMTP 4xx) may be tried again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum

from domain.refusals import Fault

SETTLING_TIME = timedelta(minutes=15)
"""How long an `unknown` waits for the provider's word before the policy settles it."""


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


@dataclass(frozen=True, slots=True)
class Deferred:
    """It was not taken and may be tried again, at `not_before` if the provider said when.

    With the fault `provider` it takes nothing from anybody now (429, 503), which is no trouble of this message.
    """

    code: str
    status: int | None = None
    not_before: datetime | None = None
    fault: Fault = Fault.MESSAGE


@dataclass(frozen=True, slots=True)
class Unknown:
    """It may have been taken: a time-out, a reset after the body, 500, 502, 504."""

    code: str
    status: int | None = None


ProviderAnswer = Accepted | Rejected | Deferred | Unknown


def http_answer(status: int, headers: Mapping[str, str], as_of: datetime) -> ProviderAnswer:
    """The meaning of an HTTP provider's status; `headers` with lower-case names."""
    code = f"http_{status}"
    if 200 <= status < 300:
        return Accepted(headers.get("x-message-id"))
    if status in (429, 503):
        return Deferred(code, status, not_before=_retry_time(headers, as_of), fault=Fault.PROVIDER)
    if status in (401, 403):
        # A wrong or revoked key is mended by a person; the message is not to blame and keeps its place.
        return Deferred(code, status, fault=Fault.PROVIDER)
    if status >= 500 or status == 408:
        return Unknown(code, status)
    return Rejected(code, status)


def smtp_answer(status: int, text: str, *, of_recipient: bool) -> ProviderAnswer:
    """The meaning of an SMTP reply before the message was taken (RFC 5321, 4.2.1; enhanced codes RFC 3463)."""
    code = f"smtp_{status}"
    if 400 <= status < 500:
        is_shared = status == 421 or not of_recipient
        return Deferred(code, status, fault=Fault.PROVIDER if is_shared else Fault.MAILBOX)
    if status in (530, 534, 535, 538):
        return Deferred(code, status, fault=Fault.PROVIDER)  # our credentials, not this message
    is_bad = of_recipient and _names_bad_address(text, status)
    return Rejected(code, status, fault=Fault.ADDRESS if is_bad else Fault.MESSAGE)


class Bounce(StrEnum):
    """`hard`: the address is dead. `blocked`: the sender's reputation or a policy; the person is not to blame."""

    HARD = "hard"
    BLOCKED = "blocked"
    SOFT = "soft"


def bounce_of(kind: str | None, status: str | None) -> Bounce:
    """What a bounce report tells: `kind` as SendGrid says it (`bounce`, `blocked`), `status` the enhanced code."""
    if kind == "blocked" or (status or "").startswith("5.7"):
        return Bounce.BLOCKED
    if (status or "").startswith("4"):
        return Bounce.SOFT
    return Bounce.HARD


def _names_bad_address(text: str, status: int) -> bool:
    """5.1.x: the address itself is wrong. A 550 without an enhanced code means the same at most servers."""
    words = text.split()
    enhanced = next((word for word in words[:2] if word[:2] in ("5.", "4.") and word.count(".") == 2), None)
    if enhanced is not None:
        return enhanced.startswith("5.1.")
    return status in (550, 551, 553)


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
