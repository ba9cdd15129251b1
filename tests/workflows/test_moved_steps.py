"""G34: a moved run does not do again what it did before a new version placed it later; loops repeat as written."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from database.events import Event
from database.points import balances
from database.reconciliation import start_again
from database.run_changes import NewRunChange, RunChangeKind, decide
from domain.runs import JourneyInput
from tests.rewarding import TEA, balance_of, publish_programme, publish_reward, redemptions_of
from tests.workflows.conftest import Entered, Stage
from tests.workflows.journeys import journey

Steps = list[dict[str, Any]]

PAUSE = {"wait": {"for": "1d"}, "id": "pause"}
GIFT = {"points": {"award": 100}, "id": "gift"}
MAIL = {"send": {"template": "t"}, "id": "mail"}


@pytest.fixture(autouse=True)
async def club(stage: Stage) -> None:
    """A programme with a reward."""
    await publish_programme(stage.database)
    await publish_reward(stage.database, TEA)


async def moved(stage: Stage, before: Steps, after: Steps, *, times: int = 1, wake: bool = True) -> Entered:
    """A run that stands at `pause` for the so-manieth time when a plan moves it to the version with these steps."""
    await stage.publish(journey(*before))
    run = await stage.enter("welcome")
    for visit in range(1, times + 1):
        await run.stands_at("pause")
        if visit < times:
            await _pass(stage, run, visit)
    await stage.route(run.customer_id)
    version = await stage.publish(journey(*after))
    async with stage.database.transaction() as session:
        assert (await decide(session, NewRunChange("welcome", RunChangeKind.MOVE, version, ["pause"]), stage.now)).done
    if wake:
        await run.handle.signal("wake")
    return run


async def _pass(stage: Stage, run: Entered, visit: int) -> None:
    """Let time pass until the run stands at `pause` again."""
    assert stage.skip is not None
    while await run.step("pause", visit + 1) is None:
        await stage.skip(timedelta(days=1, hours=1))


async def points_of(run: Entered) -> int:
    async with run.stage.database.read() as session:
        return (await balances(session, "main", [run.customer_id], run.stage.now))[run.customer_id].available


async def outcomes(run: Entered, step: str) -> list[str | None]:
    """What became of each visit of a step."""
    return [reason or outcome for name, _, outcome, reason in await run.log() if name == step]


async def test_reordered_steps_of_value_are_not_done_again_by_runs_that_a_plan_moves(stage: Stage) -> None:
    await stage.publish(journey({"wait": {"for": "1d"}}))  # some version before
    acts: Steps = [
        GIFT,
        {"points": {"deduct": 10}, "id": "fee"},
        {"points": {"multiply": 2, "for": "7d"}, "id": "double"},
        {"reward": {"give": "free-tea"}, "id": "tea"},
        MAIL,
        {"update": {"traits": {"welcomed": True}}, "id": "mark"},
        {"start": "other", "id": "next"},
        {"emit": {"event": "Welcomed"}, "id": "tell"},
    ]
    ids = [step["id"] for step in acts]

    run = await moved(stage, [*acts, PAUSE], [PAUSE, *reversed(acts), {"points": {"award": 1}, "id": "new"}])
    assert (await run.ends()).version == 3

    assert {name: await outcomes(run, name) for name in ids} == {name: ["done", "already_done"] for name in ids}
    assert await points_of(run) == 100 - 10 + 1
    assert len(await redemptions_of(stage.database)) == 1
    assert stage.outbox.sent == [("mail", 1)]
    assert Counter(await _appended(stage))["Welcomed"] == 1


async def _appended(stage: Stage) -> list[str]:
    async with stage.database.read() as session:
        return list((await session.execute(select(Event.name))).scalars())


async def test_a_loop_goes_on_repeating_what_is_in_it_after_a_move(stage: Stage) -> None:
    again = {"goto": {"step": "gift", "visits": 2}, "id": "again"}

    run = await moved(stage, [GIFT, PAUSE, again], [GIFT, MAIL, PAUSE, again])
    await run.ends()

    assert await outcomes(run, "gift") == ["done", "done", "done"]
    assert await points_of(run) == 300


async def test_a_step_placed_behind_the_wait_of_its_loop_is_left_out_for_the_round_in_which_it_was_done(
    stage: Stage,
) -> None:
    before = [GIFT, PAUSE, {"goto": {"step": "gift", "visits": 2}, "id": "again"}]
    after = [PAUSE, GIFT, {"goto": {"step": "pause", "visits": 2}, "id": "again"}]

    run = await moved(stage, before, after, times=2)
    await run.ends()

    assert await outcomes(run, "gift") == ["done", "done", "already_done", "done"]
    assert await points_of(run) == 300


async def test_a_loop_that_the_step_is_not_in_does_not_bring_it_round(stage: Stage) -> None:
    loop = {"goto": {"step": "pause", "visits": 2}, "id": "again"}

    run = await moved(stage, [GIFT, PAUSE], [PAUSE, loop, GIFT])
    await run.ends()

    assert await outcomes(run, "gift") == ["done", "already_done"]


async def test_a_step_under_a_new_id_is_the_same_while_it_does_the_same(stage: Stage) -> None:
    renamed = {"points": {"award": 100}, "id": "welcome-gift"}
    more = [{"points": {"award": 100}, "id": "second-gift"}, {"points": {"award": 7}, "id": "extra"}]

    run = await moved(stage, [GIFT, PAUSE], [PAUSE, renamed, *more])
    await run.ends()

    assert await outcomes(run, "welcome-gift") == ["already_done"]
    assert (await outcomes(run, "second-gift"), await outcomes(run, "extra")) == (["done"], ["done"])
    assert await points_of(run) == 100 + 100 + 7


async def test_what_was_left_out_before_a_move_is_done_after_it(stage: Stage) -> None:
    fee = {"points": {"deduct": 50}, "id": "fee"}  # more than there is at first

    run = await moved(stage, [fee, GIFT, PAUSE], [PAUSE, fee])
    await run.ends()

    assert await outcomes(run, "fee") == ["insufficient_points", "done"]
    assert (await balance_of(stage.database, run.customer_id)).spent == 50


async def test_a_message_that_was_sent_before_a_move_counts_as_sent_where_the_new_version_asks_what_became_of_it(
    stage: Stage,
) -> None:
    ends = {"send": {"template": "t", "on_skip": "exit"}, "id": "mail"}

    run = await moved(stage, [MAIL, PAUSE], [PAUSE, ends, {"points": {"award": 5}, "id": "after"}])
    await run.ends()

    assert await outcomes(run, "after") == ["done"]


async def test_a_moved_run_whose_workflow_was_lost_does_nothing_that_it_had_passed(stage: Stage) -> None:
    new = {"points": {"award": 40}, "id": "before-the-pause"}
    run = await moved(stage, [GIFT, PAUSE], [new, MAIL, PAUSE, GIFT, {"points": {"award": 5}, "id": "end"}], wake=False)
    await run.handle.terminate()
    async with stage.database.transaction() as session:
        assert await start_again(session, run.run_id)
    *_, command = await stage.commands()
    again = await stage.start("welcome", JourneyInput.model_validate(command.payload["input"]), f"{run.run_id}-again")
    await again.result()

    assert await outcomes(run, "before-the-pause") == []
    assert (await outcomes(run, "gift"), await outcomes(run, "end")) == (["done", "already_done"], ["done"])
    assert await points_of(run) == 105
    assert stage.outbox.sent == []
