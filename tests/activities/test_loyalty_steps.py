"""The steps `points` and `reward` as activities: tried again, at once or after a crash, they give once."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete

from activities.points import PointsActivities
from activities.rewards import RewardActivities
from database.runs import Run, RunStep
from database.session import Database
from domain.journeys.library import DefinitionLibrary
from domain.runs import OutcomeKind, StepInput, StepOutcome
from tests.factories_journeys import NOW, make_run
from tests.rewarding import TEA, balance_of, make_member, publish, publish_programme, publish_reward, redemptions_of

JOURNEY: dict[str, Any] = {
    "journey": "welcome",
    "enter": {"on": {"event": "Product Added"}},
    "steps": [
        {"points": {"award": 100}, "id": "award"},
        {"points": {"deduct": 30}, "id": "deduct"},
        {"reward": {"give": "free-tea"}, "id": "tea"},
    ],
}


@pytest.fixture
async def ann(database: Database) -> UUID:
    await publish_programme(database)
    await publish_reward(database, TEA)
    await publish(database, "journey", JOURNEY)
    return await make_member(database, points=50)


async def perform(database: Database, run_id: UUID, step: str) -> StepOutcome:
    """One attempt at a step."""
    library, at = DefinitionLibrary(lambda *_: JOURNEY), StepInput(run_id=run_id, step=step, visit=1, as_of=NOW)
    if step == "tea":
        return await RewardActivities(database, library).reward(at)
    return await PointsActivities(database, library).points(at)


async def forget(database: Database, run_id: UUID, step: str) -> None:
    """The run's log is as if the step had never been."""
    async with database.transaction() as session:
        await session.execute(delete(RunStep).where(RunStep.run_id == run_id, RunStep.step == step))


async def test_attempts_at_once_and_again_after_the_log_was_lost_give_and_take_once(
    database: Database, ann: UUID
) -> None:
    run_id = await make_run(database, "welcome", step="start", outcome="done", customer_id=ann)
    for step in ("award", "deduct", "tea"):
        await asyncio.gather(*(perform(database, run_id, step) for _ in range(3)))
        await forget(database, run_id, step)
        assert (await perform(database, run_id, step)).kind is OutcomeKind.DONE

    balance = await balance_of(database, ann)
    assert (balance.available, balance.spent) == (120, 30)
    assert len(await redemptions_of(database)) == 1


@pytest.mark.parametrize("gone", ["cancelled", "erased"])
async def test_a_run_that_was_cancelled_or_erased_in_between_gives_nothing(
    database: Database, ann: UUID, gone: str
) -> None:
    run_id = await make_run(database, "welcome", step="start", outcome="done", customer_id=ann)
    async with database.transaction() as session:
        if gone == "erased":
            await session.execute(delete(RunStep).where(RunStep.run_id == run_id))
            await session.execute(delete(Run).where(Run.id == run_id))
        else:
            (await session.get_one(Run, run_id)).state = "exited"

    kinds = {(await perform(database, run_id, step)).kind for step in ("award", "deduct", "tea")}

    assert kinds == {OutcomeKind.EXITED}
    assert (await balance_of(database, ann)).available == 50
    assert await redemptions_of(database) == []
