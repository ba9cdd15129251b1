"""Paths are routed as they were written: an id may hold `/`, `%`, `@`, `+` and any unicode, percent-encoded."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import unquote

from fastapi import Path
from pydantic import AfterValidator
from starlette.types import ASGIApp, Receive, Scope, Send

from domain.payload import TEXT_FAULTS, text_fault

MAX_ID_LENGTH = 255


class RawPath:
    """Routes on the raw path, so that an encoded slash does not end a segment. Parameters arrive still encoded."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Put the path as it was written into the scope."""
        if scope["type"] == "http" and scope.get("raw_path"):
            scope["path"] = scope["raw_path"].partition(b"?")[0].decode("ascii", errors="replace")
        await self._app(scope, receive, send)


def decode_segment(encoded: str) -> str:
    """The text of one percent-encoded path segment; raises ValueError for what cannot be an id."""
    text = unquote(encoded, errors="strict")
    if fault := text_fault(text):
        raise ValueError(TEXT_FAULTS[fault])
    if len(text) > MAX_ID_LENGTH:
        raise ValueError(f"an id has at most {MAX_ID_LENGTH} characters")
    return text


CustomerRef = Annotated[
    str,
    Path(
        description="The shop's own user id, percent-encoded.",
        examples=["ann%40example.com"],
        json_schema_extra={"minLength": 1, "maxLength": MAX_ID_LENGTH},  # of the id itself, not of how it is encoded
    ),
    AfterValidator(decode_segment),
]
"""A customer's id in a path, decoded: `customer_id: CustomerRef`."""

AnonymousRef = Annotated[
    str,
    Path(
        description="An anonymous id, as browsers and devices make them, percent-encoded.",
        examples=["1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"],
        json_schema_extra={"minLength": 1, "maxLength": MAX_ID_LENGTH},
    ),
    AfterValidator(decode_segment),
]
"""A visitor's id in a path, decoded."""

PathText = Annotated[str, Path(), AfterValidator(decode_segment)]
"""Any other path parameter that may hold more than letters, digits, `-` and `_`."""
