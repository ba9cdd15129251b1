"""What `perennial doctor` asks Temporal: is it the one we know, and is under way there what should be? Reads only."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from temporalio.client import Client
from temporalio.service import RPCError

from activities.executions import is_marked, lacks_namespace
from database import marks, reconciliation, schedule_fires, undertakings
from database.marks import KnownMark
from database.session import Database
from perennial.doctor import Verdict
from triggers.commands import PATIENCE, is_outage
from triggers.reconciler import YOUNG
from triggers.recovery import Recovery, known_as_open
from triggers.schedule_keeping import compare_schedules, recent_times

_NAMED = 5
_PAGE = 1_000
_SETTLING_SECONDS = 2.0
"""What has just ended or begun in one of the two is given so long to show in the other."""
_OLD_MARK = timedelta(minutes=5)
_GRACE = timedelta(hours=1)

KNOWN = "this is the Temporal that the router knows, and the router looks after it"
STARTED = "everything that should be under way is under way in Temporal"
WANTED = "everything under way in Temporal should be"
SCHEDULED = "Temporal's schedules are those of the live journeys, and our own"
IN_TIME = "nothing that is under way is overdue"
ENTERED = "every time of a schedule that came round has entered its audience"
_PROMISES = (KNOWN, STARTED, WANTED, SCHEDULED, ENTERED)


async def examine_temporal(database: Database, client: Client, as_of: datetime) -> list[Verdict]:
    """A verdict for each promise; where Temporal cannot be asked, verdicts that say so and blame nothing."""
    overdue = Verdict("G29", IN_TIME, await _overdue(database, as_of))
    try:
        found = await _compare(database, client, as_of)
    except Exception as error:
        if not is_outage(error):
            raise
        if isinstance(error, RPCError) and lacks_namespace(error):
            missing = f"namespace {client.namespace} does not exist: make it, and everything comes back by itself"
            return [overdue, Verdict("G29", KNOWN, [missing])]
        reason = "Temporal does not answer"
        return [overdue, *[Verdict("G29", promise, (), skipped=reason) for promise in _PROMISES]]
    return [overdue, *found]


async def _compare(database: Database, client: Client, as_of: datetime) -> list[Verdict]:
    doubts = await _doubts(database, client, as_of)
    listed = await Recovery(database, client, _nothing).listed()
    ids = {each.workflow_id for each in listed}
    before = as_of if doubts else as_of - YOUNG  # whoever knows that Temporal was lost need not wait and see
    absent = await _absent(database, ids, before)
    unknown = await _unknown(database, sorted(ids))
    if absent or unknown:
        await asyncio.sleep(_SETTLING_SECONDS)
        again = {each.workflow_id for each in await Recovery(database, client, _nothing).listed()}
        absent = [id_ for id_ in await _absent(database, again, before) if id_ in absent]
        unknown = await _unknown(database, [id_ for id_ in unknown if id_ in again])
    _, schedules = await compare_schedules(database, client)
    named = {"missing": schedules.missing, "differs": schedules.differing, "unwanted": schedules.unwanted}
    return [
        Verdict("G29", KNOWN, doubts),
        Verdict("G29", STARTED, absent[:_NAMED]),
        Verdict("G29", WANTED, unknown[:_NAMED]),
        Verdict("G29", SCHEDULED, [f"{id_}: {fault}" for fault, found in named.items() for id_ in found][:_NAMED]),
        Verdict("G29", ENTERED, await _not_entered(database, client, as_of)),
    ]


async def _doubts(database: Database, client: Client, as_of: datetime) -> list[str]:
    async with database.read() as session:
        row = await marks.last_mark(session)
    if row is None or row.marked_at is None:
        return ["no router has set a mark yet"]
    found = []
    if not await is_marked(client, KnownMark(row.workflow_id, row.execution_id, row.marked_at), PATIENCE):
        found.append(f"its mark of {row.marked_at.isoformat()} is missing: Temporal was lost, or is older")
    if as_of - row.marked_at > _OLD_MARK:
        found.append(f"the last mark is of {row.marked_at.isoformat()}: does a router run?")
    return found


async def _absent(database: Database, under_way: set[str], before: datetime) -> list[str]:
    """Workflows of open rows that Temporal does not have under way, and whose start it was sent."""
    wanted: list[str] = []
    async with database.read() as session:
        run = None
        while page := await reconciliation.active_runs(session, after=run, since=None, before=before, limit=_PAGE):
            wanted += [workflow_id for _, workflow_id in page]
            run = page[-1][0]
        after = ""
        while open_ := await undertakings.open_undertakings(session, after=after, limit=_PAGE, before=before):
            wanted += [each.workflow_id for each in open_]
            after = open_[-1].workflow_id
        wanted += [each.workflow_id for each in await schedule_fires.open_fires(session, before=before, limit=_PAGE)]
        absent = [workflow_id for workflow_id in wanted if workflow_id not in under_way]
        pending = await undertakings.awaiting_start(session, absent[:_PAGE])
    return [workflow_id for workflow_id in absent[:_PAGE] if workflow_id not in pending]


async def _not_entered(database: Database, client: Client, as_of: datetime) -> list[str]:
    """Times that Temporal had come round, as far as it remembers, and that have no row that is done."""
    times = await recent_times(database, client)
    late = [id_ for id_, at in times.items() if as_of - schedule_fires.KEPT_FOR < at < as_of - _GRACE]
    async with database.read() as session:
        return sorted(await schedule_fires.known_as_open(session, late))[:_NAMED]


async def _unknown(database: Database, listed: Sequence[str]) -> list[str]:
    """Workflows that are under way and should not be."""
    found: list[str] = []
    for start in range(0, len(listed), _PAGE):
        page = listed[start : start + _PAGE]
        known = await known_as_open(database, page)
        found += [id_ for id_ in page if id_ not in known]
    return found


async def _overdue(database: Database, as_of: datetime) -> list[str]:
    async with database.read() as session:
        late = await undertakings.overdue(session, as_of, grace=_GRACE, limit=_NAMED)
        return [*late, *await schedule_fires.overdue(session, as_of, limit=_NAMED)]


async def _nothing() -> None:
    return None
