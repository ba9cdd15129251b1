"""Bodies that fit the OpenAPI document: the least that a schema takes, made from it."""

from __future__ import annotations

from typing import Any

_DEEPEST = 8
_BY_FORMAT = {
    "date-time": "2026-05-01T10:00:00Z",
    "date": "2026-05-01",
    "uuid": "019a0000-0000-7000-8000-000000000000",
    "uri": "https://shop.example/x",
}


def least(schema: dict[str, Any], components: dict[str, Any], depth: int = 0) -> Any:  # any JSON
    """A small value of a schema, its examples first."""
    if examples := schema.get("examples"):
        return examples[0]
    for known in ("const", "default"):
        if known in schema:
            return schema[known]
    if depth > _DEEPEST:
        return None
    if "$ref" in schema:
        return least(components[schema["$ref"].rpartition("/")[2]], components, depth + 1)
    for choice in ("enum", "anyOf", "oneOf", "allOf"):
        if choice in schema:
            first = schema[choice][0]
            return first if choice == "enum" else least(first, components, depth + 1)
    return _of_type(schema, components, depth)


def _of_type(schema: dict[str, Any], components: dict[str, Any], depth: int) -> Any:  # any JSON
    match schema.get("type"):
        case "object":
            members = schema.get("properties", {})
            return {name: least(members.get(name, {}), components, depth + 1) for name in schema.get("required", [])}
        case "array":
            return [least(schema.get("items", {}), components, depth + 1)] * schema.get("minItems", 0)
        case "integer" | "number":
            return max(schema.get("minimum", 1), schema.get("exclusiveMinimum", 0) + 1)
        case "boolean":
            return False
        case _:
            return _BY_FORMAT.get(schema.get("format", ""), "x" * max(1, schema.get("minLength", 1)))
