"""The reconciler: sees that Temporal is the one we know, and brings back what should be under way when it is not.

It lives in the router's process, because Temporal cannot watch over its own loss (decision 0012).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy.exc import SQLAlchemyError
from temporalio.client import Client
from temporalio.service import RPCError

from activities.executions import delete_execution, is_marked, lacks_namespace
from database import marks, reconciliation, schedule_fires, undertakings
from database.marks import KnownMark
from database.session import Database
from domain.ids import new_id
from domain.upkeep import MARK
from triggers.commands import PATIENCE, QUEUE, is_outage
from triggers.missed_times import missed_times
from triggers.recovery import Recovered, Recovery
from triggers.schedule_keeping import keep_schedules
from triggers.schedules import WantedSchedules

log = structlog.get_logger(__name__)

LOST = Counter("perennial_temporal_lost", "Times that Temporal was found to be another one than before, or an older")
MENDED = Counter("perennial_temporal_mended", "What was put again in Temporal, by kind", ["kind"])
MARK_AGE = Gauge("perennial_temporal_mark_seconds", "Age of the last mark that a router set in Temporal")

EVERY: Final = timedelta(seconds=30)
"""From look to look."""
MARK_EVERY: Final = timedelta(minutes=1)
YOUNG: Final = timedelta(minutes=2)
"""What is younger may be missing its workflow for good reasons."""
_WHILE_AWAY = timedelta(seconds=2)
_LEASE = timedelta(seconds=30)
_REACH_BACK = timedelta(minutes=5)
"""How much of what Temporal had taken it may have lost with its power: looked at again after every outage."""
_SWEPT = 100
_PREPARED_WITHIN = 20.0
_MARK_LASTS = timedelta(hours=1)


class TurnOver(Exception):  # noqa: N818  not an error: another turn goes on
    """This router stops, or was too slow and another has taken over."""


class Reconciler:
    """One of as many as there are routers; one at a time looks. `prepare` registers what Temporal has to know first."""

    def __init__(
        self,
        database: Database,
        client: Client,
        *,
        prepare: Callable[[Client], Awaitable[None]],
        every: timedelta = EVERY,
        patience: timedelta = PATIENCE,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self._database = database
        self._client = client
        self._prepare = prepare
        self._every = every
        self._patience = patience
        self._now = now or _utc_now
        self._id: UUID = new_id()
        self._was_away = True  # until it has been seen: it may have lost its power with us
        self._swept = ""
        self._marked_at = self._now()  # the age of a mark that there has never been counts from here
        MARK_AGE.set_function(self._mark_age)  # when it is asked for: while Temporal is away, nothing else happens
        self._stop = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Look until told to stop."""
        self._stop = stop
        while not stop.is_set():
            pause = await self._turn()
            try:
                async with asyncio.timeout(pause.total_seconds()):
                    await stop.wait()
            except TimeoutError:
                continue

    async def look(self) -> Recovered | None:
        """One turn: what was mended; None while another router has the turn. Raises what Temporal raises."""
        async with self._database.transaction() as session:
            mark = await marks.take_turn(session, self._id, self._now(), every=self._every, lease=_LEASE)
        if mark is None:
            await self._see_mark()
            return None
        self._marked_at = mark.marked_at or self._marked_at
        try:
            recovery = Recovery(self._database, self._client, self._keep_turn, self._patience)
            self._marked_at = await self._compare(mark, recovery)
        except BaseException:
            async with self._database.transaction() as session:
                await marks.end_turn(session, self._id)
            raise
        self._was_away = False
        for kind, count in asdict(recovery.done).items():
            MENDED.labels(kind).inc(count)
        return recovery.done

    def _mark_age(self) -> float:
        return (self._now() - self._marked_at).total_seconds()

    async def _see_mark(self) -> None:
        """Another router has the turn, and may have set a new one."""
        async with self._database.read() as session:
            row = await marks.last_mark(session)
        self._marked_at = (row and row.marked_at) or self._marked_at

    async def _turn(self) -> timedelta:
        """One look; answers how long to rest."""
        try:
            await self.look()
        except TurnOver as over:
            log.info("left off comparing Temporal with the database", reason=str(over))
        except (SQLAlchemyError, OSError):
            log.exception("could not compare Temporal with the database")
        except Exception as error:
            if not is_outage(error):
                log.exception("Temporal could not be compared with the database")
                return self._every
            self._was_away = True
            reason = "namespace missing" if isinstance(error, RPCError) and lacks_namespace(error) else repr(error)
            log.warning("temporal is away", reason=reason)
            return min(_WHILE_AWAY, self._every)
        return self._every

    async def _compare(self, mark: KnownMark, recovery: Recovery) -> datetime:
        """Compare, mend, mark again; answers when the mark was set."""
        is_found = await is_marked(self._client, mark, self._patience)
        if not is_found:
            await self._recover(mark, recovery)
        else:
            if self._was_away and mark.marked_at is not None:
                await self._restart_latest(recovery, mark.marked_at - _REACH_BACK)
            await self._sweep(recovery, mark)
        return await self._end_turn(mark, recovery, is_found=is_found)

    async def _recover(self, mark: KnownMark, recovery: Recovery) -> None:
        """Temporal is new, or older than our mark. Search attributes and schedules first, then everything open."""
        as_of, was_known = self._now(), mark.execution_id is not None
        if was_known:
            LOST.inc()
            log.warning("Temporal was lost or is older; bringing back what is under way", marked_at=mark.marked_at)
            async with self._database.transaction() as session:
                await marks.note_loss(session, as_of)
        await self._prepare_namespace()
        wanted, found = await keep_schedules(self._database, self._client)
        recovery.done.schedules = found.count
        async with self._database.transaction() as session:
            await undertakings.adopt(session)
        listed = await recovery.listed()
        if was_known:  # a namespace that we have never seen may be somebody else's
            await recovery.delete_orphans(listed)
            await recovery.forget_erased(as_of)
        await recovery.release_rows(listed)
        ids = {each.workflow_id for each in listed}
        await recovery.start_undertakings(as_of, listed=ids)
        await recovery.start_runs(listed=ids)
        await self._make_up(recovery, wanted, mark, as_of)
        if recovery.done.refused > recovery.done.undertakings + recovery.done.runs:
            raise RuntimeError("Temporal refuses most of what is to be brought back")
        log.info("everything under way is in Temporal", **asdict(recovery.done))

    async def _prepare_namespace(self) -> None:
        """Some Temporals let nobody register search attributes this way: ops have done so, or starts are refused."""
        try:
            async with asyncio.timeout(_PREPARED_WITHIN):
                await self._prepare(self._client)
        except RPCError as error:
            if is_outage(error):
                raise
            log.warning("search attributes could not be registered", error=repr(error))

    async def _restart_latest(self, recovery: Recovery, since: datetime) -> None:
        """What Temporal was told shortly before an outage it may have lost without losing the mark."""
        listed = {each.workflow_id for each in await recovery.listed(since)}
        await recovery.start_undertakings(self._now(), listed=listed, since=since)
        await recovery.start_runs(listed=listed, since=since)

    async def _make_up(self, recovery: Recovery, wanted: WantedSchedules, mark: KnownMark, until: datetime) -> None:
        """Enter the audiences of times that nobody fired."""
        since = mark.schedules_since or until
        await recovery.start_some(await missed_times(self._database, self._client, wanted, since=since, until=until))

    async def _sweep(self, recovery: Recovery, mark: KnownMark) -> None:
        """The slow sweep: schedules, a page of what is open, runs that were never heard of."""
        as_of = self._now()
        wanted, found = await keep_schedules(self._database, self._client)
        recovery.done.schedules = found.count
        before = as_of - YOUNG
        async with self._database.read() as session:
            some = await undertakings.open_undertakings(session, after=self._swept, limit=_SWEPT, before=before)
            self._swept = some[-1].workflow_id if len(some) == _SWEPT else ""
            some += await schedule_fires.open_fires(session, before=before, limit=_SWEPT)
            pending = await undertakings.awaiting_start(session, [each.workflow_id for each in some])
            silent = await reconciliation.unheard_runs(session, before=before, limit=_SWEPT)
        await recovery.start_some([each for each in some if each.workflow_id not in pending])
        await recovery.start_these_runs(silent)
        await self._make_up(recovery, wanted, mark, before)
        if recovery.done:
            log.warning("Temporal lacked what the database knows", **asdict(recovery.done))

    async def _end_turn(self, mark: KnownMark, recovery: Recovery, *, is_found: bool) -> datetime:
        """Set a new mark if it is time, write what was done, let go."""
        as_of = self._now()
        values: dict[str, object] = {"looked_at": as_of}
        if not is_found:
            values["recovered"] = asdict(recovery.done) | {"at": as_of.isoformat()}
        is_due = not is_found or mark.marked_at is None or as_of - mark.marked_at >= MARK_EVERY - self._every / 2
        if is_due:
            new = await self._set_mark(as_of)
            values |= {"workflow_id": new.workflow_id, "execution_id": new.execution_id, "marked_at": as_of}
        async with self._database.transaction() as session:
            await undertakings.forget_done(session, as_of)
            await schedule_fires.forget_done(session, as_of)
            await marks.end_turn(session, self._id, **values)
        if is_due and is_found and mark.workflow_id is not None and mark.execution_id is not None:
            await delete_execution(self._client, mark.workflow_id, mark.execution_id, patience=self._patience)
        return as_of if is_due or mark.marked_at is None else mark.marked_at

    async def _set_mark(self, as_of: datetime) -> KnownMark:
        """An execution that only a Temporal has that took it now."""
        id_ = f"mark/{new_id()}"
        handle = await self._client.start_workflow(
            MARK,
            id=id_,
            task_queue=QUEUE,
            execution_timeout=_MARK_LASTS,
            static_summary="By this the router knows this Temporal",
            rpc_timeout=self._patience,
        )
        return KnownMark(id_, handle.result_run_id, as_of)

    async def _keep_turn(self) -> None:
        if self._stop.is_set():
            raise TurnOver("the router stops")
        async with self._database.transaction() as session:
            if not await marks.keep_turn(session, self._id, self._now() + _LEASE):
                raise TurnOver("another router has the turn")


def _utc_now() -> datetime:
    return datetime.now(UTC)
