"""`/livez`, `/readyz` and `/metrics` of the processes that serve nothing else: router and worker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from perennial.metrics import Metrics

Check = Callable[[], Awaitable[None]]
"""Returns when all is well, raises when not."""

_PATIENCE_SECONDS = 3.0


def health_pages(checks: Mapping[str, Check], metrics: Metrics, *, shown: Mapping[str, Check] = {}) -> Starlette:
    """The application; `/readyz` is 200 when every check returns in time, else 503, naming each outcome.

    The outcomes of `shown` are named beside them and decide nothing: the process works without.
    """

    async def livez(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_request: Request) -> Response:
        outcomes = await _outcomes({**checks, **shown})
        is_ready = all(outcomes[name] == "ok" for name in checks)
        return JSONResponse({"ready": is_ready, **outcomes}, status_code=200 if is_ready else 503)

    async def scrape(_request: Request) -> Response:
        return Response(await metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", scrape)])


async def _outcomes(checks: Mapping[str, Check]) -> dict[str, str]:
    outcomes = await asyncio.gather(*(_outcome(check) for check in checks.values()))
    return dict(zip(checks, outcomes, strict=True))


async def _outcome(check: Check) -> str:
    """`ok`, or the type of what the check raised."""
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await check()
    except Exception as error:  # noqa: BLE001  # whatever is wrong with a dependency, the answer is "not ready"
        return type(error).__name__
    return "ok"
