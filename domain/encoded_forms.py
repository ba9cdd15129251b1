"""The forms in which an address or id may stand in other data: encoded for links, for transport, or hashed unkeyed."""

from __future__ import annotations

import hashlib
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote

FORMS: Final = ("plain", "percent", "base64", "hex", "md5", "sha1", "sha256")
"""What is looked for as it stands; what has to be decoded is domain/disguises.py. Hashes are those that advertising and
avatar services make of an address in small letters."""


def encoded_forms(value: str) -> Mapping[str, Iterable[str]]:
    """By form, the texts to look for, in small letters: who compares lowers the other side as well."""
    plain = value.lower()
    found = {
        "plain": [plain],
        "percent": [quote(plain, safe=""), quote(quote(plain, safe=""), safe="")],
        "base64": _base64(value) | _base64(plain),
        "hex": [value.encode().hex(), plain.encode().hex()],
        **{name: [hashlib.new(name, plain.encode(), usedforsecurity=False).hexdigest()] for name in _HASHES},
    }
    return {form: sorted({text.lower() for text in texts} - _said_before(form, plain)) for form, texts in found.items()}


_HASHES: Final = ("md5", "sha1", "sha256")


def _said_before(form: str, plain: str) -> set[str]:
    """An id without special characters looks the same in most forms."""
    return set() if form == "plain" else {plain}


def _base64(value: str) -> set[str]:
    """What surely stands in the base64 of any text that holds the value, wherever in it."""
    texts = set()
    for offset in range(3):
        raw = b"\0" * offset + value.encode()
        first, end = -(-offset * 8 // 6), len(raw) * 8 // 6
        texts |= {encode(raw).decode()[first:end] for encode in (b64encode, urlsafe_b64encode)}
    return texts
