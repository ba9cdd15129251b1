"""JSON pointers (RFC 6901) to the places in a document that its model complains about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from domain.payload import escape_pointer


def pointer_to(location: Sequence[str | int], document: Any, *, missing: bool = False) -> str:  # any JSON
    """The pointer of a pydantic location. The model's own words in it (the tags of unions) are no part of the document.

    `missing`: the last part names a member that should be there.
    """
    parts: list[str | int] = []
    here = document
    for part in location:
        is_member = isinstance(here, dict) and part in here
        is_item = isinstance(here, list) and isinstance(part, int) and 0 <= part < len(here)
        if is_member or is_item:
            here = here[part]
            parts.append(part)
    if missing and location and not (parts and parts[-1] == location[-1]):
        parts.append(location[-1])
    return "".join(f"/{escape_pointer(str(part))}" for part in parts)
