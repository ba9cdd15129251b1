"""Two members of a body of which exactly one is written, as JSON Schema says it."""

from __future__ import annotations

from typing import Any


def one_of(first: str, second: str) -> dict[str, Any]:
    """For `json_schema_extra` of a model whose validator asks for the same."""
    return {"oneOf": [_only(first, second), _only(second, first)]}


def _only(written: str, absent: str) -> dict[str, Any]:
    return {"required": [written], "properties": {written: {"not": {"type": "null"}}, absent: {"type": "null"}}}
