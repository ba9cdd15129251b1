"""SendGrid's signed event webhook: is it theirs, is it fresh, and what does it say. Hostile until it is read."""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from connectors.hook_bodies import UNREADABLE, clean, read_list
from domain.bounces import bounce_fault, drop_fault
from domain.engagement import Actor
from domain.errors import Forbidden, Malformed
from domain.message_events import Kind, Report
from domain.refusals import Fault

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
_IGNORED = frozenset({"group_resubscribe", "account_status_change"})
_KEPT = ("reason", "status", "type", "response", "bounce_classification", "url", "useragent", "attempt")
_LONGEST = 1_000


@dataclass(frozen=True, slots=True)
class Told:
    """One event: what it reports, and which message it is about, by our id or by SendGrid's."""

    report: Report
    message_id: UUID | None
    provider_id: str | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one request told, and how many of its items could not be read, by reason."""

    told: list[Told]
    unread: Counter[str]


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


def read_events(body: bytes, as_of: datetime) -> Delivery:
    """The events of a request, read one by one. Raises Malformed if it is no list."""
    items = read_list(body)
    if len(items) > MOST_EVENTS:
        raise Malformed(f"The body must be a list of at most {MOST_EVENTS} events.", code="not_a_list")
    read = [_read(item, as_of) for item in items]
    return Delivery(
        told=[each for each in read if isinstance(each, Told)],
        unread=Counter(each for each in read if isinstance(each, str)),
    )


def _read(item: object, as_of: datetime) -> Told | str | None:
    """The event; why it cannot be read; None for what is none of our business."""
    if not isinstance(item, dict):
        return "malformed_json" if item is UNREADABLE else "not_an_object"
    kind, event_id = _kind(item), item.get("sg_event_id")
    if kind is None:
        return None if _text(item, "event") in _IGNORED else "event_unknown"
    if not isinstance(event_id, str) or not 0 < len(event_id) <= 200 or clean(event_id) != event_id:
        return "event_id"
    report = Report(
        provider="sendgrid",
        event_id=event_id,
        kind=kind,
        at=_time(item.get("timestamp"), as_of),
        actor=_actor(kind, item),
        fault=_fault(kind, item),
        detail={key: clean(str(item[key]))[:_LONGEST] for key in _KEPT if isinstance(item.get(key), str | int)},
    )
    return Told(report, _uuid(item.get("message_id")), _provider_id(item.get("sg_message_id")))


def _kind(item: Mapping[str, Any]) -> Kind | None:
    name = item.get("event")
    if name == "bounce":
        return Kind.BLOCKED if bounce_fault(item) is Fault.SENDER else Kind.BOUNCED
    return _KINDS.get(name) if isinstance(name, str) else None


def _fault(kind: Kind, item: Mapping[str, Any]) -> Fault | None:
    if kind is Kind.DROPPED:
        return drop_fault(item)
    return bounce_fault(item) if kind in (Kind.BOUNCED, Kind.BLOCKED) else None


def _text(item: Mapping[str, Any], key: str) -> str:
    value = item.get(key)
    return value if isinstance(value, str) else ""


def _actor(kind: Kind, item: Mapping[str, Any]) -> Actor | None:
    if kind not in (Kind.OPENED, Kind.CLICKED):
        return None
    return Actor.MACHINE if item.get("sg_machine_open") else Actor.UNKNOWN if kind is Kind.OPENED else Actor.HUMAN


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
    return clean(value.split(".filter")[0].split(".recvd")[0])[:200] if isinstance(value, str) and value else None
