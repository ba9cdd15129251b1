"""What the OpenAPI document says of the ingest calls. They read their bodies themselves, so FastAPI cannot know."""

from __future__ import annotations

from typing import Any

from api.segment import MAX_ID, MAX_NAME, MAX_NUMBER, WIRE_KINDS
from domain.events import EventKind

Schema = dict[str, Any]  # JSON schema

_BOUNDS = {"maxLength": MAX_ID, "minimum": -MAX_NUMBER, "maximum": MAX_NUMBER}  # of the text, of the number
_ID: Schema = {"type": ["string", "integer", "null"], **_BOUNDS}
_OBJECT: Schema = {"anyOf": [{"type": ["object", "null"]}, {"type": "array", "maxItems": 0}]}
_NAMED_ID: Schema = {"type": ["string", "integer"], "minLength": 1, **_BOUNDS}
_NAME: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_NAME,
    "pattern": r"^[^\u0000]*[^\s\u0000][^\u0000]*$",  # something besides blanks
}
_TIME: Schema = {
    "description": "ISO 8601, or Unix seconds or milliseconds",
    "anyOf": [
        {"type": "string", "format": "date-time"},
        {"type": "number", "minimum": -62_135_596_800, "maximum": 253_402_300_799_999},  # the years 1 to 9999
        {"type": "null"},
        {"const": ""},
    ],
}
_SENT_AT: Schema = {"description": "When it left by the sender's clock, which is corrected by it; nonsense is ignored"}
_SOMEBODY = [{"required": [name], "properties": {name: _NAMED_ID}} for name in ("userId", "anonymousId")]

_SHARED: Schema = {
    "messageId": {**_ID, "description": "Taken once per source, forever"},
    "userId": _ID,
    "anonymousId": _ID,
    "timestamp": _TIME,
    "sentAt": _SENT_AT,
    "context": _OBJECT,
}
_OWN: dict[EventKind, Schema] = {
    EventKind.TRACK: {"event": _NAME, "properties": _OBJECT},
    EventKind.IDENTIFY: {"traits": _OBJECT},
    EventKind.PAGE: {"name": {}, "category": {}, "properties": _OBJECT},
    EventKind.SCREEN: {"name": {}, "category": {}, "properties": _OBJECT},
    EventKind.GROUP: {"groupId": _NAMED_ID, "traits": _OBJECT},
    EventKind.ALIAS: {"previousId": _NAMED_ID, "userId": _NAMED_ID},
}
_REQUIRED = {
    EventKind.TRACK: ["event"],
    EventKind.GROUP: ["groupId"],
    EventKind.ALIAS: ["previousId", "userId"],
}
_WRITE_KEY: Schema = {"description": "The write key, as text; read if there is none in the Authorization header"}
_SUCCESS: Schema = {"const": True}
_COUNT: Schema = {"type": "integer", "minimum": 0}


def single_call(kind: EventKind) -> Schema:
    """The request of one event of that kind."""
    properties = {"writeKey": _WRITE_KEY, **_SHARED, **_OWN[kind]}
    body = {"type": "object", "required": _REQUIRED.get(kind, []), "properties": properties, "anyOf": _SOMEBODY}
    return _request(body)


def _request(schema: Schema) -> Schema:
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "security": [{"key": []}],
    }


def _answer(properties: Schema, at_times: Schema) -> dict[int | str, Schema]:
    schema = {"type": "object", "required": list(properties), "properties": {**properties, **at_times}}
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

_BESIDE_THE_BATCH = {"writeKey": _WRITE_KEY, "sentAt": _SENT_AT}
BATCH_CALL = _request(
    {
        "type": "object",
        "required": ["batch"],
        "additionalProperties": {"description": "Ignored"},
        "properties": {
            "batch": {
                "type": "array",
                "items": {"anyOf": [_ITEM, {"description": "Whatever else stands there is rejected by itself"}]},
            },
            **{name: {**told, "examples": [None]} for name, told in _BESIDE_THE_BATCH.items()},
            "context": {**_OBJECT, "description": "Merged into the context of each event"},
        },
    }
)
_WARNINGS: Schema = {
    "type": "array",
    "items": _REJECTED,
    "description": "What was taken and cannot be read, so that it counts nothing; left out where everything can be",
}
SINGLE_ANSWER = _answer({"success": _SUCCESS}, {"warnings": _WARNINGS})
BATCH_ANSWER = _answer(
    {
        "success": _SUCCESS,
        "accepted": _COUNT,
        "duplicates": _COUNT,
        "rejected": {"type": "array", "items": _REJECTED},
    },
    {"warnings": _WARNINGS},
)
