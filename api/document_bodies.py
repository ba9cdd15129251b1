"""Reading a document from a request body, JSON or YAML, and showing both in the OpenAPI document."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import orjson
from fastapi import Request

from api.schema_outlines import PREFIX, outline
from domain.document import Document
from domain.errors import FieldError, Invalid, Malformed, TooLarge
from domain.payload import find_fault
from domain.yaml import read_yaml

YAML_TYPES: Final = frozenset({"application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"})
MOST_YAML_BYTES: Final = 256 * 1024
"""YAML is read a hundred times slower than JSON."""


async def read_document(request: Request) -> dict[str, Any]:  # any JSON object
    """The body as a JSON object. Raises Malformed for what cannot be read, Invalid for what cannot be stored."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await request.body()
    value = await _read_yaml(body) if media_type in YAML_TYPES else _read_json(body)
    if fault := find_fault(value):
        raise Invalid(
            f"{fault.pointer}: {fault.message}", errors=(FieldError(fault.pointer, fault.message, fault.code),)
        )
    if not isinstance(value, dict):
        raise Invalid("The body must be an object.", errors=(FieldError("", "must be an object", "dict_type"),))
    return value


_DRAFTS: Final[dict[str, tuple[type[Document], str]]] = {}
"""The documents that routes take, by the names of their schemas, each with the member that repeats its key."""


def document_body(model: type[Document], name: str, *, required: bool = True) -> dict[str, Any]:
    """The `requestBody` of a route that takes such a document."""
    media = {"schema": draft_schema(model, name)}
    return {"requestBody": {"required": required, "content": {"application/json": media, "application/yaml": media}}}


def draft_schema(model: type[Document], name: str) -> dict[str, Any]:
    """The schema of such a document in a request, as a reference to one of `draft_schemas`."""
    schema = f"{model.__name__}Draft"
    _DRAFTS[schema] = (model, name)
    return {"$ref": f"{PREFIX}{schema}"}


def draft_schemas() -> dict[str, dict[str, Any]]:
    """The schemas that `draft_schema` refers to. A large language takes a second: not when the program starts."""
    return {schema: _draft_schema(model, name) for schema, (model, name) in _DRAFTS.items()}


def _draft_schema(model: type[Document], name: str) -> dict[str, Any]:
    """The key of the document, the member `name`, is in the path already.

    Of a recursive language (journeys) it shows the outline; the whole stands among the schemas.
    """
    whole = model.model_json_schema(ref_template=f"{PREFIX}{{model}}")
    shown = outline(whole)
    if shown is not whole:
        definitions = {**whole.pop("$defs"), model.__name__: whole}
        told = f"{whole.get('description', '')} This is the outline; the whole language is the schema {model.__name__}."
        shown = {**shown, "title": f"{model.__name__}Draft", "description": told.strip(), "$defs": definitions}
    return {**shown, "required": [member for member in shown["required"] if member != name]}


def _read_json(body: bytes) -> Any:  # any JSON
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"the body is not JSON: {error}") from None


async def _read_yaml(body: bytes) -> Any:  # any JSON
    if len(body) > MOST_YAML_BYTES:
        raise TooLarge(f"a YAML body may have {MOST_YAML_BYTES} bytes; send JSON", code="body_too_large")
    value = await asyncio.to_thread(read_yaml, body)
    try:
        return orjson.loads(orjson.dumps(value))
    except orjson.JSONEncodeError as error:
        raise Malformed(f"the YAML holds what JSON cannot: {error}", code="malformed_yaml") from None
