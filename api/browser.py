"""What browsers ask of the ingest host: permission to call from the shop's pages (CORS), and the SDKs' settings.

Permission is given for taking events and for settings only, never for the rest of the API, and never with cookies: a
write key is what lets a page in, not where it was loaded from. No answer repeats a key: the settings name a browser
key by its id, which is as public as the key and does as much. Addresses are the configured ones, never `Host`.
"""

from __future__ import annotations

import mimetypes
from typing import Any
from urllib.parse import urlsplit

import orjson
from fastapi import APIRouter, Request, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import FileResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth import get_key_ring, presented_key
from api.dependencies import get_dependencies
from api.ingest import INGEST_PATHS
from api.limits import LIMIT_HEADERS
from domain.errors import NotFound

router = APIRouter(tags=["browser"])

_OPEN_PREFIXES = ("/v1/projects/", "/sourceConfig", "/analytics.js/")
_PREFLIGHT_SECONDS = 86_400
_READABLE = ", ".join(("Retry-After", *LIMIT_HEADERS))
"""What a page may read of an answer's headers besides those that browsers always show: when to try again."""


class BrowserAccess:
    """Answers preflights for the open paths and lets pages of any origin read the answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer OPTIONS; mark the answers of the open paths."""
        if scope["type"] != "http" or not _is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        asked = Headers(scope=scope)
        if scope["method"] == "OPTIONS":
            await Response(status_code=204, headers=_preflight(asked, scope["path"]))(scope, receive, send)
            return

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if permission := _permission(asked):
                    headers.update({**permission, "Access-Control-Expose-Headers": _READABLE})
                headers.add_vary_header("Origin")
            await send(message)

        await self._app(scope, receive, send_marked)


@router.get("/v1/projects/{write_key}/settings", summary="The settings that Segment's browser SDK starts with")
async def segment_settings(write_key: str, request: Request) -> Response:
    """Sends the SDK's events to `public_url`, in a form the SDK knows as its own."""
    key = await get_key_ring(request).identify(write_key, remember=True)
    ours = urlsplit(get_dependencies(request).public_url)
    allowed = {"__default": {"enabled": True, "integrations": {}}}
    return _document(
        request,
        {
            "integrations": {
                "Segment.io": {
                    "apiKey": key.id,
                    "apiHost": f"{ours.netloc}{ours.path.rstrip('/')}/v1",
                    "protocol": ours.scheme,
                    "unbundledIntegrations": [],
                    "addBundledMetadata": True,
                    "maybeBundledConfigIds": {},
                    "versionSettings": {"version": "4.4.7", "componentTypes": ["browser"]},
                }
            },
            "plan": {"track": allowed, "identify": allowed, "group": allowed},
            "edgeFunction": {},
            "analyticsNextEnabled": True,
            "middlewareSettings": {},
            "enabledMiddleware": {},
            "metrics": {"sampleRate": 0},
            "legacyVideoPluginsEnabled": False,
            "remotePlugins": [],
        },
    )


@router.get("/sourceConfig/", include_in_schema=False)
@router.get("/sourceConfig", summary="The settings that RudderStack's browser SDK starts with")
async def rudder_settings(request: Request, writeKey: str | None = None) -> Response:  # noqa: N803  # the SDK's name
    """The key comes as Basic user or as a parameter; destinations are nobody's business here, so there are none."""
    key = await get_key_ring(request).identify(writeKey or presented_key(request), remember=True)
    quiet = {"enabled": False}
    source: dict[str, Any] = {  # the SDK's own document
        "id": key.id,
        "name": key.source,
        "writeKey": key.id,
        "enabled": True,
        "workspaceId": "perennial",
        "destinations": [],
        "config": {"statsCollection": {"errors": quiet, "metrics": quiet}},
        "connections": [],
        "dataplanes": {},
    }
    return _document(request, {"source": source, "updatedAt": "2026-01-01T00:00:00Z"})


@router.get("/analytics.js/v1/{write_key}/{file}", include_in_schema=False)
async def browser_sdk(write_key: str, file: str, request: Request) -> Response:
    """Segment's browser SDK and its chunks, where the operator has put them (`analytics_js_dir`)."""
    await get_key_ring(request).identify(write_key, remember=True)
    folder = get_dependencies(request).analytics_js_dir
    wanted = "standalone.js" if file == "analytics.min.js" else file
    found = next((path for path in folder.iterdir() if path.name == wanted), None) if folder else None
    if found is None or not found.is_file():
        raise NotFound(
            "this host does not serve the SDK: bundle @segment/analytics-next with the shop, or set analytics_js_dir",
            code="sdk_not_installed",
        )
    media_type = mimetypes.guess_type(found.name)[0]
    return FileResponse(found, media_type=media_type, headers={"Cache-Control": "public, max-age=3600"})


def _is_open(path: str) -> bool:
    return path in INGEST_PATHS or path.startswith(_OPEN_PREFIXES)


def _permission(asked: Headers) -> dict[str, str]:
    origin = asked.get("origin")
    return {"Access-Control-Allow-Origin": origin} if origin else {}


def _preflight(asked: Headers, path: str) -> dict[str, str]:
    """What was asked for is what is allowed: the SDKs send headers of their own, and none of them opens anything."""
    methods = "POST, OPTIONS" if path in INGEST_PATHS else "GET, OPTIONS"
    return {
        **_permission(asked),
        "Vary": "Origin",
        "Allow": methods,
        "Access-Control-Allow-Methods": methods,
        "Access-Control-Allow-Headers": asked.get("access-control-request-headers", "authorization, content-type"),
        "Access-Control-Max-Age": str(_PREFLIGHT_SECONDS),
    }


def _document(request: Request, content: dict[str, Any]) -> Response:  # the SDKs' own documents
    """Caches that browsers share may keep it only where the address alone says whose it is."""
    shared = "authorization" not in request.headers
    headers = {"Cache-Control": "public, max-age=60" if shared else "private, no-store", "Vary": "Authorization"}
    return Response(orjson.dumps(content), media_type="application/json", headers=headers)
