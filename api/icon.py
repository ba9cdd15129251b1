"""The icon that browsers ask every host for, whatever page of ours they show: the inbox, preferences, a message."""

from __future__ import annotations

from fastapi import APIRouter, Response

PATH = "/favicon.ico"
_SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#1f5c4d"/>'
    '<path d="M16 26V15M16 18C8 18 7 12 7 8c7 0 9 4 9 10ZM16 15c0-5 3-8 9-8 0 5-3 8-9 8Z" fill="#fff" stroke="#fff"'
    ' stroke-linejoin="round"/></svg>'
)
_KEPT = {"Cache-Control": "public, max-age=86400", "X-Content-Type-Options": "nosniff"}

router = APIRouter(include_in_schema=False)


@router.get(PATH)
async def show_icon() -> Response:
    """A seedling."""
    return Response(_SVG, media_type="image/svg+xml", headers=_KEPT)
