"""An API whose answers get lost: what the client hears is a fault, what happened may be anything."""

from __future__ import annotations

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class LosesAnswers:
    """Lets the first `count` posts through to `app` and answers them with `status`: the worst case of a fault."""

    def __init__(self, app: ASGIApp, *, count: int, status: int) -> None:
        self._app = app
        self._left = count
        self._status = status
        self.posts = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and lose the answer."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        self.posts += 1
        if not self._left:
            await self._app(scope, receive, send)
            return
        self._left -= 1

        async def lose(_: Message) -> None:
            return

        await self._app(scope, receive, lose)
        fault = {"code": "lost", "message": "the answer was lost"}
        await JSONResponse(fault, self._status, headers={"Retry-After": "1"})(scope, receive, send)
