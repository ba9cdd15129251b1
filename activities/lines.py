"""A line of one process: one has the turn, the urgent first, otherwise in order of arrival."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Line:
    """Turns, and how many wait for theirs."""

    def __init__(self) -> None:
        self._waiting: list[tuple[bool, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._is_taken = False

    def draw(self) -> int:
        """A number: whoever drew it earlier has the turn earlier, also after giving the turn back."""
        return next(self._numbers)

    def ahead(self, *, urgent: bool) -> int:
        """How many would have their turn before a newcomer."""
        return self._is_taken + sum(not urgent or not is_late for is_late, _, _ in self._waiting)

    @asynccontextmanager
    async def turn(self, number: int, *, urgent: bool) -> AsyncIterator[None]:
        """Hold the turn while the block runs."""
        if self._is_taken:
            place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (not urgent, number, place))
            try:
                await place
            except asyncio.CancelledError:
                if place.done() and not place.cancelled():
                    self._pass_on()
                raise
        self._is_taken = True
        try:
            yield
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        while self._waiting:
            *_, place = heapq.heappop(self._waiting)
            if not place.done():
                place.set_result(None)
                return
        self._is_taken = False
