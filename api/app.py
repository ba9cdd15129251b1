"""The HTTP API as one ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from api import (
    browser,
    challenge_completions,
    challenges,
    consent,
    contests,
    coupons,
    customers,
    earnings,
    erasures,
    exports,
    hooks,
    icon,
    imports,
    inbox,
    ingest,
    journeys,
    liability,
    links,
    manual,
    merges,
    messages,
    meta_hooks,
    moving_in,
    operations,
    points,
    programmes,
    redemptions,
    referral_links,
    referrals,
    restrictions,
    rewards,
    runs,
    settings,
    shares,
    sharing_totals,
    social,
    submissions,
    suppressions,
    templates,
    tiers,
    visitors,
)
from api.auth import KeyRing
from api.bell import Bell
from api.body_time import BodyTime
from api.browser import BrowserAccess
from api.dependencies import ApiDependencies
from api.openapi import describe
from api.paths import RawPath
from api.problems import UnexpectedErrors, install_problems

_ROUTERS = (
    operations.router,
    ingest.router,
    browser.router,
    journeys.router,
    templates.router,
    tiers.router,
    programmes.router,
    challenges.router,
    challenges.members,
    challenge_completions.router,
    contests.router,
    contests.public,
    rewards.router,
    redemptions.router,
    coupons.router,
    runs.router,
    imports.router,
    moving_in.router,
    customers.router,
    consent.router,
    merges.router,
    points.router,
    liability.router,
    earnings.router,
    exports.router,
    erasures.router,
    visitors.router,
    restrictions.router,
    suppressions.router,
    messages.router,
    settings.router,
    links.router,
    sharing_totals.router,  # before the routes that take an id in its place
    referrals.router,
    referral_links.router,
    shares.router,
    submissions.router,
    social.router,
    hooks.router,
    meta_hooks.router,
    inbox.router,
    icon.router,
    manual.router,
)


@cache
def _routes() -> list[BaseRoute]:
    """What all applications of this process share: at its first request FastAPI works for half a second on routes."""
    app = FastAPI(openapi_url=None, generate_unique_id_function=_operation_id, strict_content_type=False)
    for router in _ROUTERS:
        app.include_router(router)
    return app.routes


def create_app(dependencies: ApiDependencies) -> FastAPI:
    """The application, ready to be served; its lifespan holds what runs beside the requests."""
    app = FastAPI(
        docs_url=None,  # manual.py's
        redoc_url=None,
        title="Perennial",
        summary="Customer journeys for shops: Segment events in, journeys on Temporal, email through one gate.",
        version="1",
        redirect_slashes=False,
        lifespan=_lifespan,
    )
    app.state.dependencies = dependencies
    app.state.key_ring = KeyRing(dependencies)
    app.state.bell = Bell(dependencies.database)
    install_problems(app)
    # The last one added is the outermost.
    app.add_middleware(UnexpectedErrors)
    app.add_middleware(BrowserAccess)
    app.add_middleware(RawPath)
    app.add_middleware(BodyTime)
    app.router.routes.extend(_routes())
    manual.serve_files(app)
    describe(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    bell: Bell = app.state.bell
    async with bell.running():
        yield
    await app.state.dependencies.renderer.close()


def _operation_id(route: APIRoute) -> str:
    """Clients are generated from these: the function's own name, which is unique among the routes (tested)."""
    return route.name
