"""Serving an ASGI application beside a process's own work; the process, not the server, decides when it ends."""

from __future__ import annotations

import asyncio
import resource
import signal
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Any

import uvicorn

from perennial.http_protocol import BoundedProtocol

_GRACE_SECONDS = 20


@asynccontextmanager
async def serving(app: Any, host: str, port: int, *, trusted_proxies: str = "127.0.0.1") -> AsyncIterator[None]:
    """Serve the ASGI application while the block runs; running requests are finished before it returns.

    Access logs are off: paths hold customers' ids, which are often e-mail addresses.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        http=BoundedProtocol,
        ws="none",
        forwarded_allow_ips=trusted_proxies,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    _allow_connections()
    server = _Server(config)
    task = asyncio.create_task(server.serve(), name=f"serve {port}")
    try:
        yield
    finally:
        server.should_exit = True
        await task


def _allow_connections() -> None:
    """As many open files as this process may have: idle connections of others must not keep new ones out."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    requested = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, requested.set)
    return requested


class _Server(uvicorn.Server):
    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]  # uvicorn's is a generator
        return nullcontext()
