"""Waiting a moment for a customer's events to be routed; a long wait is Temporal's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, TypeVar

from activities.message_fates import TryAgain
from activities.message_gate import Pending

Answer = TypeVar("Answer")

ROUTING_PATIENCE: Final = timedelta(seconds=5)
"""How long an attempt waits for the customer's events to be routed before it gives its place to others."""


async def when_routed(ask: Callable[[], Awaitable[Answer | Pending]], patience: timedelta) -> Answer | TryAgain:
    """Ask until the customer's events are routed."""
    until, delay = time.monotonic() + patience.total_seconds(), 0.02
    while isinstance(answer := await ask(), Pending):
        if time.monotonic() > until:
            return TryAgain("events_pending", timedelta(seconds=2))
        await asyncio.sleep(delay)
        delay = min(delay * 2, 0.5)
    return answer
