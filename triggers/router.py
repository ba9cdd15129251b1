"""The router's loop: woken by NOTIFY or, failing that, by the clock; one transaction a batch; many replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter

import structlog
from prometheus_client import Counter, Histogram
from sqlalchemy.exc import SQLAlchemyError

from database import events
from database.outages import is_outage, sqlstate_of
from database.session import Database
from triggers.listening import Listener
from triggers.narrowing import Narrowing
from triggers.routing import Routed, Routing

log = structlog.get_logger(__name__)

ROUTED = Counter("perennial_events_routed", "Events routed")
FAILED = Counter("perennial_events_failed", "Tries to route an event that failed")
SECONDS = Histogram("perennial_route_batch_seconds", "How long a batch takes to route")


@dataclass(frozen=True, slots=True)
class Pace:
    """How large batches grow and how long a router sleeps when nothing wakes it."""

    smallest: int = 100
    largest: int = 800
    idle_seconds: float = 1.0  # nothing was pending: only a lost notification needs this
    busy_seconds: float = 0.05  # something is pending that somebody else holds, or that is tried again later
    error_seconds: float = 1.0


class Router:
    """One router. `now` is the clock: the only one that routing has."""

    def __init__(
        self, database: Database, routing: Routing, *, pace: Pace = Pace(), now: Callable[[], datetime] | None = None
    ) -> None:
        self._database = database
        self._routing = routing
        self._pace = pace
        self._now = now or _utc_now
        self._limit = pace.smallest
        self._narrowing = Narrowing()

    async def run(self, stop: asyncio.Event) -> None:
        """Route until told to stop. A database that is away costs time and nothing else."""
        async with Listener(self._database.url, events.CHANNEL) as bell:
            while not stop.is_set():
                heard = bell.heard()
                await bell.wait(heard, await self._turn(), stop)

    async def route_once(self) -> Routed:
        """One batch in one transaction."""
        async with self._database.transaction() as session:
            return await self._routing.route(session, self._now(), self._narrowing.limit(self._limit))

    async def _turn(self) -> float:
        """Route a batch; answers how many seconds there is nothing to do, unless the bell rings."""
        started = perf_counter()
        try:
            done = await self.route_once()
        except (SQLAlchemyError, OSError) as error:
            outage = sqlstate_of(error) or type(error).__name__ if is_outage(error) else None
            log.warning("a batch was rolled back", outage=outage, exc_info=outage is None)
            if self._narrowing.failed(error, self._limit):
                await self._quarantine(error)
            return self._pace.error_seconds
        self._narrowing.passed(done.routed + done.failed)
        if done.seen:
            SECONDS.observe(perf_counter() - started)
        ROUTED.inc(done.routed)
        FAILED.inc(done.failed)
        # Batches grow under load, where throughput counts, and shrink again where latency does.
        self._limit = max(self._pace.smallest, min(self._pace.largest, done.seen))
        if done.routed or done.failed:
            return 0.0
        return self._pace.busy_seconds if done.seen else self._pace.idle_seconds

    async def _quarantine(self, error: Exception) -> None:
        """It would take as long again, however often it is tried, and everybody else waits meanwhile."""
        try:
            async with self._database.transaction() as session:
                done = await self._routing.quarantine_last(session, error)
        except (SQLAlchemyError, OSError):
            log.exception("an event that takes too long was not set aside")
            return
        FAILED.inc(done)
        self._narrowing.passed(done)


def _utc_now() -> datetime:
    return datetime.now(UTC)
