"""A TCP proxy before Temporal that can stand still, lose answers or refuse, as networks and busy servers do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class TemporalProxy:
    """Passes bytes on while `open` is set. Once it has passed `stall_after` pieces of requests on, it stalls by itself,
    or breaks all connections and refuses new ones where `refuses` is set.
    """

    def __init__(self, target: str) -> None:
        host, port = target.rsplit(":", 1)
        self._target = (host, int(port))
        self.open = asyncio.Event()
        self.stall_after: int | None = None
        self.refuses = False
        self.stalled = asyncio.Event()
        self.passed = 0
        self.address = ""
        self._writers: set[asyncio.StreamWriter] = set()

    def drop(self) -> None:
        """Break every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        if self.refuses and not self.open.is_set():
            writer.transport.abort()
            return
        with suppress(OSError):
            upstream_reader, upstream = await asyncio.open_connection(*self._target)
            self._writers |= {writer, upstream}
            await asyncio.gather(
                self._pass_on(reader, upstream, counted=True), self._pass_on(upstream_reader, writer, counted=False)
            )
            self._writers -= {writer, upstream}

    async def _pass_on(self, source: asyncio.StreamReader, to: asyncio.StreamWriter, *, counted: bool) -> None:
        with suppress(OSError):
            while data := await source.read(65_536):
                self.passed += counted
                if counted and self.stall_after is not None and self.passed > self.stall_after:
                    self.stall_after = None
                    self.open.clear()
                    self.stalled.set()
                    if self.refuses:
                        self.drop()
                await self.open.wait()
                to.write(data)
                await to.drain()
        to.close()


@asynccontextmanager
async def proxied(target: str) -> AsyncIterator[TemporalProxy]:
    """A proxy before `host:port`; it passes everything on at first."""
    proxy = TemporalProxy(target)
    proxy.open.set()
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    proxy.address = f"{host}:{port}"
    try:
        yield proxy
    finally:
        server.close()
        proxy.drop()
