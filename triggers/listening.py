"""Waiting for PostgreSQL's NOTIFY on a connection of our own. A bell is a hint: the clock is the fallback."""

from __future__ import annotations

import asyncio
from types import TracebackType

import asyncpg
import structlog

log = structlog.get_logger(__name__)

_RECONNECT_SECONDS = 1.0


class Listener:
    """Listens to one channel for as long as the block lasts, and connects again when the connection is lost."""

    def __init__(self, url: str, channel: str) -> None:
        self._url = url
        self._channel = channel
        self._rings = 0
        self._rung = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Listener:
        self._task = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def heard(self) -> int:
        """How often the bell has rung: ask before looking, so that a ring while looking is not lost."""
        return self._rings

    async def wait(self, heard: int, seconds: float, stop: asyncio.Event) -> None:
        """Wait until the bell has rung since `heard`, `seconds` are over, or `stop` is set."""
        if self._rings != heard or seconds <= 0 or stop.is_set():
            return
        self._rung.clear()
        waiters = [asyncio.create_task(self._rung.wait()), asyncio.create_task(stop.wait())]
        await asyncio.wait(waiters, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for waiter in waiters:
            waiter.cancel()
        await asyncio.gather(*waiters, return_exceptions=True)

    def ring(self, *_: object) -> None:
        """Somebody has something for us."""
        self._rings += 1
        self._rung.set()

    async def _listen(self) -> None:
        while True:
            try:
                await self._listen_once()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("not listening", channel=self._channel, error=type(error).__name__)
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _listen_once(self) -> None:
        """Listen until the connection ends. The first ring makes up for what was missed before."""
        connection = await asyncpg.connect(
            self._url, server_settings={"application_name": f"perennial {self._channel}"}
        )
        ended = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _: ended.set())
            await connection.add_listener(self._channel, self.ring)
            self.ring()
            await ended.wait()
        finally:
            connection.terminate()
