"""Decisions about more runs than one request can carry out: they hold at once and follow in pages."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import func, select, text

from activities.steps import OpenStep, open_step
from database import run_changes
from database.definitions import load_from
from database.outbox import Command
from database.runs import Run, Wait
from database.session import Database
from domain.journeys.library import DefinitionLibrary
from domain.runs import OutcomeKind, StepInput, StepOutcome
from tests.api.test_journeys import CART, publish, save, template
from tests.factories_journeys import NOW, make_run
from triggers.run_changes import RunChanges

__all__ = ["template"]

MANY = run_changes.AT_ONCE + 101

_MANY_RUNS = text("""
    WITH made AS (
        INSERT INTO customers (id, external_id, traits, trait_times, first_seen, last_seen, last_number)
        SELECT gen_random_uuid(), 'many-' || n, '{}', '{}', :now, :now, 1 FROM generate_series(1, :count) AS n
        RETURNING id
    ), begun AS (
        INSERT INTO runs
            (id, journey, version, customer_id, occasion, state, shadow, step, seen_number, entry, entered_at,
             workflow_id)
        SELECT gen_random_uuid(), 'cart', 1, id, '-', 'active', false, 'quiet', 1, '{}', :now, 'journey/cart/' || id
        FROM made RETURNING id, customer_id
    ), steps AS (
        INSERT INTO run_steps (run_id, step, visit, kind, reached_at, outcome)
        SELECT id, 'quiet', 1, 'wait_for', :now, 'waiting' FROM begun
    )
    INSERT INTO waits (run_id, step, visit, customer_id, version, status, registered_at)
    SELECT id, 'quiet', 1, customer_id, 1, 'waiting', :now FROM begun
""")
CHANGED = CART | {"steps": [*CART["steps"], {"wait": {"for": "1d"}}]}


async def planned(client: httpx.AsyncClient, document: dict[str, Any]) -> dict[str, Any]:
    """The plan of publishing this, for runs in flight."""
    assert (await save(client, document)).status_code == 200
    plan: dict[str, Any] = (await client.post("/v1/journeys/cart/publish", json={"dry_run": True})).json()
    return plan


@pytest.fixture
async def many(client: httpx.AsyncClient, database: Database) -> None:
    await publish(client, CART)
    async with database.transaction() as session:
        await session.execute(_MANY_RUNS, {"now": NOW, "count": MANY})


async def ask(database: Database, run_id: UUID, step: str, visit: int = 1) -> OpenStep | StepOutcome:
    """What a run's workflow hears when it wants to do a step."""
    library = DefinitionLibrary(load_from(database, asyncio.get_running_loop()))
    at = StepInput(run_id=run_id, step=step, visit=visit, as_of=NOW + timedelta(hours=1))
    async with database.transaction() as session:
        return await open_step(session, library, at)


async def some_run(database: Database) -> UUID:
    async with database.read() as session:
        return (await session.execute(select(Run.id).where(Run.state == "active").limit(1))).scalar_one()


async def count(database: Database, state: str) -> int:
    async with database.read() as session:
        return (await session.execute(select(func.count()).where(Run.state == state))).scalar_one()


async def carry_out(database: Database) -> list[int]:
    """How many runs each page reached, until nothing is left."""
    loop, pages = RunChanges(database), list[int]()
    while (reached := await loop.carry_out_once()) is not None:
        pages.append(reached)
    return pages


async def die_in_a_page(database: Database) -> None:
    async with database.transaction() as session:
        await run_changes.carry_out_page(session, NOW)
        raise RuntimeError("killed")


@pytest.mark.usefixtures("many")
async def test_archiving_a_journey_with_many_runs_holds_at_once_and_ends_them_page_by_page(
    client: httpx.AsyncClient, database: Database
) -> None:
    archived = (await client.post("/v1/journeys/cart/archive")).json()

    assert archived["runs"] == {"stay": 0, "moved": 0, "finished": 0, "woken": 0, "under_way": MANY}
    assert await count(database, "active") == MANY  # none was touched
    answer = await ask(database, await some_run(database), "send-2")
    assert isinstance(answer, StepOutcome)
    assert (answer.kind, answer.reason) == (OutcomeKind.EXITED, "archived")

    pages = await carry_out(database)

    assert max(pages) <= run_changes.PAGE
    assert sum(pages) == MANY - 1  # one had asked
    assert await count(database, "active") == 0
    async with database.read() as session:
        waiting = await session.execute(select(func.count()).where(Wait.status == "waiting"))
        woken = await session.execute(select(func.count(Command.workflow_id.distinct())).where(Command.kind == "wake"))
        assert (waiting.scalar_one(), woken.scalar_one()) == (0, MANY)
    [change] = (await client.get("/v1/journeys/cart/run-changes")).json()["data"]
    assert (change["change"], change["runs"], change["carried_out"]) == ("archive", MANY, MANY - 1)
    assert change["done_at"] is not None


@pytest.mark.usefixtures("many")
async def test_a_journey_published_again_after_its_archive_keeps_its_new_runs(
    client: httpx.AsyncClient, database: Database
) -> None:
    await client.post("/v1/journeys/cart/archive")
    plan = await planned(client, CHANGED)
    wish = {"plan": plan["plan"], "revive": True}
    assert (await client.post("/v1/journeys/cart/publish", json=wish)).status_code == 200
    new = await make_run(database, "cart", step="quiet", outcome="waiting", version=2)

    await carry_out(database)

    assert (await client.get(f"/v1/runs/{new}")).json()["state"] == "active"
    assert await count(database, "active") == 1


@pytest.mark.usefixtures("many")
async def test_no_message_leaves_for_a_run_that_a_plan_finishes_before_its_page_has_come(
    client: httpx.AsyncClient, database: Database
) -> None:
    elsewhere = await make_run(database, "cart", step="send-2", outcome="held")
    plan = await planned(client, CHANGED)
    wish = {"plan": plan["plan"], "policy": {"quiet": "finish"}}
    confirmed = (await client.post("/v1/journeys/cart/publish", json=wish)).json()

    assert (confirmed["runs"]["under_way"], confirmed["runs"]["stay"]) == (MANY, 1)
    async with database.read() as session:
        at_step = select(Run.id).where(Run.step == "quiet").limit(1)
        answer = await ask(database, (await session.execute(at_step)).scalar_one(), "send-2")
    assert isinstance(answer, StepOutcome)
    assert answer.reason == "finished"
    assert isinstance(await ask(database, elsewhere, "send-2"), OpenStep)
    await carry_out(database)
    assert await count(database, "active") == 1


@pytest.mark.usefixtures("many")
async def test_a_plan_moves_many_runs_page_by_page_and_whoever_asks_before_goes_on_in_the_new_version(
    client: httpx.AsyncClient, database: Database
) -> None:
    plan = await planned(client, CHANGED)
    wish = {"plan": plan["plan"], "policy": {"quiet": "move"}}
    assert (await client.post("/v1/journeys/cart/publish", json=wish)).json()["runs"]["under_way"] == MANY
    answer = await ask(database, await some_run(database), "quiet")
    assert isinstance(answer, OpenStep)
    assert answer.run.version == 2

    pages = await carry_out(database)

    assert max(pages) <= run_changes.PAGE
    async with database.read() as session:
        rows = (await session.execute(select(Run.version, func.jsonb_array_length(Run.moves)).distinct())).all()
    assert [tuple(row) for row in rows] == [(2, 1)]


@pytest.mark.usefixtures("many")
async def test_resuming_wakes_many_held_runs_page_by_page(client: httpx.AsyncClient, database: Database) -> None:
    await client.post("/v1/journeys/cart/pause")
    async with database.transaction() as session:
        await session.execute(text("UPDATE runs SET held = true"))

    resumed = (await client.post("/v1/journeys/cart/resume")).json()

    assert resumed["runs"]["under_way"] == MANY
    assert sum(await carry_out(database)) == MANY
    async with database.read() as session:
        assert (await session.execute(select(func.count()).where(Run.held))).scalar_one() == 0


@pytest.mark.usefixtures("many")
async def test_a_page_that_is_cut_off_by_a_crash_is_done_again_and_no_run_twice(
    client: httpx.AsyncClient, database: Database
) -> None:
    await client.post("/v1/journeys/cart/archive")
    with pytest.raises(RuntimeError):
        await die_in_a_page(database)

    two = await asyncio.gather(*(carry_out(database) for _ in range(2)))

    assert sum(map(sum, two)) == MANY
    [change] = (await client.get("/v1/journeys/cart/run-changes")).json()["data"]
    assert change["carried_out"] == MANY
