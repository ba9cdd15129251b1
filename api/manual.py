"""The page at /docs where people read and try the API, with files of its own: it works without the internet.

A router like the others rather than FastAPIOffline, whose pages are functions made anew for each application: FastAPI
remembers every function it calls for the life of the process, and by these it would keep every application.
"""

from __future__ import annotations

from pathlib import Path

import fastapi_offline
from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from api import icon

_FILES = "/docs/files"
_FOLDER = Path(fastapi_offline.__file__).parent / "static"

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def show_manual(request: Request) -> HTMLResponse:
    """Swagger UI over the application's OpenAPI document."""
    app: FastAPI = request.app
    root: str = request.scope.get("root_path", "")  # where a proxy serves us under a path of its own
    return get_swagger_ui_html(
        openapi_url=f"{root}{app.openapi_url}",
        title=f"{app.title} - Swagger UI",
        swagger_js_url=f"{root}{_FILES}/swagger-ui-bundle.js",
        swagger_css_url=f"{root}{_FILES}/swagger-ui.css",
        swagger_favicon_url=icon.PATH,
    )


def serve_files(app: FastAPI) -> None:
    """The scripts and styles of the page."""
    app.mount(_FILES, StaticFiles(directory=_FOLDER), name="manual-files")
