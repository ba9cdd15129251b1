"""The OpenAPI document: what FastAPI finds in the routes, and what every route has without saying so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI

from api.document_bodies import draft_schemas
from api.idempotency import HEADER
from api.problems import MEDIA_TYPE
from api.routing import ONLY_ASKS

Schema = dict[str, Any]  # a part of the document

_TEXT: Schema = {"type": "string"}
_PROBLEM: Schema = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457, with a stable `code` and, where fields are at fault, a JSON pointer for each.",
    "required": ["type", "title", "status", "detail", "code", "message"],
    "properties": {
        **dict.fromkeys(("type", "title", "detail", "code", "message"), _TEXT),
        "status": {"type": "integer"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail", "code"],
                "properties": dict.fromkeys(("pointer", "detail", "code"), _TEXT),
            },
        },
    },
}
_REFUSAL: Schema = {
    "description": "A problem document",
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_IDEMPOTENCY_KEY: Schema = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "The same key and request get the first answer again; another request under it gets 409.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!#-~]([ -~]*[!#-~])?$"},
}


_REF_JSON: Schema = {"$ref": "#/components/schemas/Json"}
_STORABLE = r"^[^\u0000]*$"
_JSON: Schema = {
    "title": "Json",
    "description": "Any JSON value; text without the NUL character.",
    "anyOf": [
        {"type": "null"},
        {"type": "boolean"},
        {"type": "number"},
        {"type": "string", "pattern": _STORABLE},
        {"type": "array", "items": _REF_JSON},
        {
            "type": "object",
            "propertyNames": {"pattern": _STORABLE},
            "additionalProperties": _REF_JSON,
        },
    ],
}
_ANYTHING: Final[tuple[Any, ...]] = ({}, True)
_MAPS = ("properties", "patternProperties", "$defs")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE = ("items", "additionalProperties", "not", "if", "then", "else")


def describe(app: FastAPI) -> None:
    """Make `/openapi.json` say that any call may be refused with a problem, and which take an Idempotency-Key."""
    found = app.openapi

    def complete() -> Schema:
        is_new = app.openapi_schema is None
        document = found()
        if is_new:
            _complete(document)
        return document

    app.openapi = complete  # type: ignore[method-assign]  # FastAPI's documented way of extending the document


def _complete(document: Schema) -> None:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["Problem"] = _PROBLEM
    schemas.update(draft_schemas())
    _hoist_definitions(document, schemas)
    for schema in list(_schemas_in(document)):
        _say_what_can_be_stored(schema)
    schemas["Json"] = _JSON
    for method, operation in _operations(document):
        operation["responses"].pop("422", None)
        operation["responses"].setdefault("default", _REFUSAL)
        only_asks = operation.pop(ONLY_ASKS, False)
        if method == "post" and operation.get("security") and operation.get("tags") != ["events"] and not only_asks:
            operation.setdefault("parameters", []).append(_IDEMPOTENCY_KEY)


def _schemas_in(document: Schema) -> Iterator[Schema]:
    """Every schema of the document, nested ones too."""
    for schema in document["components"]["schemas"].values():
        yield from _nested(schema)
    for _, operation in _operations(document):
        for parameter in operation.get("parameters", []):
            yield from _nested(parameter["schema"])
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for media in (media for body in bodies for media in body.get("content", {}).values()):
            yield from _nested(media.get("schema", True))


def _nested(schema: Any) -> Iterator[Schema]:  # a schema; true is one as well
    if not isinstance(schema, dict):
        return
    yield schema
    below = [*(schema.get(name) for name in _SINGLE), *(part for name in _LISTS for part in schema.get(name, ()))]
    for each in (*below, *(part for name in _MAPS for part in schema.get(name, {}).values())):
        yield from _nested(each)


def _say_what_can_be_stored(schema: Schema) -> None:
    """PostgreSQL stores no NUL, so no text that we take may hold one; "anything" is any JSON of such texts."""
    types = schema.get("type", ())
    types = {types} if isinstance(types, str) else set(types)
    if "string" in types and not schema.keys() & {"pattern", "format", "enum", "const"}:
        schema["pattern"] = _STORABLE
    if "object" in types:
        schema.setdefault("additionalProperties", "patternProperties" not in schema)
        if schema["additionalProperties"] in _ANYTHING or "properties" not in schema:
            schema.setdefault("propertyNames", {"pattern": _STORABLE})
    if "oneOf" in schema:  # our alternatives are told apart by a key; a whole number is an integer and a number
        schema["anyOf"] = schema.pop("oneOf")
    if "anyOf" in schema:
        schema["anyOf"] = [_REF_JSON if part in _ANYTHING else part for part in schema["anyOf"]]
    for name in ("items", "additionalProperties"):
        if name in schema and schema[name] in _ANYTHING:
            schema[name] = _REF_JSON
    for name, part in schema.get("properties", {}).items():
        if part.keys() <= {"title", "description", "default"}:
            schema["properties"][name] = {**part, **_REF_JSON}


def _hoist_definitions(part: Any, schemas: Schema) -> None:  # any part of the document
    """Schemas that a route wrote out itself bring their definitions along; those stand among the others instead."""
    if isinstance(part, dict):
        for name, definition in part.pop("$defs", {}).items():
            schemas.setdefault(name, definition)
            _hoist_definitions(definition, schemas)
    for below in list(part.values()) if isinstance(part, dict) else part if isinstance(part, list) else ():
        _hoist_definitions(below, schemas)


def _operations(document: Schema) -> Iterator[tuple[str, Schema]]:
    for path in document.get("paths", {}).values():
        yield from path.items()
