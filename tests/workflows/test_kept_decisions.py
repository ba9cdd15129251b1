"""G34: what a run has done stays done, once, whatever becomes of its journey, its customer or its workflow."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select

from database.events import Event
from database.merging import merge
from database.points import balances
from database.reconciliation import start_again
from database.run_changes import NewRunChange, RunChangeKind, decide
from domain.runs import JourneyInput
from tests.rewarding import TEA, publish_programme, publish_reward, redemptions_of
from tests.workflows.conftest import Entered, Stage
from tests.workflows.journeys import journey

ACTS: list[dict[str, Any]] = [
    {"points": {"award": 100}, "id": "gift"},
    {"points": {"deduct": 10}, "id": "fee"},
    {"reward": {"give": "free-tea"}, "id": "tea"},
    {"send": {"template": "t"}, "id": "mail"},
    {"update": {"traits": {"welcomed": True}}, "id": "mark"},
    {"emit": {"event": "Welcomed"}, "id": "tell"},
]
PAUSE = {"wait": {"for": "1d"}, "id": "pause"}
Change = Callable[[Stage, Entered], Awaitable[Entered]]


async def paused_and_resumed(stage: Stage, run: Entered) -> Entered:
    await stage.change("welcome", "paused")
    await run.handle.signal("wake")
    await stage.change("welcome", "live")
    return await _decided(stage, run, RunChangeKind.WAKE)


async def edited(stage: Stage, run: Entered) -> Entered:
    await stage.publish(journey(PAUSE, *ACTS))
    return run


async def moved_while_paused(stage: Stage, run: Entered) -> Entered:
    await stage.change("welcome", "paused")
    await stage.publish(journey(PAUSE, *ACTS), state="paused")
    run = await _decided(stage, run, RunChangeKind.MOVE)
    await stage.change("welcome", "live")
    return await _decided(stage, run, RunChangeKind.WAKE)


async def moved_there_and_back(stage: Stage, run: Entered) -> Entered:
    for steps in ([PAUSE, *ACTS], [*ACTS, PAUSE], [PAUSE, *reversed(ACTS)]):
        await stage.publish(journey(*steps))
        run = await _decided(stage, run, RunChangeKind.MOVE)
    return run


async def archived(stage: Stage, run: Entered) -> Entered:
    await stage.change("welcome", "archived")
    return await _decided(stage, run, RunChangeKind.ARCHIVE)


async def archived_and_published_again(stage: Stage, run: Entered) -> Entered:
    run = await archived(stage, run)
    await stage.publish(journey(PAUSE, *ACTS))
    return run


async def merged_into_another(stage: Stage, run: Entered) -> Entered:
    return await _merged(stage, run, loser=run.customer_id, survivor=await stage.customer())


async def joined_by_another(stage: Stage, run: Entered) -> Entered:
    return await _merged(stage, run, loser=await stage.customer(), survivor=run.customer_id)


async def begun_again(stage: Stage, run: Entered) -> Entered:
    await run.handle.terminate()
    async with stage.database.transaction() as session:
        assert await start_again(session, run.run_id)
    given = JourneyInput.model_validate((await stage.commands())[-1].payload["input"])
    return Entered(stage, run.run_id, run.customer_id, await stage.start("welcome", given, f"{run.run_id}-again"))


async def moved_and_begun_again(stage: Stage, run: Entered) -> Entered:
    await stage.publish(journey(PAUSE, *ACTS))
    return await begun_again(stage, await _decided(stage, run, RunChangeKind.MOVE, wake=False))


async def _decided(stage: Stage, run: Entered, kind: RunChangeKind, *, wake: bool = True) -> Entered:
    before = stage.versions["welcome"] + (kind is not RunChangeKind.MOVE)
    steps = ["pause"] if kind is RunChangeKind.MOVE else None
    async with stage.database.transaction() as session:
        await decide(session, NewRunChange("welcome", kind, before, steps), stage.now)
    if wake:
        await run.handle.signal("wake")
    return run


async def _merged(stage: Stage, run: Entered, *, loser: UUID, survivor: UUID) -> Entered:
    async with stage.database.transaction() as session:
        await merge(session, loser, survivor, stage.now)
    return Entered(stage, run.run_id, survivor, run.handle)


async def count(stage: Stage, name: str) -> int:
    async with stage.database.read() as session:
        return (await session.execute(select(func.count()).where(Event.name == name))).scalar_one()


@pytest.mark.parametrize(
    "change",
    [
        *(paused_and_resumed, edited, moved_while_paused, moved_there_and_back, archived, archived_and_published_again),
        *(merged_into_another, joined_by_another, begun_again, moved_and_begun_again),
    ],
    ids=lambda change: change.__name__.replace("_", " "),
)
async def test_what_a_run_has_done_is_neither_done_again_nor_taken_away(stage: Stage, change: Change) -> None:
    await publish_programme(stage.database)
    await publish_reward(stage.database, TEA)
    await stage.publish(journey(*ACTS, PAUSE))
    run = await stage.enter("welcome")
    await run.stands_at("pause")
    await stage.route(run.customer_id)
    told = await count(stage, "Welcomed")

    run = await change(stage, run)
    ended = await run.ends()

    assert ended.state == ("exited" if change in (archived, archived_and_published_again) else "completed")
    async with stage.database.read() as session:
        balance = (await balances(session, "main", [run.customer_id], stage.now))[run.customer_id]
    assert (balance.available, balance.spent) == (90, 10)
    assert len(await redemptions_of(stage.database)) == 1
    assert stage.outbox.sent == [("mail", 1)]
    assert await count(stage, "Welcomed") == told == 1
