"""Who follows a link that nobody was sent in a message: the request, as domain/engagement.py judges it."""

from __future__ import annotations

from datetime import timedelta

from fastapi import Request

from api.dependencies import get_dependencies
from domain.client_addresses import truncate_address
from domain.engagement import Visit

_LONGEST_AGENT = 300
_LONG_AGO = timedelta(days=1)


def visit_of(request: Request, since: timedelta = _LONG_AGO) -> Visit:
    """The visit. `since`: how long ago the link was made, where that is known."""
    purpose = request.headers.get("sec-purpose", request.headers.get("purpose", "")).lower()
    return Visit(
        method=request.method,
        user_agent=request.headers.get("user-agent", "").encode("ascii", "replace").decode()[:_LONGEST_AGENT],
        since_accepted=since,
        address=request.client.host if request.client else None,
        is_prefetch="prefetch" in purpose or "preview" in purpose,
    )


def address_to_keep(request: Request) -> str | None:
    """The client's address as it may be stored, compared and hashed; for judging who it is, the whole one is used."""
    whole = request.client.host if request.client else None
    truncates = get_dependencies(request).truncate_ip
    return truncate_address(whole) if whole is not None and truncates else whole
