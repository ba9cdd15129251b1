"""An erasure carried out on real servers: a canary stands in every column of every table, and afterwards nowhere."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import DateTime, LargeBinary, Numeric, SmallInteger, insert, select, text, update
from sqlalchemy import Table as SqlTable
from sqlalchemy.dialects.postgresql import JSONB
from temporalio import workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.testing import ActivityEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.erasures import ErasureActivities
from database.erasure_rules import BLANKED, GOES_WITH_ITS_OWNER, KEPT, REMOVED
from database.erasures import Erasure
from database.exports import NOT_EXPORTED, SECTIONS
from database.messages import Message, MessageEvent
from database.outbox import Command
from database.products import Product
from database.runs import Run
from database.session import Database
from database.tables import metadata
from domain.consent import TRIAL
from domain.erasures import ErasureInput, ProofInput
from tests.factories import NOON, make_customer
from triggers.erasures import request_erasure
from workflows.erasure import ErasureWorkflow

CANARY = "canary-5f1c@example.com"
PATIENCE = 240
"""Seconds that an erasure may take on a machine that has much else to do."""
CUSTOMER_ID = SearchAttributeKey.for_keyword("CustomerId")
PERSONAL = {"message_events", "events", *(table.__tablename__ for table in REMOVED), *BLANKED, *GOES_WITH_ITS_OWNER}
WORDS_OF_THE_SHOP = {
    *("journey", "version", "step", "kind", "template", "purpose", "channel", "campaign", "sender", "provider"),
    *("state", "reason", "rule", "outcome", "variants", "moves", "actor", "execution_id", "untrusted"),
    *("programme", "suspicions", "reward", "currency"),
    *("challenge", "contest", "level", "period", "credit", "list", "list_hash", "commitment", "seed", "ties"),
}
OUT_OF_REACH = {
    "customers",
    "identities",
    "outbox",
    "event_keys",
    "coupons",
    "contest_tickets",
    "leaderboard_ranks",
    "leaderboard_entrants",
}  # made by hand below, or not the customer's text


@workflow.defn(name="abandoned-cart")
class Standing:
    """A journey's workflow that stands at a wait for ever."""

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)


async def test_every_table_is_known_to_erasures_and_exports() -> None:
    named = {*PERSONAL, *KEPT}

    assert set(metadata.tables) == named
    assert not PERSONAL & set(KEPT)
    elsewhere = {"entry_decisions", "tier_memberships"}  # exported as journey_decisions and tiers
    assert PERSONAL - set(SECTIONS) - set(NOT_EXPORTED) == elsewhere


async def test_nothing_of_the_person_is_left_in_any_table_nor_in_temporal(
    database: Database, temporal_client: Client
) -> None:
    ann = await make_person(database, CANARY)
    await make_person(database, "bob@example.com")
    async with serving(database, temporal_client) as queue:
        run = await start_standing(temporal_client, queue, ann)
        await bind_run(database, ann, run)
        assert await where_found(database) >= PERSONAL - OUT_OF_REACH

        job = await erase(database, ann)
        await asyncio.wait_for(carry_out(temporal_client, queue, job), PATIENCE)

        assert await where_found(database) == set()
        assert [each async for each in temporal_client.list_workflows(f'CustomerId = "{ann}"')] == []
    proof = await proof_of(database, job)
    assert (proof.state, proof.proof["found"], proof.traces) == ("completed", {}, {})
    assert proof.proof["workflows"] == {"deleted": 1}
    assert proof.proof["removed"]["events"] == 1
    assert proof.proof["blanked"] == dict.fromkeys(BLANKED, 1)
    assert await where_found(database, "bob@example.com") >= PERSONAL - OUT_OF_REACH


async def test_tests_of_templates_are_blanked_for_they_may_have_shown_the_customer(
    database: Database, temporal_client: Client
) -> None:
    ann = await make_customer(database, "ann", traits={"first_name": "Ann"})
    shown = Message(
        id=uuid.uuid4(), customer_id=None, channel="email", purpose=TRIAL, template="hello", state="accepted",
        created_at=NOON, to="marketer@shop.example", subject="Hello Ann", html="<p>Ann</p>", text="Ann", attempts=[],
        headers={}, resent=False,
    )  # fmt: skip
    async with database.transaction() as session:
        session.add(shown)
    async with serving(database, temporal_client) as queue:
        await asyncio.wait_for(carry_out(temporal_client, queue, await erase(database, ann)), PATIENCE)

    async with database.read() as session:
        left = (await session.execute(select(Message))).scalar_one()
    assert (left.subject, left.html, left.text, left.state) == (None, None, None, "accepted")


async def test_an_erasure_that_is_carried_out_twice_ends_the_same(database: Database, temporal_client: Client) -> None:
    ann = await make_person(database, CANARY)
    async with serving(database, temporal_client) as queue:
        job = await erase(database, ann)
        await asyncio.wait_for(carry_out(temporal_client, queue, job), PATIENCE)
        first = (await proof_of(database, job)).proof
        await asyncio.wait_for(carry_out(temporal_client, queue, job), PATIENCE)

    assert (await proof_of(database, job)).proof == first


async def test_blanking_goes_on_in_portions_where_it_was_cut_off_and_counts_each_row_once(
    database: Database, temporal_client: Client
) -> None:
    """Seven messages of two reports each, three rows at once; killed after two portions."""
    ann = await make_customer(database, "ann", traits={"email": CANARY})
    async with database.transaction() as session:
        for number in range(7):
            message = Message(
                id=uuid.uuid4(), customer_id=ann, channel="email", purpose="marketing", template="t", state="accepted",
                created_at=NOON, to=CANARY, subject=CANARY, html=CANARY, text=CANARY, attempts=[], headers={},
                resent=False,
            )  # fmt: skip
            session.add(message)
            await session.flush()
            for kind in ("opened", "clicked"):
                told = {"message_id": message.id, "kind": kind, "at": NOON, "detail": {"url": f"/?to={CANARY}"}}
                session.add(MessageEvent(provider="perennial", provider_event_id=f"{kind}/{number}", **told))
    job = await erase(database, ann)
    activities = ErasureActivities(database, temporal_client, portion=3)
    portions = 0

    def killed(_: object = None) -> None:
        nonlocal portions
        portions += 1
        if portions == 3:
            raise asyncio.CancelledError

    environment = ActivityEnvironment()
    environment.on_heartbeat = killed
    with pytest.raises(asyncio.CancelledError):
        await environment.run(activities.remove_records, ErasureInput(erasure_id=job))
    cut_off = (await proof_of(database, job)).proof["blanked"]
    assert await prove(database, temporal_client, job, last=False)

    done = await proof_of(database, job)
    assert 0 < cut_off["message_events"] < 14
    assert (done.proof["blanked"]["message_events"], done.proof["blanked"]["messages"]) == (14, 7)
    assert await where_found(database) == set()


async def test_an_erasure_ends_with_what_its_last_search_found_and_keeps_nothing_of_the_person(
    database: Database, temporal_client: Client
) -> None:
    """The product's catalogue names her address: nobody's row to remove, and no reason never to end."""
    ann = await make_customer(database, CANARY, traits={"email": CANARY})
    async with database.transaction() as session:
        session.add(Product(product_id="p-1", name=f"Made for {CANARY}", attributes={}, seen_at=NOON, trusted=True))
    job = await erase(database, ann)

    assert not await prove(database, temporal_client, job, last=False)
    assert (await proof_of(database, job)).state == "running"
    assert await prove(database, temporal_client, job, last=True)

    proof = await proof_of(database, job)
    assert (proof.state, proof.proof["found"], proof.traces) == ("completed", {"products": 1}, {})


async def test_a_step_that_waits_for_a_lock_goes_on_telling_temporal_that_its_worker_lives(
    database: Database, temporal_client: Client
) -> None:
    ann = await make_customer(database, "ann")
    job = await erase(database, ann)
    activities = ErasureActivities(database, temporal_client, beat_seconds=0.05)
    environment, lives = ActivityEnvironment(), asyncio.Event()
    environment.on_heartbeat = lambda *_: lives.set()

    async with database.transaction() as session:
        await session.execute(select(Erasure).where(Erasure.id == job).with_for_update())
        step = asyncio.create_task(environment.run(activities.remove_records, ErasureInput(erasure_id=job)))
        await asyncio.wait_for(lives.wait(), PATIENCE)
        step.cancel()
    await asyncio.gather(step, return_exceptions=True)


async def test_a_worker_that_dies_in_an_erasure_costs_minutes(database: Database, temporal_client: Client) -> None:
    async with serving(database, temporal_client) as queue:
        job = await erase(database, await make_customer(database, "ann"))
        workflow_id = await asyncio.wait_for(carry_out(temporal_client, queue, job), PATIENCE)

    history = await temporal_client.get_workflow_handle(workflow_id).fetch_history()
    steps = [
        event.activity_task_scheduled_event_attributes
        for event in history.events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    assert len(steps) == 3
    assert all(0 < step.heartbeat_timeout.ToSeconds() <= 180 for step in steps)
    assert all(step.start_to_close_timeout.ToSeconds() >= 3_600 for step in steps)


async def prove(database: Database, client: Client, job: UUID, *, last: bool) -> bool:
    """The last step of a round of an erasure."""
    given = ProofInput(erasure_id=job, as_of=NOON, last=last)
    activities = ErasureActivities(database, client)
    if not last:
        await ActivityEnvironment().run(activities.remove_records, ErasureInput(erasure_id=job))
    return await ActivityEnvironment().run(activities.prove, given)


async def make_person(database: Database, name: str) -> UUID:
    """A customer with one row in every table that holds something of customers, `name` in every column that can."""
    ours = await make_customer(database, name, traits={"email": name}, anonymous_id=f"browser of {name}")
    ids = {"customer_id": ours, "run_id": uuid.uuid4(), "message_id": uuid.uuid4(), "referral_id": uuid.uuid4()}
    tables = metadata.sorted_tables
    async with database.transaction() as session:
        for table in tables:
            if table.name in PERSONAL - {"customers", "identities"}:
                await session.execute(insert(table).values(row_of(table, name, ids)))
    return ours


def row_of(table: SqlTable, name: str, ids: Mapping[str, UUID]) -> dict[str, Any]:
    """A row with `name` in every column that takes text, JSON or bytes, except those that hold the shop's own words."""
    row = {
        column.name: value_of(column.type, "shop's" if column.name in WORDS_OF_THE_SHOP else name)
        for column in table.columns
        if column.server_default is None or isinstance(column.type, JSONB)
    }
    ours = {column.name for column in table.columns if column.type.python_type is UUID and table.name != "events"}
    row |= {column: id_ for column, id_ in ids.items() if column in ours}
    match table.name:
        case "runs":
            row |= {"id": ids["run_id"], "state": "completed", "first_run_id": None, "execution_id": None}
        case "messages":
            row |= {"id": ids["message_id"], "state": "accepted"}
        case "events":
            row |= {"customer_id": ids["customer_id"], "status": "routed", "message_id": name, "source": name}
        case "event_keys":
            row |= {"message_id": name}
        case "message_events":
            row |= {"provider_event_id": str(ids["message_id"])}
        case "referrals":
            row |= {"id": ids["referral_id"], "referee_id": ids["customer_id"], "state": "claimed"}
        case "coupons" | "coupon_uses":
            row |= {"code": f"CODE-{ids['run_id']}"}
            row |= {"shares": [100]} if table.name == "coupon_uses" else {}  # amounts, never words
            row.pop("number", None)
        case "tier_memberships":
            row |= {"until_at": None}
        case "outbox":
            row |= {"workflow_id": name, "kind": "wake"}
            row.pop("id", None)
        case _:
            pass
    return row


def value_of(kind: Any, name: str) -> Any:  # a column's type; whatever it takes
    if isinstance(kind, JSONB):
        return {"told": [name]}
    if isinstance(kind, DateTime):
        return NOON
    if isinstance(kind, LargeBinary):
        return name.encode()
    if isinstance(kind, SmallInteger | Numeric) or kind.python_type is int:
        return 1
    if kind.python_type is UUID:
        return uuid.uuid4()
    return False if kind.python_type is bool else name


async def where_found(database: Database, name: str = CANARY) -> set[str]:
    """The tables of this database, partitions too, in which a row shows the name in any way."""
    async with database.read() as session:
        tables = (
            await session.execute(
                text("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
            )
        ).scalars()
        found = set()
        for table in tables:
            row = f"strpos(t::text, '{name}') > 0 OR strpos(t::text, '{name.encode().hex()}') > 0"
            if await session.scalar(text(f'SELECT EXISTS (SELECT FROM "{table}" t WHERE {row})')):
                found.add(table)
    return {"event_keys" if table.startswith("event_keys") else table for table in found}


@asynccontextmanager
async def serving(database: Database, client: Client) -> AsyncIterator[str]:
    """A worker with the erasure and a journey that stands still. Yields its task queue."""
    activities = ErasureActivities(database, client)
    async with Worker(
        client,
        task_queue="journeys",
        workflows=[ErasureWorkflow, Standing],
        activities=[activities.delete_executions, activities.remove_records, activities.prove],
        workflow_runner=UnsandboxedWorkflowRunner(),
        graceful_shutdown_timeout=timedelta(seconds=1),
    ):
        yield "journeys"


async def start_standing(client: Client, queue: str, customer_id: UUID) -> WorkflowHandle[Standing, None]:
    attributes = TypedSearchAttributes([SearchAttributePair(CUSTOMER_ID, str(customer_id))])
    id_ = f"journey/abandoned-cart/{customer_id}/1"
    return await client.start_workflow(Standing.run, id=id_, task_queue=queue, search_attributes=attributes)


async def bind_run(database: Database, customer_id: UUID, handle: WorkflowHandle[Standing, None]) -> None:
    async with database.transaction() as session:
        run = (await session.execute(select(Run).where(Run.customer_id == customer_id))).scalar_one()
        await session.execute(
            update(Command).where(Command.workflow_id == run.workflow_id).values(workflow_id=handle.id)
        )
        run.workflow_id, run.first_run_id, run.state = handle.id, handle.first_execution_run_id, "active"


async def erase(database: Database, customer_id: UUID) -> UUID:
    async with database.transaction() as session:
        return (await request_erasure(session, customer_id, by="key", as_of=NOON)).id


async def carry_out(client: Client, queue: str, job: UUID) -> str:
    """The workflow's id, when it has ended."""
    id_ = f"erasure/{job}/{uuid.uuid4()}"
    await client.execute_workflow(ErasureWorkflow.run, ErasureInput(erasure_id=job), id=id_, task_queue=queue)
    return id_


async def proof_of(database: Database, job: UUID) -> Erasure:
    async with database.read() as session:
        return await session.get_one(Erasure, job)
