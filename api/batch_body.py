"""The body of a batch call, read so that one broken item does not cost its neighbours.

A body that is JSON is parsed in one go. One that is not is cut at the brackets and commas of its `batch`, and each item
is parsed alone: the slow path of a bad day, in one pass and without recursion, however hostile the nesting.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from domain.errors import Malformed

# A string (broken ones included: any byte but the quote, or an escaped one), or a structural character.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"|[{}\[\],:]', re.DOTALL)
_WRITE_KEY = re.compile(rb'"writeKey"\s*:\s*"(pk_\w+)"', re.ASCII)
_BATCH = b'"batch"'


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An item that is not JSON, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class BatchBody:
    """The items (parsed JSON or Unreadable) and the members besides `batch`."""

    items: Sequence[Any]
    rest: Mapping[str, Any]  # any JSON object


def parse_object(body: bytes) -> dict[str, Any]:  # any JSON object
    """The JSON object that a body holds; raises Malformed `invalid_json` or `not_an_object`."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"the body is not JSON: {error}", code="invalid_json") from error
    if not isinstance(parsed, dict):
        raise Malformed("the body must be a JSON object", code="not_an_object")
    return parsed


def parse_batch(body: bytes) -> BatchBody:
    """The batch that a body holds; raises Malformed when even the outline of it cannot be read."""
    try:
        parsed = parse_object(body)
    except Malformed as whole:
        if whole.code != "invalid_json" or (cut := _cut(body)) is None:
            raise
        items, rest = cut
        return BatchBody([_parse_item(item) for item in items], parse_object(rest))
    batch = parsed.pop("batch", None)
    if not isinstance(batch, list):
        raise Malformed("the body must have `batch`, a list of events", code="batch_missing")
    return BatchBody(batch, parsed)


def find_write_key(body: bytes) -> str | None:
    """The write key of a body that may be broken, so that nobody unknown makes us take the slow path."""
    match = _WRITE_KEY.search(body)
    return match[1].decode() if match else None


def _parse_item(item: bytes) -> Any:  # any JSON, or Unreadable
    try:
        return orjson.loads(item)
    except orjson.JSONDecodeError as error:
        return Unreadable(error.msg)


def _cut(body: bytes) -> tuple[list[bytes], bytes] | None:
    """The unparsed items, and the body with an empty batch in their place; None when brackets do not match up."""
    start = _batch_start(body)
    if start is None:
        return None
    items: list[bytes] = []
    depth, item_start = 0, start
    for token, at in _tokens(body, start):
        if token in (b"{", b"["):
            depth += 1
        elif token in (b"}", b"]") and depth:
            depth -= 1
        elif token in (b",", b"]") and not depth:
            items.append(body[item_start:at].strip())
            item_start = at + 1
            if token == b"]":
                return ([] if items == [b""] else items), body[:start] + body[at:]
    return None


def _batch_start(body: bytes) -> int | None:
    """Where the list begins that is the outermost object's `batch`."""
    depth = 0
    before = (b"", b"")
    for token, at in _tokens(body, 0):
        if token == b"[" and depth == 1 and before == (_BATCH, b":"):
            return at + 1
        depth += (token in (b"{", b"[")) - (token in (b"}", b"]"))
        before = (before[1], token)
    return None


def _tokens(body: bytes, start: int) -> Iterator[tuple[bytes, int]]:
    return ((match[0], match.start()) for match in _TOKEN.finditer(body, start))
