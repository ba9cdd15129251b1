"""The relay: sends the commands of the outbox to Temporal, in order for each workflow, until Temporal has taken them.

A relay leases commands, asks Temporal with no transaction open, and removes them. It may die or be frozen at any point:
when its lease is over, what it had not removed is sent again, which does no harm. While Temporal is away commands
stay, and everything else goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic, perf_counter

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy.exc import SQLAlchemyError
from temporalio.client import Client

from database import outbox
from database.outages import is_outage as is_database_outage
from database.outages import sqlstate_of
from database.outbox import PendingCommand
from database.session import Database, WriteSession
from triggers.commands import PATIENCE, carry_out, coalesced, is_outage
from triggers.listening import Listener

log = structlog.get_logger(__name__)

SENT = Counter("perennial_commands_sent", "Commands that Temporal has taken", ["kind"])
REFUSED = Counter("perennial_commands_refused", "Commands that Temporal refused and that are tried again", ["kind"])
DEPTH = Gauge("perennial_outbox_depth", "Commands that wait for Temporal (counted up to 10,000)")
AGE = Gauge("perennial_outbox_oldest_seconds", "Age of the oldest command that waits for Temporal")

LEASE = timedelta(seconds=15)
"""How long a relay has for one round; what a relay that died had leased is taken up by another after that."""
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_IDLE_SECONDS = 1.0
_MEASURE_SECONDS = 5.0
_LONGEST_POSTPONEMENT = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one round. `outage`: Temporal could not be asked."""

    done: int = 0
    refused: int = 0
    outage: bool = False


@dataclass(slots=True)
class _Result:
    """What became of one workflow's commands: those sent, in order, and what stopped the rest."""

    done: list[PendingCommand]
    left: list[PendingCommand]
    stopped_at: PendingCommand | None = None
    error: Exception | None = None


class Relay:
    """One relay; as many as there are routers may run at once."""

    def __init__(
        self,
        database: Database,
        client: Client,
        *,
        workflows_at_once: int = 200,
        calls_at_once: int = 64,
        patience: timedelta = PATIENCE,
        lease: timedelta = LEASE,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self._database = database
        self._client = client
        self._workflows_at_once = workflows_at_once
        self._calls = asyncio.Semaphore(calls_at_once)
        self._patience = patience
        self._lease = lease
        self._now = now or _utc_now
        self._pause = 0.0
        self._measured_at = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Relay until told to stop."""
        async with Listener(self._database.url, outbox.CHANNEL) as bell:
            while not stop.is_set():
                heard = bell.heard()
                pause = await self._turn()
                if pause > _IDLE_SECONDS or self._pause:
                    await _pause(pause, stop)  # no bell hurries what Temporal cannot take
                else:
                    await bell.wait(heard, pause, stop)

    async def relay_once(self) -> Sent:
        """Send what waits, of so many workflows. The commands are leased, not locked, while Temporal is asked."""
        until = monotonic() + (self._lease - self._patience).total_seconds()
        async with self._database.transaction() as session:
            leased = await outbox.lease_commands(session, self._now(), self._workflows_at_once, self._lease)
        if not leased:
            return Sent()
        results = await asyncio.gather(*(self._send(commands, until) for commands in leased.values()))
        async with self._database.transaction() as session:
            return await self._record(session, results)

    async def _turn(self) -> float:
        """One round; answers how many seconds to rest."""
        try:
            sent = await self.relay_once()
            if perf_counter() - self._measured_at > _MEASURE_SECONDS:
                await self._measure()
        except (SQLAlchemyError, OSError) as error:
            outage = sqlstate_of(error) or type(error).__name__ if is_database_outage(error) else None
            log.warning("a round of the relay was rolled back", outage=outage, exc_info=outage is None)
            return _IDLE_SECONDS
        if sent.outage:
            self._pause = min(max(_FIRST_PAUSE, self._pause * 2), _LONGEST_PAUSE)
            log.warning("temporal is away", pause_seconds=self._pause)
            return self._pause
        self._pause = 0.0
        return 0.0 if sent.done else _IDLE_SECONDS

    async def _send(self, commands: Sequence[PendingCommand], until: float) -> _Result:
        """One workflow's commands in order; the first that fails stops the rest, and so does the end of our lease."""
        result = _Result([], list(commands))
        for call in coalesced(commands):
            try:
                async with self._calls:
                    if monotonic() > until:
                        return result  # another relay may have taken them up: a late call of ours could come after its
                    await carry_out(self._client, call[0], self._patience)
            except Exception as error:  # noqa: BLE001  a command of any kind must not take the relay down; recorded below
                result.stopped_at, result.error = call[0], error
                return result
            result.done += call
            del result.left[: len(call)]
        return result

    async def _record(self, session: WriteSession, results: Sequence[_Result]) -> Sent:
        done = [command for result in results for command in result.done]
        await outbox.remove_commands(session, done)
        for command in done:
            SENT.labels(command.kind).inc()
        errors = [(each.stopped_at, each.error) for each in results if each.stopped_at and each.error]
        refused = [(command, error) for command, error in errors if not is_outage(error)]
        for command, error in refused:
            await self._postpone(session, command, error)
        await outbox.release_commands(session, [command for result in results for command in result.left])
        return Sent(len(done), len(refused), outage=len(refused) < len(errors))

    async def _postpone(self, session: WriteSession, command: PendingCommand, error: Exception) -> None:
        attempts = min(command.attempts + 1, 32_000)
        wait = min(timedelta(seconds=2 ** min(attempts, 10)), _LONGEST_POSTPONEMENT)
        log.error(
            "command refused", kind=command.kind, workflow_id=command.workflow_id, attempts=attempts, error=repr(error)
        )
        REFUSED.labels(command.kind).inc()
        until = self._now() + wait
        await outbox.postpone_command(session, command, attempts=attempts, until=until, error=repr(error)[:500])

    async def _measure(self) -> None:
        self._measured_at = perf_counter()
        async with self._database.read() as session:
            depth, oldest = await outbox.backlog(session)
        DEPTH.set(depth)
        AGE.set(0 if oldest is None else (self._now() - oldest).total_seconds())


async def _pause(seconds: float, stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


def _utc_now() -> datetime:
    return datetime.now(UTC)
