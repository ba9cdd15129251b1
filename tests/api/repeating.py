"""Calls repeated as clients repeat them: on a busy machine a burst may be told to come again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx


async def until_answered(call: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """The first answer that is not "later". `call` may be repeated: it has a key, or names what it is about."""
    async with asyncio.timeout(120):
        while True:
            try:
                answer = await call()
            except httpx.TransportError:  # nobody had time to accept the connection
                continue
            if answer.status_code != 503 and not _is_in_progress(answer):
                return answer
            await asyncio.sleep(0.1)


def _is_in_progress(answer: httpx.Response) -> bool:
    return answer.status_code == 409 and answer.json()["code"] == "idempotency_in_progress"
