"""What JSON from outside must be like so that it can be stored and worked with: no NUL, finite, not too deep."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

MAX_DEPTH = 64
"""Objects and lists within each other. PostgreSQL and Python both give up somewhere beyond 1,000."""


@dataclass(frozen=True, slots=True)
class PayloadFault:
    """Why a value cannot be stored: a stable code, a sentence, and the JSON pointer of the place."""

    code: str
    message: str
    pointer: str


def find_fault(value: Any, *, pointer: str = "") -> PayloadFault | None:  # any JSON
    """The first thing in a JSON value that `jsonb` refuses or that is nested too deeply; None when it is fine.

    Walks with a stack of its own, so that hostile nesting costs memory in proportion to its size and nothing else.
    """
    stack: list[tuple[Any, str, int]] = [(value, pointer, 1)]
    while stack:
        item, place, depth = stack.pop()
        if isinstance(item, str):
            code = text_fault(item)
            if code:
                return PayloadFault(code, TEXT_FAULTS[code], place)
        elif isinstance(item, float):
            if not math.isfinite(item):
                return PayloadFault("number_not_finite", "numbers must be finite and fit 64 bits", place)
        elif isinstance(item, dict | list):
            if depth > MAX_DEPTH:
                return PayloadFault("too_deep", f"objects and lists may be nested {MAX_DEPTH} levels deep", place)
            for key in item if isinstance(item, dict) else ():
                if code := text_fault(key):
                    return PayloadFault(code, TEXT_FAULTS[code], place)
            members = item.items() if isinstance(item, dict) else enumerate(item)
            stack.extend((member, f"{place}/{escape_pointer(str(key))}", depth + 1) for key, member in members)
    return None


TEXT_FAULTS = {
    "nul_character": "text may not contain the NUL character (\\u0000)",
    "lone_surrogate": "text may not contain half of a surrogate pair (\\ud800 to \\udfff)",
}


def text_fault(text: str) -> str | None:
    """The code in TEXT_FAULTS of what keeps a text from being stored, None when nothing does."""
    if "\0" in text:
        return "nul_character"
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        return "lone_surrogate"
    return None


def escape_pointer(token: str) -> str:
    """One reference token of a JSON pointer (RFC 6901)."""
    return token.replace("~", "~0").replace("/", "~1")
