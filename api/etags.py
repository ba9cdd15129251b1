"""Editable documents carry an `ETag`; a change with an `If-Match` that no longer fits gets 412."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Header

from domain.errors import PreconditionFailed

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=1_000,
        include_in_schema=False,  # told with the ETag below: a value made up from a schema never fits
    ),
]

ETAG_HEADER: Final[dict[int | str, dict[str, Any]]] = {  # FastAPI's type of `responses`
    200: {
        "headers": {
            "ETag": {
                "description": "Tag of this state. Sent back as `If-Match`, a change gets 412 if it no longer fits.",
                "schema": {"type": "string"},
            }
        }
    }
}


def check_if_match(if_match: str | None, etag: str | None) -> None:
    """Raises PreconditionFailed unless the header is absent or names the current tag (None: there is no document)."""
    if if_match is None:
        return
    wanted = {tag.strip().removeprefix("W/").strip('"') for tag in if_match.split(",")}
    if etag is None or not wanted & {"*", etag}:
        current = f'its ETag is now "{etag}"' if etag else "it does not exist"
        raise PreconditionFailed(
            f"If-Match does not fit the document: {current}. Read it again and repeat your change."
        )
