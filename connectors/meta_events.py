"""Meta's webhooks (Instagram, Facebook pages): is it theirs, and what does it say. Hostile until it is read.

https://developers.facebook.com/docs/graph-api/webhooks/getting-started: `X-Hub-Signature-256: sha256=<hex of
HMAC-SHA256 over the raw body, keyed by the app secret>`; a GET with the verify token is answered with its challenge.
Only what was said reaches us: likes and reactions are passed over, for nothing may follow from them.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from connectors.hook_bodies import clean, read_document
from domain.errors import Forbidden, Malformed
from domain.events import EventKind, NewEvent

SIGNATURE_HEADER: Final = "X-Hub-Signature-256"
SOURCE: Final = "meta"
COMMENTED: Final = "Social Comment Received"
MENTIONED: Final = "Social Mention Received"
MOST_CHANGES: Final = 1_000
_LONGEST = 2_000
_CHANGES_WITHIN: Final = 4  # {"entry": [{"changes": [
_NETWORKS = {"instagram": "instagram", "page": "facebook"}
_PREFIX = "sha256="


def verify(secret: str, *, signature: str, body: bytes) -> None:
    """Check the signature over the raw body. Raises Forbidden."""
    wanted = _PREFIX + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(wanted.encode(), signature.encode("utf-8", "replace")):
        raise Forbidden("The signature is not Meta's for this body.", code="signature_invalid")


@dataclass(frozen=True, slots=True)
class Notification:
    """What one request told, and how many of its items could not be read, by reason."""

    events: list[NewEvent]
    unread: Counter[str]


def read_events(body: bytes, as_of: datetime) -> Notification:
    """Mentions and comments as events, read one by one. Raises Malformed if it is no notification.

    They come from strangers, so they are not trusted: nothing of value follows without a person's review.
    """
    told = read_document(body, items_within=_CHANGES_WITHIN)
    network = _NETWORKS.get(str(told.get("object"))) if isinstance(told, dict) else None
    entries = told.get("entry") if isinstance(told, dict) else None
    if not isinstance(entries, list):
        raise Malformed("The body must be an object with a list `entry`.", code="not_a_notification")
    read = [each for entry in entries for each in _items(network, entry, as_of)] if network is not None else []
    return Notification(
        events=[each for each in read if isinstance(each, NewEvent)],
        unread=Counter(each for each in read if isinstance(each, str)),
    )


@dataclass(frozen=True, slots=True)
class _Entry:
    """What all changes of an entry are about. `account`: the shop's own page or profile."""

    network: str
    account: str | None
    at: datetime


def _items(network: str, entry: object, as_of: datetime) -> Iterator[NewEvent | str]:
    """The events of an entry, and why others of its changes cannot be read. What is none of our business is neither."""
    changes = entry.get("changes", []) if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(changes, list):
        yield "not_an_object"
        return
    yield from ["too_many"] * (len(changes) - MOST_CHANGES)
    about = _Entry(network, _id(entry, "id"), _time(entry.get("time"), as_of))
    for change in changes[:MOST_CHANGES]:
        value = change.get("value") if isinstance(change, dict) else None
        if not isinstance(value, dict):
            yield "not_an_object"
        elif (name := _name(str(change.get("field")), value)) is not None:
            yield _event(about, name, value, as_of) or "no_id"


def _name(field: str, value: Mapping[str, Any]) -> str | None:
    """The event's name; None for what is no comment or mention, or was taken back."""
    if value.get("verb") not in (None, "add"):
        return None
    if field in ("mentions", "mention"):
        return MENTIONED
    is_comment = field == "comments" or (field == "feed" and value.get("item") == "comment")
    return COMMENTED if is_comment else None


def _event(entry: _Entry, name: str, value: Mapping[str, Any], as_of: datetime) -> NewEvent | None:
    """What the shop writes itself is no customer's word, and says so."""
    network, media = entry.network, _part(value, "media")
    comment_id, post_id = _id(value, "comment_id") or _id(value, "id"), _id(value, "media_id") or _id(value, "post_id")
    post_id = post_id or _id(media, "id")
    subject = comment_id or post_id
    if subject is None:
        return None
    who, called = _author(value)
    properties = {
        "network": network,
        "post_id": post_id,
        "comment_id": comment_id,
        "author": called,
        "text": _text(value, "text") or _text(value, "message"),
        "own": True if who is not None and who == entry.account else None,
    }
    return NewEvent(
        source=SOURCE,
        message_id=f"{network}/{name}/{subject}",
        kind=EventKind.TRACK,
        name=name,
        timestamp=entry.at,
        received_at=as_of,
        anonymous_id=f"{network}:{who}" if who else f"{network}:post:{post_id or subject}",
        properties={key: told for key, told in properties.items() if told is not None},
        trusted=False,
    )


def _author(value: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The id and name of whoever wrote it: `from` of comments, `sender_id` and `sender_name` of mentions of a page.
    Instagram does not tell who mentions.
    """
    author = _part(value, "from") or _part(value, "sender")
    who = _id(author, "id") or _id(value, "sender_id")
    return who, _text(author, "username") or _text(author, "name") or _text(value, "sender_name")


def _part(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = value.get(key)
    return part if isinstance(part, dict) else {}


def _id(value: Mapping[str, Any], key: str) -> str | None:
    told = value.get(key)
    told = str(told) if isinstance(told, int) and not isinstance(told, bool) else told
    return told if isinstance(told, str) and 0 < len(told) <= 100 and clean(told) == told else None


def _text(value: Mapping[str, Any], key: str) -> str | None:
    told = value.get(key)
    return clean(told[:_LONGEST]) if isinstance(told, str) and told else None


def _time(value: object, as_of: datetime) -> datetime:
    """Unix seconds; what lies in the future or long ago is our time of receipt."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10_000_000_000:
        moment = datetime.fromtimestamp(value, UTC)
        if as_of - timedelta(days=30) <= moment <= as_of:
            return moment
    return as_of
