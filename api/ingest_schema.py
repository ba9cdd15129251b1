"""What the OpenAPI document says of the ingest calls. They read their bodies themselves, so FastAPI cannot know."""

from __future__ import annotations

from typing import Any

from api.segment import MAX_ID, MAX_NAME, WIRE_KINDS
from domain.events import EventKind

Schema = dict[str, Any]  # JSON schema

_ID: Schema = {"type": ["string", "integer", "null"], "maxLength": MAX_ID}
_OBJECT: Schema = {"type": ["object", "null"]}
_TIME: Schema = {"type": ["string", "null"], "description": "ISO 8601"}

_SHARED: Schema = {
    "messageId": {**_ID, "description": "Taken once per source, for ever"},
    "userId": _ID,
    "anonymousId": _ID,
    "timestamp": _TIME,
    "sentAt": {**_TIME, "description": "By the sender's clock, which is corrected by it"},
    "context": _OBJECT,
}
_OWN: dict[EventKind, Schema] = {
    EventKind.TRACK: {"event": {"type": "string", "minLength": 1, "maxLength": MAX_NAME}, "properties": _OBJECT},
    EventKind.IDENTIFY: {"traits": _OBJECT},
    EventKind.PAGE: {"name": {}, "category": {}, "properties": _OBJECT},
    EventKind.SCREEN: {"name": {}, "category": {}, "properties": _OBJECT},
    EventKind.GROUP: {"groupId": _ID, "traits": _OBJECT},
    EventKind.ALIAS: {"previousId": _ID},
}
_REQUIRED = {
    EventKind.TRACK: ["event"],
    EventKind.GROUP: ["groupId"],
    EventKind.ALIAS: ["previousId", "userId"],
}
_WRITE_KEY: Schema = {"type": "string", "description": "The write key, if it is not in the Authorization header"}
_SUCCESS: Schema = {"const": True}
_COUNT: Schema = {"type": "integer", "minimum": 0}


def single_call(kind: EventKind) -> Schema:
    """The request of one event of that kind."""
    properties = {"writeKey": _WRITE_KEY, **_SHARED, **_OWN[kind]}
    return _request({"type": "object", "required": _REQUIRED.get(kind, []), "properties": properties})


def _request(schema: Schema) -> Schema:
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "security": [{"key": []}],
    }


def _answer(properties: Schema) -> dict[int | str, Schema]:
    schema = {"type": "object", "required": list(properties), "properties": properties}
    return {200: {"description": "Taken", "content": {"application/json": {"schema": schema}}}}


_ITEM: Schema = {
    "type": "object",
    "required": ["type"],
    "properties": {
        "type": {"enum": list(WIRE_KINDS)},
        **_SHARED,
        **{name: schema for own in _OWN.values() for name, schema in own.items()},
    },
}
_REJECTED: Schema = {
    "type": "object",
    "required": ["index", "code", "message"],
    "properties": {"index": _COUNT, "code": {"type": "string"}, "message": {"type": "string"}},
}

BATCH_CALL = _request(
    {
        "type": "object",
        "required": ["batch"],
        "properties": {
            "batch": {"type": "array", "items": _ITEM},
            "writeKey": _WRITE_KEY,
            "sentAt": _SHARED["sentAt"],
            "context": {**_OBJECT, "description": "Merged into the context of each event"},
        },
    }
)
SINGLE_ANSWER = _answer({"success": _SUCCESS})
BATCH_ANSWER = _answer(
    {
        "success": _SUCCESS,
        "accepted": _COUNT,
        "duplicates": _COUNT,
        "rejected": {"type": "array", "items": _REJECTED},
    }
)
