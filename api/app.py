"""The HTTP API as one ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module, util

from fastapi import APIRouter, FastAPI

from api.auth import KeyRing
from api.dependencies import ApiDependencies
from api.paths import RawPath
from api.problems import UnexpectedErrors, install_problems

_ROUTERS = (
    "operations",
    "ingest",
    "browser",
    "journeys",
    "templates",
    "runs",
    "customers",
    "messages",
    "settings",
    "links",
    "hooks",
    "inbox",
)


def create_app(dependencies: ApiDependencies) -> FastAPI:
    """The application, ready to be served; its lifespan holds what runs beside the requests."""
    app = FastAPI(
        title="Perennial",
        summary="Customer journeys for shops: Segment events in, journeys on Temporal, email through one gate.",
        version="1",
        redirect_slashes=False,
        strict_content_type=False,
        lifespan=_lifespan,
    )
    app.state.dependencies = dependencies
    app.state.key_ring = KeyRing(dependencies)
    install_problems(app)
    app.add_middleware(RawPath)
    app.add_middleware(UnexpectedErrors)
    for router in _routers():
        app.include_router(router)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield


def _routers() -> list[APIRouter]:
    names = [name for name in _ROUTERS if util.find_spec(f"api.{name}")]
    return [import_module(f"api.{name}").router for name in names]
