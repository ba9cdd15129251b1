"""Standing in line before a provider: one at a time in each process, transactional first, at one hard rate for all."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

from database import provider_rates
from database.provider_rates import Granted, NotYet
from database.session import Database

JITTER = timedelta(milliseconds=50)
"""From the grant to the provider's clock at most; spacing is stretched by it, so that their second never overflows."""

_MARKETING_PATIENCE = timedelta(seconds=2)
"""Short, so that the places of a worker keep changing hands and a transactional message finds one soon."""
_LONGEST_PAUSE = timedelta(minutes=1)
_TRANSACTIONAL_PATIENCE = timedelta(seconds=30)


def spacing(per_second: float) -> timedelta:
    """The time between two attempts such that no window of one second, by the provider's clock, holds more."""
    return (timedelta(seconds=1) + JITTER) / per_second


class Pacer:
    """Grants attempts. `rates`: messages a second by provider; a provider without one is not paced."""

    def __init__(self, database: Database, rates: Mapping[str, float]) -> None:
        self._database = database
        self._spacings = {provider: spacing(rate) for provider, rate in rates.items()}
        self._lines = {provider: _Line() for provider in rates}

    def has_room(self, provider: str, *, is_transactional: bool) -> bool:
        """Whether the line is short enough to stand in now."""
        if provider not in self._spacings:
            return True
        ahead = self._lines[provider].ahead(urgent=is_transactional)
        return ahead * self._spacings[provider] <= _patience(is_transactional=is_transactional)

    async def stand_in_line(self, provider: str, *, is_transactional: bool) -> bool:
        """Wait for the next attempt at a provider; False when the line is too long to stand in now."""
        if provider not in self._spacings:
            return True
        if not self.has_room(provider, is_transactional=is_transactional):
            return False
        patience = _patience(is_transactional=is_transactional).total_seconds()
        try:
            async with asyncio.timeout(patience), self._lines[provider].turn(urgent=is_transactional):
                await self._wait_for_grant(provider, is_transactional=is_transactional)
        except TimeoutError:
            return False
        return True

    async def pause(self, provider: str, length: timedelta) -> None:
        """Nobody calls a paced provider for so long, a minute at most; then one message finds out how it is."""
        if provider in self._spacings:
            async with self._database.transaction() as session:
                await provider_rates.pause(session, provider, min(length, _LONGEST_PAUSE))

    async def retry_in(self, channel: str, provider: str) -> timedelta:
        """When to come back to a long line: about when half of it will have gone, five minutes at most."""
        async with self._database.read() as session:
            waiting = await provider_rates.waiting(session, channel)
        return min(max(waiting * self._spacings[provider] / 2, timedelta(seconds=1)), timedelta(minutes=5))

    async def _wait_for_grant(self, provider: str, *, is_transactional: bool) -> None:
        while True:
            match await self._take(provider, is_transactional=is_transactional):
                case Granted():
                    return
                case NotYet(wait):
                    await asyncio.sleep(wait.total_seconds())

    async def _take(self, provider: str, *, is_transactional: bool) -> Granted | NotYet:
        async with self._database.transaction() as session:
            return await provider_rates.take(
                session, provider, spacing=self._spacings[provider], is_transactional=is_transactional
            )


def _patience(*, is_transactional: bool) -> timedelta:
    return _TRANSACTIONAL_PATIENCE if is_transactional else _MARKETING_PATIENCE


class _Line:
    """Turns, the urgent first and otherwise in order of arrival."""

    def __init__(self) -> None:
        self._waiting: list[tuple[bool, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._is_taken = False

    def ahead(self, *, urgent: bool) -> int:
        """How many would have their turn before a newcomer."""
        return self._is_taken + sum(not urgent or not is_late for is_late, _, _ in self._waiting)

    @asynccontextmanager
    async def turn(self, *, urgent: bool) -> AsyncIterator[None]:
        """Hold the turn while the block runs."""
        if self._is_taken:
            place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (not urgent, next(self._numbers), place))
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
