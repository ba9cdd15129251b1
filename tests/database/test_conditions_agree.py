"""Two evaluators, one meaning: SQL and memory give the same verdict for any condition and any customer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import TypeAdapter

from database.conditions import judge, matching
from database.session import Database
from domain.conditions.memory import compile_condition, explain
from domain.conditions.model import Condition
from perennial.embedded.postgres import EmbeddedPostgres
from tests.database.condition_world import LEAVES, SHOP, Person, World, conditions, populate
from tests.databases import Databases

_CONDITION: TypeAdapter[Condition] = TypeAdapter(Condition)
_PEOPLE = 60


@pytest.fixture(scope="module")
async def shared_database(postgres: EmbeddedPostgres, databases: Databases) -> AsyncIterator[Database]:
    """One database for all the conditions: they only read."""
    name = await databases.take()
    database = Database(postgres.url(name))
    yield database
    await database.close()
    await databases.give_back(name)


@pytest.fixture(scope="module")
async def world(shared_database: Database) -> World:
    return await populate(shared_database, Random(20261121), _PEOPLE)


_thorough = settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


async def _check(database: Database, world: World, document: dict[str, Any]) -> None:
    condition = _CONDITION.validate_python(document)
    people = world.outside + world.within_runs
    async with database.read() as session:
        verdicts = await judge(session, condition, [one.subject for one in people], shop=SHOP, explain=True)
        audience = set((await session.execute(matching(condition, world.audience_at, SHOP))).scalars())
    expected = [_in_memory(condition, one) for one in people]
    assert [(verdict.holds, verdict.failed_leaf) for verdict in verdicts] == expected
    outside = zip(world.outside, expected, strict=False)  # the first half
    members = {one.subject.customer_id for one, (holds, _) in outside if holds}
    assert audience == members


def _in_memory(condition: Condition, person: Person) -> tuple[bool, str | None]:
    holds = compile_condition(condition)(person.history, person.scope)
    return holds, explain(condition, person.history, person.scope)


@_thorough
@given(document=conditions)
async def test_sql_and_memory_agree_on_any_condition(
    shared_database: Database, world: World, document: dict[str, Any]
) -> None:
    await _check(shared_database, world, document)


@_thorough
@given(document=LEAVES["points"] | LEAVES["tier"])
async def test_sql_and_memory_agree_on_points_and_tiers(
    shared_database: Database, world: World, document: dict[str, Any]
) -> None:
    await _check(shared_database, world, document)


@_thorough
@given(document=LEAVES["trait"])
async def test_sql_and_memory_agree_on_every_operator(
    shared_database: Database, world: World, document: dict[str, Any]
) -> None:
    await _check(shared_database, world, document)
