"""How long a body may take: ten seconds to its first byte, thirty in all; then 408."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from domain.errors import TooSlow

FIRST_SECONDS: Final = 10.0
WHOLE_SECONDS: Final = 30.0


class BodyTime:
    """Raises TooSlow where a route reads its body, when the client takes too long to send it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on a `receive` that keeps time from when it is first asked."""
        await self._app(scope, _Receiver(receive).receive if scope["type"] == "http" else receive, send)


class _Receiver:
    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._is_whole = False
        self._began: float | None = None
        self._limit = FIRST_SECONDS

    async def receive(self) -> Message:
        if self._is_whole:
            return await self._receive()
        now = asyncio.get_running_loop().time()
        self._began = now if self._began is None else self._began
        try:
            async with asyncio.timeout_at(self._began + self._limit):
                message = await self._receive()
        except TimeoutError:
            raise TooSlow(f"the body did not come within {self._limit:g} seconds") from None
        self._is_whole = not message.get("more_body", False)
        if message.get("body"):
            self._limit = WHOLE_SECONDS
        return message
