"""Reading what others post, item by item: what is broken in one item never costs another.

JSON of the strict kind is read at once. Where a body is not, a list is cut into its items by brackets alone, and each
is read by itself, with bad bytes and control characters as they are: what is stored of them goes through `clean`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import orjson

from domain.errors import Malformed

UNREADABLE: Final = object()
"""An item that is no JSON."""

_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{},]', re.DOTALL)
_OPENING, _CLOSING = frozenset(b"[{"), frozenset(b"]}")


def read_list(body: bytes) -> list[Any]:
    """The items of a list, `UNREADABLE` for each that cannot be read. Raises Malformed if the body is no whole list."""
    try:
        read = orjson.loads(body)
    except orjson.JSONDecodeError:
        return [_lenient(item) for item in _items(body)]
    if not isinstance(read, list):
        raise Malformed("The body must be a list.", code="not_a_list")
    return read


def read_document(body: bytes, *, items_within: int) -> Any:  # any JSON
    """A document whose texts may hold bad bytes; `UNREADABLE` for each object or list within so many brackets that
    cannot be read. Raises Malformed if what is around them is no JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        read = _lenient(body)
    if read is UNREADABLE:
        read = _item_by_item(body, items_within)
    if read is UNREADABLE:
        raise Malformed("The body is not JSON.", code="malformed_json")
    return read


def clean(text: str) -> str:
    """The text as it can be stored: what no text can hold becomes U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", text)


def _lenient(item: bytes) -> Any:  # any JSON
    """Bad bytes and halves of surrogate pairs become lone surrogates, which only `clean` lets through."""
    try:
        return json.loads(item.decode("utf-8", "surrogateescape"), strict=False, parse_int=_number)
    except (ValueError, RecursionError):
        return UNREADABLE


def _item_by_item(body: bytes, within: int) -> Any:  # any JSON
    """The same, each item read by itself: it is cut out, and put back in the place that keeps its number."""
    outline, items, kept, start, depth = bytearray(), list[Any](), 0, 0, 0
    for token in _TOKEN.finditer(body):
        mark = body[token.start()]
        depth += mark in _OPENING
        if mark in _OPENING and depth == within + 1:
            outline += body[kept : token.start()]
            start = token.start()
        if mark in _CLOSING and depth == within + 1:
            outline += b'"\\u0000%d"' % len(items)
            items.append(_lenient(body[start : token.end()]))
            kept = token.end()
        depth -= mark in _CLOSING
    return _put_back(_lenient(bytes(outline + body[kept:])), items)


def _put_back(told: Any, items: list[Any]) -> Any:  # any JSON
    if isinstance(told, dict):
        return {key: _put_back(value, items) for key, value in told.items()}
    if isinstance(told, list):
        return [_put_back(value, items) for value in told]
    is_place = isinstance(told, str) and told[:1] == "\0" and told[1:].isdecimal() and len(told) < 10
    return items[int(told[1:])] if is_place and int(told[1:]) < len(items) else told


def _number(digits: str) -> int | float:
    """As orjson reads it: what exceeds 64 bits is a float."""
    return int(digits) if len(digits) < 19 else float(digits)


def _items(body: bytes) -> Iterator[bytes]:
    """The bytes of each item of a list, found by brackets and commas outside of strings."""
    refusal = Malformed("The body is not JSON.", code="malformed_json")
    content = body.removeprefix(_BYTE_ORDER_MARK).strip()
    if content[:1] != b"[" or content[-1:] != b"]":
        raise refusal
    found, depth, start = [], 0, 1
    for token in _TOKEN.finditer(content):
        mark = content[token.start()]
        if mark in _OPENING:
            depth += 1
        elif mark in _CLOSING:
            depth -= 1
        is_last = depth == 0
        if is_last or (depth == 1 and mark == ord(",")):
            found.append(content[start : token.start()])
            start = token.end()
        if is_last:
            break
    if start != len(content):
        raise refusal
    return (item for item in found if len(found) > 1 or item.strip())
