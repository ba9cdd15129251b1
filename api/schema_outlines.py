"""The outline of a large recursive schema: small enough for people to read and for tools to make examples of.

Every document that fits the outline fits the whole, which stands in the OpenAPI document beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

Schema = dict[str, Any]  # a JSON schema

LARGEST: Final = 3_500
"""Members and alternatives whose schema is longer than this (in JSON, written out) are left to the whole."""
DEEPEST: Final = 2
"""How many recursive definitions are followed within each other: a step, and its body."""
PREFIX: Final = "#/components/schemas/"
_UNIONS: Final = ("anyOf", "oneOf")


def outline(schema: Schema) -> Schema:
    """The schema written out without `$defs`; what is too deep or too large is left out where something else remains.

    `schema` has all that it refers to in its `$defs`, under references that begin with PREFIX. A schema that is not
    recursive is its own outline.
    """
    definitions: dict[str, Schema] = schema.get("$defs", {})
    recursive = frozenset(name for name, part in definitions.items() if name in _reachable(part, definitions))
    if not recursive:
        return schema
    whole = {name: part for name, part in schema.items() if name != "$defs"}
    written_out = _write_out(whole, _Ground(definitions, recursive, DEEPEST))
    if written_out is None:
        raise ValueError("a schema whose required members are all recursive has no outline")
    return written_out


@dataclass(frozen=True, slots=True)
class _Ground:
    """What references lead to, and how many recursive ones may still be followed."""

    definitions: Mapping[str, Schema]
    recursive: frozenset[str]
    depth: int

    def follow(self, reference: str) -> tuple[Schema, _Ground] | None:
        """The schema of that name and the ground below it; None where it gets too deep."""
        name = reference.removeprefix(PREFIX)
        below = replace(self, depth=self.depth - 1) if name in self.recursive else self
        return None if below.depth < 0 else (self.definitions[name], below)


def _reachable(schema: Schema, definitions: Mapping[str, Schema]) -> set[str]:
    """The names that a schema refers to, directly or through others."""
    found: set[str] = set()
    waiting = list(_named_in(schema))
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            waiting += _named_in(definitions[name])
    return found


def _named_in(part: Any) -> Iterator[str]:  # any part of a schema
    if isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"].removeprefix(PREFIX)
        part = [below for name, below in part.items() if name != "discriminator"]
    for below in part if isinstance(part, list) else ():
        yield from _named_in(below)


def _write_out(schema: Schema, ground: _Ground) -> Schema | None:
    """None for what cannot be written out, because all that it could be is too deep."""
    if "$ref" in schema:
        followed = ground.follow(schema["$ref"])
        found = followed and _write_out(*followed)
        return found and {**found, **{key: part for key, part in schema.items() if key != "$ref"}}
    result = {key: part for key, part in schema.items() if key != "discriminator"}
    for union in _UNIONS:
        if union in result:
            result[union] = _plain([found for part in result[union] if (found := _write_out(part, ground))])
            if not result[union]:
                return None
    if isinstance(result.get("items"), dict):
        result["items"] = _write_out(result["items"], ground)
        if result["items"] is None:
            return None
    return _write_out_members(result, ground) if "properties" in result else result


def _plain(alternatives: list[Schema]) -> list[Schema]:
    """Those that are small and, being objects, name a member that tells them from the others; if none is, all."""
    told_apart = [part for part in alternatives if part.get("type") != "object" or part.get("required")]
    return [part for part in told_apart if _is_small(part)] or alternatives


def _write_out_members(schema: Schema, ground: _Ground) -> Schema | None:
    required = schema.get("required", [])
    written = {name: _write_out(part, ground) for name, part in schema["properties"].items()}
    if any(written[name] is None for name in required):
        return None
    kept = {name: part for name, part in written.items() if part is not None and (name in required or _is_small(part))}
    return {**schema, "properties": kept}


def _is_small(schema: Schema) -> bool:
    return len(orjson.dumps(schema)) <= LARGEST
