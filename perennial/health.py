"""`/livez`, `/readyz` and `/metrics` of the processes that serve nothing else: router and worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from perennial.metrics import Metrics

Check = Callable[[], Awaitable[None]]
"""Returns when all is well, raises when not."""

_PATIENCE_SECONDS = 3.0


async def run_checks(checks: Mapping[str, Check]) -> dict[str, str]:
    """The outcome of each check by name: `ok`, or the type of what it raised."""

    async def outcome(check: Check) -> str:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await check()
        except Exception as error:  # noqa: BLE001  # whatever is wrong with a dependency, the answer is "not ready"
            return type(error).__name__
        return "ok"

    outcomes = await asyncio.gather(*(outcome(check) for check in checks.values()))
    return dict(zip(checks, outcomes, strict=True))


@asynccontextmanager
async def health_server(host: str, port: int, checks: Mapping[str, Check], metrics: Metrics) -> AsyncIterator[None]:
    """Serve the three pages while the block runs. Stops with the block; signals stay with the process."""
    server = _Server(uvicorn.Config(_app(checks, metrics), host=host, port=port, log_config=None, access_log=False))
    serving = asyncio.create_task(server.serve(), name="health")
    try:
        yield
    finally:
        server.should_exit = True
        await serving


class _Server(uvicorn.Server):
    """A server beside the process's main work: it leaves SIGTERM and SIGINT alone."""

    def capture_signals(self) -> Any:  # uvicorn's own annotation is a generator's
        return nullcontext()


def _app(checks: Mapping[str, Check], metrics: Metrics) -> Starlette:
    async def livez(_request: Request) -> Response:
        return PlainTextResponse("ok")

    async def readyz(_request: Request) -> Response:
        outcomes = await run_checks(checks)
        is_ready = all(outcome == "ok" for outcome in outcomes.values())
        return JSONResponse({"ready": is_ready, "checks": outcomes}, status_code=200 if is_ready else 503)

    async def scrape(_request: Request) -> Response:
        return Response(await metrics.text(), media_type="text/plain; version=0.0.4")

    return Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", scrape)])
