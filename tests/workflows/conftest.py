"""A stage for runs: a published journey, a customer, and workers that walk on the time-skipping server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select
from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.branches import BranchActivities
from activities.calls import CallActivities
from activities.messages import Settled, SettleInput
from activities.points import PointsActivities
from activities.rewards import RewardActivities
from activities.runs import RunActivities
from activities.steps import OpenStep, open_step
from activities.updates import UpdateActivities
from activities.waits import WaitActivities
from connectors.rendering import Renderer
from connectors.webhook import Webhooks
from database.customers import Customer, Identity
from database.definitions import load_from
from database.documents import DocumentRow, DocumentVersion
from database.events import Event
from database.outbox import Command
from database.runs import Run, RunStep, Wait
from database.session import Database
from database.watches import WaitMet, settle_waits
from domain.ids import new_id
from domain.journeys.definition import JourneyDefinition
from domain.journeys.identity import with_ids
from domain.journeys.library import DefinitionLibrary, install
from domain.runs import JourneyInput, StepInput, StepOutcome
from workflows.journey import JourneyWorkflow
from workflows.sandbox import sandbox

WEBHOOK_SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


class SentBox:
    """Stands in for the send gate under its activity's name: remembers, and answers what a test wants."""

    def __init__(self, database: Database, library: DefinitionLibrary) -> None:
        self.sent: list[tuple[str, int]] = []
        self.answers: dict[str, list[StepOutcome | Exception]] = {}
        self._database = database
        self._library = library

    @activity.defn(name="send")
    async def send(self, at: StepInput) -> StepOutcome:
        prepared = self.answers.get(at.step, [])
        answer = prepared.pop(0) if prepared else None
        if isinstance(answer, Exception):
            raise answer
        async with self._database.transaction() as session:
            opened = await open_step(session, self._library, at)
            if not isinstance(opened, OpenStep):
                return opened
            if opened.withheld is not None:
                return opened.withheld
            if answer is not None:
                return answer if answer.at else opened._settled(answer.kind, answer.reason, None, {})
            self.sent.append((at.step, at.visit))
            return opened.done()

    @activity.defn(name="settle_messages")
    async def settle_messages(self, asked: SettleInput) -> Settled:
        """Nothing is ever left half sent here."""
        return Settled(lost=0, unknown=0, stranded=0)


@dataclass
class Stage:
    """What a test of runs needs at hand."""

    database: Database
    client: Client
    queue: str
    outbox: SentBox
    library: DefinitionLibrary
    now: datetime
    versions: dict[str, int] = field(default_factory=dict)
    skip: Callable[[timedelta], Awaitable[None]] | None = None  # lets time pass, where it can be skipped
    task_timeout: timedelta | None = None  # None: the server's, 10 s

    async def publish(self, document: dict[str, Any], *, state: str = "live") -> int:
        """Make the next version of a journey, without checks or plan."""
        definition = with_ids(JourneyDefinition.model_validate(document))
        key = definition.journey
        self.versions[key] = version = self.versions.get(key, 0) + 1
        written = definition.model_dump(mode="json", exclude_unset=True)
        async with self.database.transaction() as session:
            row = await session.get(DocumentRow, ("journey", key))
            if row is None:
                row = DocumentRow(kind="journey", key=key, etag="", updated_at=self.now, draft={}, state=state)
                session.add(row)
            row.draft, row.state, row.live_version = written, state, version
            await session.flush()
            session.add(
                DocumentVersion(kind="journey", key=key, version=version, document=written, published_at=self.now)
            )
        return version

    async def customer(self, **traits: Any) -> UUID:
        """A customer as identity routing would have left one."""
        customer_id = new_id()
        zone = traits.pop("zone", None)
        async with self.database.transaction() as session:
            session.add(
                Customer(
                    id=customer_id,
                    external_id=f"u-{customer_id}",
                    traits=traits,
                    trait_times={},
                    zone=zone,
                    first_seen=self.now,
                    last_seen=self.now,
                    last_number=1,
                )
            )
            await session.flush()
            session.add(Identity(kind="user", value=f"u-{customer_id}", customer_id=customer_id, first_seen=self.now))
        return customer_id

    async def enter(
        self, journey: str, customer_id: UUID | None = None, *, started: bool = True, **values: Any
    ) -> Entered:
        """Write a run as enrolment would, and start its workflow as the relay would."""
        customer_id = customer_id or await self.customer()
        run_id = new_id()
        workflow_id = f"journey/{journey}/{customer_id}/{run_id}"
        row: dict[str, Any] = {
            "version": self.versions[journey],
            "entry": {"event": "Product Added", "properties": {}},
            "seen_number": 1,
            "entered_at": self.now,
            "state": "active",
            "shadow": False,
            "saved": {},
            "variants": {},
            "depth": 0,
            "moves": [],
            "held": False,
        } | values
        async with self.database.transaction() as session:
            session.add(
                Run(
                    id=run_id,
                    journey=journey,
                    customer_id=customer_id,
                    occasion=str(run_id),
                    workflow_id=workflow_id,
                    **row,
                )
            )
        if not started:
            return Entered(self, run_id, customer_id, self.client.get_workflow_handle(workflow_id))
        handle = await self.start(
            journey,
            JourneyInput(run_id=run_id, customer_id=customer_id, journey=journey, version=row["version"]),
            workflow_id,
        )
        return Entered(self, run_id, customer_id, handle)

    async def event(self, customer_id: UUID, name: str, **properties: Any) -> UUID:
        """An event of the customer that has been routed, as far as its row goes."""
        event_id = new_id()
        async with self.database.transaction() as session:
            customer = await session.get(Customer, customer_id)
            assert customer is not None
            customer.last_number += 1
            session.add(
                Event(
                    id=event_id,
                    source="test",
                    message_id=str(event_id),
                    kind="track",
                    name=name,
                    subject=f"u:{customer.external_id}",
                    user_id=customer.external_id,
                    timestamp=self.now,
                    received_at=self.now,
                    properties=properties,
                    traits={},
                    context={},
                    trusted=True,
                    status="routed",
                    customer_id=customer_id,
                    number=customer.last_number,
                )
            )
        return event_id

    async def mark(self, event_id: UUID, status: str) -> None:
        """Whether the event is routed yet."""
        async with self.database.transaction() as session:
            event = await session.get(Event, event_id)
            assert event is not None
            event.status = status

    async def route(self, customer_id: UUID, **traits: Any) -> bool:
        """What the router does with the events a run has appended; whether there were any."""
        async with self.database.transaction() as session:
            customer = await session.get(Customer, customer_id)
            assert customer is not None
            pending = (Event.user_id == customer.external_id) & (Event.status == "pending")
            events = (await session.execute(select(Event).where(pending))).scalars().all()
            for event in events:
                event.status = "routed"
                customer.traits = customer.traits | traits
        return bool(events)

    async def change(self, journey: str, state: str) -> None:
        """Pause, resume or archive, as the API does."""
        async with self.database.transaction() as session:
            row = await session.get(DocumentRow, ("journey", journey))
            assert row is not None
            row.state = state

    async def definitions(self, journey: str) -> dict[str, Any]:
        """The documents of all versions, by number."""
        async with self.database.read() as session:
            rows = await session.execute(select(DocumentVersion).where(DocumentVersion.key == journey))
            return {str(row.version): row.document for row in rows.scalars()}

    async def commands(self) -> Sequence[Command]:
        """What the outbox holds for the relay."""
        async with self.database.read() as session:
            return (await session.execute(select(Command).order_by(Command.id))).scalars().all()

    async def start(self, journey: str, start: JourneyInput, workflow_id: str) -> WorkflowHandle[Any, Any]:
        """Start a run's workflow with the attributes that the relay sets."""
        attributes = TypedSearchAttributes(
            [
                SearchAttributePair(SearchAttributeKey.for_keyword("CustomerId"), str(start.customer_id)),
                SearchAttributePair(SearchAttributeKey.for_keyword("Journey"), journey),
                SearchAttributePair(SearchAttributeKey.for_int("JourneyVersion"), start.version),
                SearchAttributePair(SearchAttributeKey.for_keyword("RunState"), "active"),
            ]
        )
        return await self.client.start_workflow(
            journey,
            start,
            id=workflow_id,
            task_queue=self.queue,
            search_attributes=attributes,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            static_summary=f"{journey}, version {start.version}",
            task_timeout=self.task_timeout,
        )


@dataclass
class Entered:
    """One run on the stage."""

    stage: Stage
    run_id: UUID
    customer_id: UUID
    handle: WorkflowHandle[Any, Any]

    async def ends(self) -> Run:
        """Wait for the workflow's end (time skips to it) and answer the row."""
        await self.handle.result()
        return await self.row()

    async def row(self) -> Run:
        """The run's row now."""
        async with self.stage.database.read() as session:
            run = await session.get(Run, self.run_id)
            assert run is not None
            return run

    async def log(self) -> list[tuple[str, int, str, str | None]]:
        """The run log: step, visit, outcome, reason, in the order of arrival."""
        async with self.stage.database.read() as session:
            statement = (
                select(RunStep)
                .where(RunStep.run_id == self.run_id)
                .order_by(RunStep.reached_at, RunStep.at, RunStep.step)
            )
            rows = (await session.execute(statement)).scalars()
            return [(row.step, row.visit, row.outcome, row.reason) for row in rows]

    async def step(self, step: str, visit: int = 1) -> RunStep | None:
        """One entry of the run log."""
        async with self.stage.database.read() as session:
            return await session.get(RunStep, (self.run_id, step, visit))

    async def met(self, step: str, alternative: int, event_id: UUID, visit: int = 1) -> None:
        """The router settles the wait and the relay wakes the workflow."""
        async with self.stage.database.transaction() as session:
            met = WaitMet(self.run_id, step, visit, alternative, event_id)
            await settle_waits(session, [met], [], self.stage.now)
        await self.handle.signal("wake")

    async def wait_row(self, step: str, visit: int = 1) -> Wait:
        """The row of a wait."""
        async with self.stage.database.read() as session:
            row = await session.get(Wait, (self.run_id, step, visit))
            assert row is not None
            return row

    async def stands_at(self, step: str) -> None:
        """Wait until the run stands at a step."""
        async with asyncio.timeout(60):
            while True:
                row = await self.row()
                if (row.step == step and row.waiting_for is not None) or (row.held and row.step == step):
                    return
                await asyncio.sleep(0.02)


@asynccontextmanager
async def staged(database: Database, client: Client, now: datetime, *, cached: int = 100) -> AsyncIterator[Stage]:
    """Workers for both queues of runs, with a library of their own."""
    library = DefinitionLibrary(load_from(database, asyncio.get_running_loop()))
    install(library)
    renderer = Renderer(processes=1)
    webhooks = Webhooks(WEBHOOK_SECRET, allow_private=True)
    outbox = SentBox(database, library)
    waits, branches = WaitActivities(database, library), BranchActivities(database, library)
    updates, runs = UpdateActivities(database, library, renderer), RunActivities(database, library)
    calls = CallActivities(database, library, renderer, webhooks)
    decisions = [
        waits.wait,
        waits.wait_for,
        branches.branch,
        branches.split,
        updates.update,
        updates.emit,
        updates.start,
        PointsActivities(database, library).points,
        RewardActivities(database, library).reward,
    ]
    async with AsyncExitStack() as stack:
        stack.push_async_callback(renderer.close)
        stack.push_async_callback(webhooks.close)
        await stack.enter_async_context(
            Worker(
                client,
                task_queue="journeys",
                workflows=[JourneyWorkflow],
                activities=[*decisions, runs.finish_run, runs.fail_step],
                workflow_runner=sandbox(),
                max_cached_workflows=cached,
            )
        )
        await stack.enter_async_context(
            Worker(client, task_queue="messages", activities=[outbox.send, outbox.settle_messages, calls.call])
        )
        yield Stage(database, client, "journeys", outbox, library, now)


@pytest.fixture
async def stage(
    database: Database, time_skipping: WorkflowEnvironment, request: pytest.FixtureRequest
) -> AsyncIterator[Stage]:
    """A stage on the time-skipping server."""
    replays = request.config.getoption("--replay-always")
    now = (await time_skipping.get_current_time()).astimezone(UTC)
    async with staged(database, time_skipping.client, now, cached=0 if replays else 100) as built:
        built.skip = time_skipping.sleep
        if replays:
            # Without a cache the SDK drops local activities whose run it evicts, and does them again when the
            # workflow task has timed out: that is allowed, but ten seconds each time are not needed.
            built.task_timeout = timedelta(seconds=2)
        yield built


async def emitted(stage: Stage) -> list[Event]:
    """The events that the product appended, in order."""
    async with stage.database.read() as session:
        return list(
            (await session.execute(select(Event).where(Event.source == "perennial").order_by(Event.id))).scalars()
        )
