"""Two evaluators, one meaning: SQL and memory give the same verdict for any condition and any customer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import TypeAdapter

from database.conditions import judge, matching
from database.session import Database
from domain.conditions.memory import compile_condition, explain
from domain.conditions.model import Condition
from perennial.embedded.postgres import EmbeddedPostgres
from tests.database.condition_strategies import LEAVES, conditions
from tests.database.condition_world import SHOP, Person, World, populate
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
    assert audience == _members(world, expected)


async def _check_on_trusted_facts(database: Database, world: World, document: dict[str, Any]) -> None:
    condition = _CONDITION.validate_python(document)
    people = world.outside + world.within_runs
    subjects = [one.subject for one in people]
    async with database.read() as session:
        verdicts = await judge(session, condition, subjects, shop=SHOP, explain=True, trusted=True)
        compared = await judge(session, condition, subjects, shop=SHOP, compare=True)
        members = matching(condition, world.audience_at, SHOP, trusted=True)
        audience = set((await session.execute(members)).scalars())
    trusted = [replace(one, history=one.history.trusted(), scope=one.trusted_scope) for one in people]
    expected = [_in_memory(condition, one) for one in trusted]
    assert [(verdict.holds, verdict.failed_leaf) for verdict in verdicts] == expected
    assert audience == _members(world, expected)
    both = [_in_memory(condition, one)[0] for one in people]
    assert [(verdict.holds, verdict.is_trusted) for verdict in compared] == [
        (holds, holds == by_trusted) for holds, (by_trusted, _) in zip(both, expected, strict=True)
    ]


def _members(world: World, expected: Sequence[tuple[bool, str | None]]) -> set[UUID]:
    outside = zip(world.outside, expected, strict=False)  # the first half
    return {one.subject.customer_id for one, (holds, _) in outside if holds}


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
@given(document=LEAVES["cart"])
async def test_sql_and_memory_agree_on_carts(shared_database: Database, world: World, document: dict[str, Any]) -> None:
    await _check(shared_database, world, document)
    await _check_on_trusted_facts(shared_database, world, document)


@_thorough
@given(document=LEAVES["trait"])
async def test_sql_and_memory_agree_on_every_operator(
    shared_database: Database, world: World, document: dict[str, Any]
) -> None:
    await _check(shared_database, world, document)


@_thorough
@given(document=conditions)
async def test_sql_and_memory_agree_on_trusted_facts_alone(
    shared_database: Database, world: World, document: dict[str, Any]
) -> None:
    await _check_on_trusted_facts(shared_database, world, document)


@_thorough
@given(document=LEAVES["trait"] | LEAVES["did"] | LEAVES["aggregate"] | LEAVES["consent"])
async def test_sql_and_memory_agree_on_what_browsers_told(
    shared_database: Database, world: World, document: dict[str, Any]
) -> None:
    await _check_on_trusted_facts(shared_database, world, document)
