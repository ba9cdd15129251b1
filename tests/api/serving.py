"""Serves an ASGI application over real HTTP for the length of a block."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[str]:
    """The address of `app`, listening on a free port of the loopback interface, in this process' event loop."""
    server = uvicorn.Server(uvicorn.Config(app, access_log=False, log_config=None))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            await asyncio.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:  # else the loop goes on watching a number that the next socket gets
            server.should_exit = True
            await running
