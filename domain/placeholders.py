"""Ids that are none: `undefined`, `guest`, blanks and their like, which a fault in a shop's code gives everybody."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from domain.mailboxes import folded

_FILE = Path(__file__).with_name("placeholder_ids.txt")
_IDS = frozenset(
    line.strip() for line in _FILE.read_text("utf-8").splitlines() if line.strip() and not line.startswith("# ")
)
_WORD = re.compile(r"[^\W_]+")
_JOINED = frozenset("".join(_WORD.findall(each)) for each in _IDS if any(map(str.isalpha, each)))
_ZEROS = frozenset("0-.:_ ")  # 0, 0000, the UUID of zeros
_UUID_DIGITS = 32
_UNFILLED = (("{", "}"), ("${", "}"), ("%", "%"), ("<%", "%>"), ("[[", "]]"))  # a template that nobody filled in


def somebody(user_id: str | None, anonymous_id: str | None) -> tuple[str | None, str | None]:
    """The two ids of an event without a placeholder that stands beside a real id. Alone it stays: each event is
    somebody's.
    """
    if user_id is None or anonymous_id is None:
        return user_id, anonymous_id
    if is_placeholder(user_id):
        return None, anonymous_id
    return user_id, None if is_placeholder(anonymous_id) else anonymous_id


@lru_cache(maxsize=8_192)
def is_placeholder(value: str) -> bool:
    """Whether an id names nobody. Customers are never merged on such an id."""
    bare = value.strip().casefold() if value.isascii() else folded(value)
    words = _WORD.findall(bare)
    joined = "".join(words)
    if bare.isascii() and not joined:  # blanks and punctuation
        return True
    if "0" in bare and _ZEROS.issuperset(bare):
        return True
    if len(joined) == _UUID_DIGITS and len(set(joined)) == 1:  # ffffffff-ffff-...
        return True
    if bare in _IDS or joined in _JOINED or (len(set(words)) == 1 and words[0] in _JOINED):  # not-set, null_null
        return True
    return any(bare.startswith(first) and bare.endswith(last) for first, last in _UNFILLED)
