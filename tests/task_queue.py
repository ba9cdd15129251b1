"""Temporal's task queue `messages`, played: who goes first, and again later what asked for it."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from temporalio.exceptions import ApplicationError

from activities.messages import MessageActivities
from database.outages import is_outage
from domain.runs import StepInput

SECOND = timedelta(seconds=1)


@dataclass
class TaskQueue:
    """The urgent first, then in order of arrival; what is to be tried again comes back after the delay it asked for."""

    waiting: asyncio.PriorityQueue[tuple[int, int, UUID]] = field(default_factory=asyncio.PriorityQueue)
    done: set[UUID] = field(default_factory=set)
    back_offs: dict[UUID, int] = field(default_factory=dict)  # tries of a run that asked for no delay of its own
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def add(self, run_id: UUID, *, is_receipt: bool) -> None:
        """A run has come to its message."""
        self.waiting.put_nowait((1 if is_receipt else 3, next(self._numbers), run_id))

    async def work(self, activities: MessageActivities) -> None:
        """One place of a worker."""
        while True:
            priority, _, run_id = await self.waiting.get()
            try:
                await activities.send(StepInput(run_id=run_id, step="reminder", visit=1, as_of=datetime.now(UTC)))
            except Exception as error:
                if not isinstance(error, ApplicationError) and not is_outage(error):
                    raise
                again = (priority, next(self._numbers), run_id)
                stated = error.next_retry_delay if isinstance(error, ApplicationError) else None
                delay = self._back_off(run_id) if stated is None else stated
                asyncio.get_running_loop().call_later(delay.total_seconds(), self.waiting.put_nowait, again)
            else:
                self.done.add(run_id)

    def _back_off(self, run_id: UUID) -> timedelta:
        """As the activity's retry policy has it, for tries that ask for no delay of their own."""
        self.back_offs[run_id] = self.back_offs.get(run_id, 0) + 1
        return min(SECOND * float(2 ** (self.back_offs[run_id] - 1)), timedelta(minutes=5))

    @asynccontextmanager
    async def served(self, workers: Sequence[MessageActivities], *, places: int = 100) -> AsyncIterator[None]:
        """Workers with so many places each, while the block runs."""
        serving = [asyncio.create_task(self.work(worker)) for worker in workers for _ in range(places)]
        try:
            yield
        finally:
            for place in serving:
                place.cancel()
            await asyncio.gather(*serving, return_exceptions=True)

    async def finished(self, runs: Collection[UUID], *, within: float) -> None:
        """Wait until all these are done."""
        async with asyncio.timeout(within):
            while not self.done >= set(runs):
                await asyncio.sleep(0.05)


def busiest_second(moments: Sequence[datetime]) -> int:
    """The most moments in any window of one second."""
    ordered, start, most = sorted(moments), 0, 0
    for end, moment in enumerate(ordered):
        while moment - ordered[start] >= SECOND:
            start += 1
        most = max(most, end - start + 1)
    return most


def crowding() -> float:
    """How much longer everything may take than on a fast machine with a processor for each process that wants one.

    The load is an average of the last minute: what has just begun to crowd a machine does not show yet.
    """
    return max(3.0, os.getloadavg()[0] / (os.cpu_count() or 1))
