"""Segment's wire format: what a call or one item of a batch says, as a `NewEvent`. Reads values; does no I/O.

Faults are raised near the rule that finds them, as PerennialErrors with a code: a single call answers with the problem,
a batch puts code and message into its `rejected`. The rules and the clients behind them are in docs/ingest.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Never

import orjson

from domain.client_addresses import with_networks_only
from domain.ecommerce_v1 import modern
from domain.errors import Malformed, TooLarge
from domain.events import KIND_NAMES, EventKind, NewEvent, corrected_time
from domain.ids import new_id
from domain.payload import MAX_DEPTH, find_fault

MAX_ID = 255  # characters of any id, a message's own included
MAX_NAME = 200  # characters of an event's name, as in journeys
MAX_SHARED_CONTEXT = 4 * 1024  # bytes of a batch's own context
WIRE_KINDS = {kind.value: kind for kind in EventKind if kind is not EventKind.START}

_LONGEST_TIME = 100  # characters kept of what was sent as a time
JsonObject = Mapping[str, Any]  # any JSON object


@dataclass(frozen=True, slots=True)
class Delivery:
    """What all messages of one request share. `sent_at` is by the sender's clock."""

    source: str
    trusted: bool
    received_at: datetime
    max_bytes: int
    sent_at: datetime | None = None
    is_history: bool = False  # imported: believed its times, for when it was sent says nothing about them
    enters: bool = False  # history that may start journeys all the same
    context: JsonObject = field(default_factory=dict)
    may_hold_nul: bool = True
    truncate_ip: bool = False  # clients' addresses to their networks, before anything is stored


def read_message(message: Any, delivery: Delivery, kind: EventKind | None = None) -> NewEvent:  # any JSON
    """One message; `kind` is the path's, or None to take the message's own `type`. Raises Malformed or TooLarge."""
    if not isinstance(message, dict):
        _refuse("not_an_object", "an event is a JSON object")
    _check_storable(message, delivery)
    kind = kind or _kind(message)
    user_id, anonymous_id = _whose(message)
    claimed = _time(message, "originalTimestamp") or _time(message, "timestamp")
    sent_at = delivery.sent_at or _time(message, "sentAt")
    happened = corrected_time(claimed, None if delivery.is_history else sent_at, delivery.received_at)
    content = _CONTENTS[kind](message)
    event = NewEvent(
        source=delivery.source,
        message_id=_id(message, "messageId") or str(new_id()),
        kind=kind,
        name=content.name,
        timestamp=happened,
        received_at=delivery.received_at,
        user_id=user_id,
        anonymous_id=anonymous_id,
        previous_id=content.previous_id,
        properties=content.properties,
        traits=content.traits,
        context={**delivery.context, **_object(message, "context")},
        sent_timestamp=_as_sent(message) if happened != claimed else None,
        trusted=delivery.trusted,
        sent=sent_at,
        is_history=delivery.is_history,
        enters=delivery.enters,
    )
    return with_networks_only(event) if delivery.truncate_ip else event


def read_sent_at(body: JsonObject) -> datetime | None:
    """When the client's clock says the request left; None when it does not say so intelligibly."""
    return _time(body, "sentAt")


def read_enter(body: JsonObject) -> bool:
    """Whether imported history may start journeys."""
    enter = body.get("enter", False)
    if not isinstance(enter, bool):
        _refuse("invalid_enter", "enter must be true or false")
    return enter


def read_context(body: JsonObject) -> JsonObject:
    """The context that a batch gives to each of its events. Small, because it is stored with every one of them."""
    context = _object(body, "context")
    if fault := find_fault(context, pointer="/context"):
        _refuse(fault.code, f"{fault.pointer}: {fault.message}")
    if context and len(orjson.dumps(context)) > MAX_SHARED_CONTEXT:
        raise TooLarge(f"the context of a batch may have {MAX_SHARED_CONTEXT} bytes", code="context_too_large")
    return context


@dataclass(frozen=True, slots=True)
class _Content:
    """What the kinds of messages differ in."""

    name: str
    properties: dict[str, Any] = field(default_factory=dict)  # any JSON object
    traits: dict[str, Any] = field(default_factory=dict)  # any JSON object
    previous_id: str | None = None


def _track(message: JsonObject) -> _Content:
    name = message.get("event")
    if not isinstance(name, str) or not name.strip():
        _refuse("event_name_missing", "a track needs `event`, the event's name, as text")
    if len(name) > MAX_NAME:
        _refuse("event_name_too_long", f"an event's name has at most {MAX_NAME} characters")
    return _Content(*modern(name, _object(message, "properties")))


def _identify(message: JsonObject) -> _Content:
    """RudderStack's clients send the traits in the context only."""
    traits = _object(message, "traits") or _object(_object(message, "context"), "traits")
    return _Content(KIND_NAMES[EventKind.IDENTIFY], traits=traits)


def _page_or_screen(kind: EventKind) -> Callable[[JsonObject], _Content]:
    def read(message: JsonObject) -> _Content:
        given = {key: message[key] for key in ("name", "category") if message.get(key) is not None}
        return _Content(KIND_NAMES[kind], {**given, **_object(message, "properties")})

    return read


def _group(message: JsonObject) -> _Content:
    """The traits are the group's, not the customer's, so they are kept with the event only."""
    group_id = _id(message, "groupId")
    if group_id is None:
        _refuse("no_group_id", "a group call needs groupId")
    properties = {"group_id": group_id, "traits": _object(message, "traits")}
    return _Content(KIND_NAMES[EventKind.GROUP], properties)


def _alias(message: JsonObject) -> _Content:
    """Equal ids (a quirk of Segment's browser client) are fine: such an alias changes nothing."""
    previous_id = _id(message, "previousId")
    if previous_id is None:
        _refuse("no_previous_id", "an alias needs previousId")
    if _id(message, "userId") is None:
        _refuse("no_user_id", "an alias needs userId")
    return _Content(KIND_NAMES[EventKind.ALIAS], previous_id=previous_id)


_CONTENTS: dict[EventKind, Callable[[JsonObject], _Content]] = {
    EventKind.TRACK: _track,
    EventKind.IDENTIFY: _identify,
    EventKind.PAGE: _page_or_screen(EventKind.PAGE),
    EventKind.SCREEN: _page_or_screen(EventKind.SCREEN),
    EventKind.GROUP: _group,
    EventKind.ALIAS: _alias,
}


def _check_storable(message: dict[str, Any], delivery: Delivery) -> None:
    """Refuse what is too large or what `jsonb` cannot hold; the thorough walk is only for what looks suspicious."""
    try:
        written = orjson.dumps(message)
    except TypeError:  # nested beyond what orjson writes, or half surrogates
        written = b""
    if len(written) > delivery.max_bytes:
        raise TooLarge(f"an event may have {delivery.max_bytes} bytes", code="event_too_large")
    deepest = written.count(b"{") + written.count(b"[")
    if (not written or deepest > MAX_DEPTH or delivery.may_hold_nul) and (fault := find_fault(message)):
        _refuse(fault.code, f"{fault.pointer}: {fault.message}")


def _kind(message: JsonObject) -> EventKind:
    named = message.get("type")
    if not isinstance(named, str) or named not in WIRE_KINDS:
        _refuse("unknown_type", f"type must be one of {', '.join(WIRE_KINDS)}")
    return WIRE_KINDS[named]


MAX_NUMBER = 9 * 10**18
"""The largest number that may be an id; clients that count further send text."""
_EXACT = 2**53
"""From here on a float stands for several whole numbers, which would make several people one."""


def _whose(message: JsonObject) -> tuple[str | None, str | None]:
    """userId and anonymousId. What cannot be an id is none (PHP writes `[]` where one is missing), and the other one
    says whose the event is. Raises Malformed if neither does.
    """
    ids: dict[str, str | None] = {}
    faults: list[Malformed] = []
    for key in ("userId", "anonymousId"):
        try:
            ids[key] = _id(message, key)
        except Malformed as fault:
            faults.append(fault)
    if not any(ids.values()):
        if faults:
            raise faults[0]
        _refuse("no_user_anon_id", "userId or anonymousId must be given")
    return ids.get("userId"), ids.get("anonymousId")


def _id(message: JsonObject, key: str) -> str | None:
    """An id as text; null and empty count as absent, whole numbers are taken as they are written."""
    value = message.get(key)
    if value is None or value == "":
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_NUMBER:
        value = str(value)
    if not isinstance(value, str):
        _refuse(f"invalid_{_SNAKE[key]}", f"{key} must be text, or a whole number of at most 9 * 10^18")
    if len(value) > MAX_ID:
        _refuse(f"{_SNAKE[key]}_too_long", f"{key} has at most {MAX_ID} characters")
    return value


_UNIX = re.compile(r"\d{9,13}(\.\d+)?")  # shorter digits are a date of ISO 8601

_SNAKE = {
    "messageId": "message_id",
    "userId": "user_id",
    "anonymousId": "anonymous_id",
    "groupId": "group_id",
    "previousId": "previous_id",
}


def _object(message: JsonObject, key: str) -> dict[str, Any]:  # any JSON object
    value = message.get(key)
    if value is None or value == []:  # PHP writes an empty object as an empty array
        return {}
    if not isinstance(value, dict):
        _refuse(f"invalid_{key}", f"{key} must be an object")
    return value


def _time(message: JsonObject, key: str) -> datetime | None:
    """An ISO 8601 time, or Unix seconds or milliseconds, also as text; without a zone it is UTC.

    None where nothing can be read: that costs an event its time, never the event.
    """
    value = message.get(key)
    if value is None or value == "":
        return None
    try:
        if isinstance(value, str) and _UNIX.fullmatch(value.strip()):
            value = float(value)
        if isinstance(value, str):
            read = datetime.fromisoformat(value.strip())
        elif isinstance(value, int | float) and not isinstance(value, bool):
            read = datetime.fromtimestamp(value / 1_000 if abs(value) > 1e11 else value, UTC)
        else:
            raise TypeError
        return _to_utc(read)
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def _to_utc(time: datetime) -> datetime:
    try:
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except OverflowError:  # at either end of the calendar, where a day more or less does not matter
        return time.replace(tzinfo=UTC)


def _as_sent(message: JsonObject) -> str | None:
    told = (message.get(key) for key in ("originalTimestamp", "timestamp"))
    return next((str(time)[:_LONGEST_TIME] for time in told if time is not None and time != ""), None)


def _refuse(code: str, detail: str) -> Never:
    raise Malformed(detail, code=code)
