"""SendGrid's signed event webhook: is it theirs, is it fresh, and what does it say. Hostile until it is read."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from domain.engagement import Actor
from domain.errors import Forbidden, Malformed
from domain.message_events import Kind, Report
from domain.payload import find_fault
from domain.provider_answers import Bounce, bounce_of

SIGNATURE_HEADER = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP_HEADER = "X-Twilio-Email-Event-Webhook-Timestamp"
AHEAD = timedelta(minutes=10)
BEHIND = timedelta(hours=25)
"""SendGrid repeats a request for 24 hours and does not say whether it signs each try anew, so an outage of ours must
not lose reports. A recording that is played again within that time changes nothing: each `sg_event_id` counts once.
"""
MOST_EVENTS = 10_000

_KINDS = {
    "processed": Kind.PROCESSED,
    "deferred": Kind.DEFERRED,
    "delivered": Kind.DELIVERED,
    "dropped": Kind.DROPPED,
    "open": Kind.OPENED,
    "click": Kind.CLICKED,
    "spamreport": Kind.COMPLAINED,
    "unsubscribe": Kind.UNSUBSCRIBED,
    "group_unsubscribe": Kind.UNSUBSCRIBED,
}
_DROPPED_DEAD = frozenset({"Bounced Address", "Invalid"})
_KEPT = ("reason", "status", "type", "response", "bounce_classification", "url", "useragent", "attempt")
_LONGEST = 1_000


@dataclass(frozen=True, slots=True)
class Told:
    """One event: what it reports, and which message it is about, by our id or by SendGrid's."""

    report: Report
    message_id: UUID | None
    provider_id: str | None


def verify(public_key: str, *, signature: str, timestamp: str, body: bytes, as_of: datetime) -> None:
    """Check the ECDSA signature over the timestamp and the raw body. Raises Forbidden."""
    refusal = Forbidden("The signature is not SendGrid's for this body.", code="signature_invalid")
    if not timestamp.isdecimal() or len(timestamp) > 12:
        raise refusal
    try:
        key = load_der_public_key(base64.b64decode(public_key))
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise refusal
        key.verify(base64.b64decode(signature, validate=True), timestamp.encode() + body, ec.ECDSA(SHA256()))
    except (InvalidSignature, binascii.Error, ValueError) as error:
        raise refusal from error
    if not -AHEAD <= as_of - datetime.fromtimestamp(int(timestamp), UTC) <= BEHIND:
        raise Forbidden("The signature is too old: this may be a recording.", code="signature_stale")


def read_events(body: bytes, as_of: datetime) -> list[Told]:
    """The events of a request; entries that cannot be read are passed over. Raises Malformed if it is no list."""
    try:
        entries = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed("The body is not JSON.", code="malformed_json") from error
    if not isinstance(entries, list) or len(entries) > MOST_EVENTS:
        raise Malformed(f"The body must be a list of at most {MOST_EVENTS} events.", code="not_a_list")
    told = (_read(entry, as_of) for entry in entries if isinstance(entry, dict) and find_fault(entry) is None)
    return [event for event in told if event is not None]


def _read(entry: Mapping[str, Any], as_of: datetime) -> Told | None:
    kind, event_id = _kind(entry), entry.get("sg_event_id")
    if kind is None or not isinstance(event_id, str) or not 0 < len(event_id) <= 200:
        return None
    report = Report(
        provider="sendgrid",
        event_id=event_id,
        kind=kind,
        at=_time(entry.get("timestamp"), as_of),
        actor=_actor(kind, entry),
        is_hard=_is_hard(kind, entry),
        detail={key: str(entry[key])[:_LONGEST] for key in _KEPT if isinstance(entry.get(key), str | int)},
    )
    return Told(report, _uuid(entry.get("message_id")), _provider_id(entry.get("sg_message_id")))


def _kind(entry: Mapping[str, Any]) -> Kind | None:
    name = entry.get("event")
    if name == "bounce":
        return Kind.BLOCKED if _bounce(entry) is Bounce.BLOCKED else Kind.BOUNCED
    return _KINDS.get(name) if isinstance(name, str) else None


def _bounce(entry: Mapping[str, Any]) -> Bounce:
    kind, status = entry.get("type"), entry.get("status")
    return bounce_of(kind if isinstance(kind, str) else None, status if isinstance(status, str) else None)


def _is_hard(kind: Kind, entry: Mapping[str, Any]) -> bool:
    if kind is Kind.DROPPED:
        return entry.get("reason") in _DROPPED_DEAD
    return kind is Kind.BOUNCED and _bounce(entry) is Bounce.HARD


def _actor(kind: Kind, entry: Mapping[str, Any]) -> Actor | None:
    if kind not in (Kind.OPENED, Kind.CLICKED):
        return None
    return Actor.MACHINE if entry.get("sg_machine_open") else Actor.UNKNOWN if kind is Kind.OPENED else Actor.HUMAN


def _time(value: object, as_of: datetime) -> datetime:
    """Unix seconds; what lies in the future or long ago is our time of receipt."""
    if isinstance(value, int) and 0 < value < 10_000_000_000:
        moment = datetime.fromtimestamp(value, UTC)
        if as_of - timedelta(days=30) <= moment <= as_of:
            return moment
    return as_of


def _uuid(value: object) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _provider_id(value: object) -> str | None:
    """`sg_message_id` is the X-Message-Id of our request and a suffix."""
    return value.split(".filter")[0].split(".recvd")[0][:200] if isinstance(value, str) and value else None
