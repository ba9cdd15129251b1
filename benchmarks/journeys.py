"""Whole runs per second and what they leave in history, against the same journey written by hand as a workflow.

Both are carried out by one worker in this process, with the same activities on the same database; what differs is
whether a document is interpreted or code was written. Rounds alternate, so that a warm server favours neither.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import fmean
from uuid import UUID, uuid4

from temporalio.client import Client
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.worker import Worker

from activities.branches import BranchActivities
from activities.runs import RunActivities
from activities.updates import UpdateActivities
from activities.waits import WaitActivities
from benchmarks.figure import Better, Figure
from benchmarks.handwritten import WORKFLOW_TYPE, HandwrittenWelcome
from benchmarks.world import World
from connectors.rendering import Renderer
from database import documents
from database.customers import Customer
from database.runs import Run
from database.session import Database
from domain.documents import DocumentState
from domain.ids import new_id
from domain.journeys import library
from domain.journeys.library import DefinitionLibrary
from domain.runs import JourneyInput, RunState
from workflows.journey import JourneyWorkflow
from workflows.sandbox import sandbox

QUEUE = "benchmark"
RUNS = 120  # in each round
ROUNDS = 2  # of each kind
STARTING = 20  # starts under way at once
SAMPLED = 5  # histories of each kind
AIM = 0.8

WELCOME = {
    "journey": "interpreted-welcome",
    "purpose": "marketing",
    "enter": {"on": {"api": {}}},
    "steps": [
        {"update": {"traits": {"greeted": True}}, "id": "greet"},
        {"wait": {"for": "1s"}, "id": "pause"},
        {
            "id": "who",
            "branch": [
                {"if": {"trait": "plan", "eq": "gold"}, "steps": [{"update": {"traits": {"a": 1}}, "id": "regular"}]},
                {"else": [{"update": {"traits": {"b": 1}}, "id": "newcomer"}]},
            ],
        },
        {"update": {"traits": {"done": True}}, "id": "farewell"},
    ],
}
JOURNEY = str(WELCOME["journey"])


@dataclass(frozen=True, slots=True)
class Left:
    """What one run leaves in Temporal, on average."""

    events: float
    size: float  # bytes


async def measure(world: World) -> Sequence[Figure]:
    """Speed, and events and bytes of history, of both."""
    url = await world.new_database()
    client = await world.client()
    seconds: dict[str, list[float]] = {JOURNEY: [], WORKFLOW_TYPE: []}
    left: dict[str, Left] = {}
    async with _worker(client, url) as database:
        for kind in seconds:
            left[kind] = await _histories(client, database, kind)
        for number in range(ROUNDS):
            kinds = (JOURNEY, WORKFLOW_TYPE) if number % 2 == 0 else (WORKFLOW_TYPE, JOURNEY)
            for kind in kinds:
                took, _ = await _round(client, database, kind, RUNS)
                seconds[kind].append(took)
    speed = {kind: RUNS / fmean(took) for kind, took in seconds.items()}
    ours, floor = left[JOURNEY], left[WORKFLOW_TYPE]
    by_hand = "written by hand"
    return [
        Figure("journeys, start to end", speed[JOURNEY], "runs/s", speed[WORKFLOW_TYPE], by_hand, AIM),
        Figure("history of a run", ours.events, "events", floor.events, by_hand, 1.0, Better.LOWER),
        Figure("history of a run", ours.size, "bytes", floor.size, by_hand),
    ]


@asynccontextmanager
async def _worker(client: Client, url: str) -> AsyncIterator[Database]:
    """One worker for both kinds of workflow."""
    definitions = DefinitionLibrary(lambda _journey, _version: None)
    definitions.keep(JOURNEY, 1, WELCOME)
    library.install(definitions)
    database, renderer = Database(url, pool_size=10), Renderer()
    await _publish(database)
    updates = UpdateActivities(database, definitions, renderer)
    waits = WaitActivities(database, definitions)
    branches, runs = BranchActivities(database, definitions), RunActivities(database, definitions)
    worker = Worker(
        client,
        task_queue=QUEUE,
        workflows=[JourneyWorkflow, HandwrittenWelcome],
        activities=[updates.update, waits.wait, branches.branch, runs.finish_run, runs.fail_step],
        workflow_runner=sandbox(),
    )
    try:
        async with worker:
            yield database
    finally:
        await renderer.close()
        await database.close()


async def _publish(database: Database) -> None:
    """Version 1, as the API would have written it."""
    now = datetime.now(UTC)
    async with database.transaction() as session:
        row = await documents.save_draft(session, "journey", JOURNEY, WELCOME, now)
        await documents.add_version(session, row, document=WELCOME, state=DocumentState.LIVE, as_of=now, by="benchmark")


async def _round(client: Client, database: Database, kind: str, count: int) -> tuple[float, list[str]]:
    """Seconds until `count` runs have started and ended, and their workflow ids."""
    inputs = await _rows(database, kind, count)
    slots = asyncio.Semaphore(STARTING)

    async def walk(given: JourneyInput) -> None:
        async with slots:
            handle = await client.start_workflow(
                kind,
                given,
                id=_workflow_id(kind, given.run_id),
                task_queue=QUEUE,
                search_attributes=_attributes(given),
                static_summary=f"{JOURNEY}, version 1",
                static_details=f"run {given.run_id}",
            )
        await handle.result()

    started = time.perf_counter()
    async with asyncio.TaskGroup() as walking:
        for given in inputs:
            walking.create_task(walk(given))
    return time.perf_counter() - started, [_workflow_id(kind, given.run_id) for given in inputs]


async def _rows(database: Database, kind: str, count: int) -> list[JourneyInput]:
    """Customers and their runs, as the router would have written them."""
    now = datetime.now(UTC)
    inputs = [JourneyInput(run_id=new_id(), customer_id=new_id(), journey=JOURNEY, version=1) for _ in range(count)]
    async with database.transaction() as session:
        session.add_all(
            Customer(id=given.customer_id, external_id=uuid4().hex, first_seen=now, last_seen=now) for given in inputs
        )
        await session.flush()
        session.add_all(_run(given, kind, now) for given in inputs)
    return inputs


def _run(given: JourneyInput, kind: str, now: datetime) -> Run:
    return Run(
        id=given.run_id,
        journey=JOURNEY,
        version=1,
        customer_id=given.customer_id,
        occasion=str(given.run_id),
        state=RunState.ACTIVE,
        shadow=False,
        seen_number=0,
        entry={"event": "Journey Start Requested", "properties": {}},
        entered_at=now,
        workflow_id=_workflow_id(kind, given.run_id),
    )


def _workflow_id(kind: str, run_id: UUID) -> str:
    return f"benchmark/{kind}/{run_id}"


def _attributes(given: JourneyInput) -> TypedSearchAttributes:
    """What ops filter by, the same for both."""
    return TypedSearchAttributes(
        [
            SearchAttributePair(SearchAttributeKey.for_keyword("CustomerId"), str(given.customer_id)),
            SearchAttributePair(SearchAttributeKey.for_keyword("Journey"), given.journey),
            SearchAttributePair(SearchAttributeKey.for_int("JourneyVersion"), given.version),
            SearchAttributePair(SearchAttributeKey.for_keyword("RunState"), RunState.ACTIVE),
        ]
    )


async def _histories(client: Client, database: Database, kind: str) -> Left:
    """Of runs one at a time, which also warm the worker: under load Temporal adds workflow tasks of its own."""
    ids = [(await _round(client, database, kind, 1))[1][0] for _ in range(SAMPLED)]
    histories = [await client.get_workflow_handle(each).fetch_history() for each in ids]
    return Left(
        events=fmean(len(history.events) for history in histories),
        size=fmean(sum(event.ByteSize() for event in history.events) for history in histories),
    )
