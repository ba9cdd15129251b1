"""Addresses and ids that are written so that they do not stand in a text as they are: letters escaped one by one, in
another width, with characters between them that nobody sees. They are found by undoing that and comparing.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Final
from urllib.parse import unquote

from domain.mailboxes import printed

_PLAIN: Final = frozenset(ascii_lowercase + ascii_uppercase + digits + "@.+-_")
"""What addresses and ids are made of: that any of these is escaped is a sign of a disguise."""
_TIMES: Final = 4
"""So often one disguise is taken off after the other: `%2540`, an entity in a percent."""
_ESCAPE: Final = re.compile(r"\\+(?:u([0-9a-f]{4})|u\{([0-9a-f]{1,5})\}|x([0-9a-f]{2}))", re.IGNORECASE)


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(next(filter(None, found.groups())), 16)), text)


def _unquoted(text: str) -> str:
    return unquote(re.sub("%(?:25)+", "%", text))


def _narrow(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _without_unseen(text: str) -> str:
    return text if text.isascii() else _unseen().sub("", text)


_UNDO: Final[Mapping[str, Callable[[str], str]]] = {
    "percent": _unquoted,
    "entity": html.unescape,
    "unicode_escape": _unescaped,
    "wide": _narrow,
    "invisible": _without_unseen,
}
MIXED: Final = "mixed"
"""Several disguises at once."""
DISGUISES: Final = (*_UNDO, MIXED)


def plain(text: str) -> str:
    """A text with all disguises taken off, in small letters."""
    for _ in range(_TIMES):
        before = text
        for undo in _UNDO.values():
            text = undo(text)
        if text == before:
            break
    return text.lower()


def disguises_of(text: str, needles: Sequence[str]) -> list[str]:
    """In which disguises a text shows any of the needles (`needle_of`); none where it does not."""
    if not _shows(plain(text), needles):
        return []
    return [name for name, undo in _UNDO.items() if _shows(undo(text).lower(), needles)] or [MIXED]


def needle_of(value: str) -> str:
    """What to look for in `plain` texts."""
    return printed(value).lower()


def _shows(text: str, needles: Iterable[str]) -> bool:
    return any(needle in text for needle in needles)


@lru_cache(maxsize=1)
def sign() -> str:
    """A regular expression, of Python and PostgreSQL alike, for texts in small letters that may hide something: most
    hold none of it, so few texts have to be read."""
    hexadecimal = "2[bde]|3[0-9]|4[0-9a-f]|5[0-9af]|6[0-9a-f]|7[0-9a]"
    decimal = "4[356]|4[89]|5[0-7]|6[4-9]|[78][0-9]|90|95|9[7-9]|1[01][0-9]|12[0-2]"
    return "|".join(
        (
            rf"\\u(?:00(?:{hexadecimal})|\{{)",
            r"\\x[0-9a-f]{2}\\",
            rf"&#(?:0*(?:{decimal})(?![0-9])|x0*(?:{hexadecimal})(?![0-9a-f]))",
            "&(?:commat|period|lowbar|plus|hyphen|dash);",
            rf"%(?:25)*(?:{hexadecimal})",
            _unseen().pattern,
            f"[{_ranges(_alike())}]",
        )
    )


@lru_cache(maxsize=1)
def _unseen() -> re.Pattern[str]:
    return re.compile(f"[{_ranges([each for each in _characters() if not printed(chr(each))])}]")


@lru_cache(maxsize=1)
def _alike() -> Sequence[int]:
    """Characters that are plain ones in another width or shape."""
    return [each for each in _characters() if (seen := printed(chr(each))) and _PLAIN.issuperset(seen)]


@lru_cache(maxsize=1)
def _characters() -> Sequence[int]:
    """All that may be a disguise: beyond ASCII, no blanks, and no Han and Hangul."""
    planes = (*range(0xA1, 0x3400), *range(0xF900, 0x11000), *range(0x1D000, 0x20000), *range(0xE0000, 0xE1000))
    return [each for each in planes if unicodedata.category(chr(each)) not in ("Zs", "Zl", "Zp")]


def _ranges(codes: Sequence[int]) -> str:
    """The characters as they stand between brackets."""
    spans: list[list[int]] = []
    for code in codes:
        if spans and code == spans[-1][1] + 1:
            spans[-1][1] = code
        else:
            spans.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in spans)
