"""Runs whose journey is paused or changed under them, and runs that are exited, on the time-skipping server."""

from __future__ import annotations

from datetime import timedelta

from database.run_changes import NewRunChange, RunChangeKind, decide
from database.runs import Run, end_runs
from tests.workflows.conftest import Stage, emitted
from tests.workflows.journeys import journey


async def test_a_paused_journey_holds_its_effects_and_resume_goes_on(stage: Stage) -> None:
    await stage.publish(journey({"send": {"template": "t"}, "id": "hello"}))
    await stage.change("welcome", "paused")
    run = await stage.enter("welcome")
    await run.stands_at("hello")
    assert stage.outbox.sent == []

    await stage.change("welcome", "live")
    async with stage.database.transaction() as session:
        await decide(session, NewRunChange("welcome", RunChangeKind.WAKE, before=1_000), stage.now)
    assert [command.kind for command in await stage.commands()] == ["wake"]
    await run.handle.signal("wake")
    await run.ends()

    assert stage.outbox.sent == [("hello", 1)]


async def test_while_paused_waits_end_and_branches_decide_but_effects_wait(stage: Stage) -> None:
    await stage.publish(
        journey(
            {"wait": {"for": "1h"}, "id": "hour"},
            {"branch": [{"else": []}], "id": "b"},
            {"update": {"traits": {"a": 1}}, "id": "mark"},
        )
    )
    run = await stage.enter("welcome")
    await run.stands_at("hour")
    await stage.change("welcome", "paused")
    assert stage.skip is not None
    await stage.skip(timedelta(hours=2))
    await run.stands_at("mark")

    assert await run.log() == [("hour", 1, "done", None), ("b", 1, "done", None), ("mark", 1, "held", "paused")]
    assert await emitted(stage) == []
    await stage.change("welcome", "live")
    await run.handle.signal("wake")
    await run.ends()
    assert len(await emitted(stage)) == 1


async def test_an_exit_reaches_a_run_that_is_held(stage: Stage) -> None:
    await stage.publish(journey({"send": {"template": "t"}, "id": "hello"}))
    await stage.change("welcome", "paused")
    run = await stage.enter("welcome")
    await run.stands_at("hello")
    async with stage.database.transaction() as session:
        await end_runs(session, Run.id == run.run_id, reason="exit: Order Completed", as_of=stage.now)
    await run.handle.signal("wake")

    assert (await run.ends()).reason == "exit: Order Completed"
    assert stage.outbox.sent == []


async def test_an_exited_run_does_nothing_more(stage: Stage) -> None:
    await stage.publish(journey({"wait": {"for": "10d"}, "id": "w"}, {"send": {"template": "t"}}))
    run = await stage.enter("welcome")
    await run.stands_at("w")
    async with stage.database.transaction() as session:
        await end_runs(session, Run.id == run.run_id, reason="exit: Order Completed", as_of=stage.now)

    await run.handle.signal("wake")
    ended = await run.ends()

    assert (ended.state, ended.reason) == ("exited", "exit: Order Completed")
    assert stage.outbox.sent == []
    assert await run.log() == [("w", 1, "cancelled", None)]


async def test_a_moved_run_keeps_its_step_and_counts_its_deadline_from_when_it_was_entered(stage: Stage) -> None:
    await stage.publish(journey({"wait": {"for": "10d"}, "id": "w"}, {"send": {"template": "t"}, "id": "old"}))
    run = await stage.enter("welcome")
    await run.stands_at("w")
    version = await stage.publish(journey({"wait": {"for": "2d"}, "id": "w"}, {"send": {"template": "t"}, "id": "new"}))
    async with stage.database.transaction() as session:
        moving = NewRunChange("welcome", RunChangeKind.MOVE, version, ["w"])
        assert (await decide(session, moving, stage.now)).done == 1
    await run.handle.signal("wake")

    ended = await run.ends()

    assert ended.version == version
    assert stage.outbox.sent == [("new", 1)]
    waited = await run.step("w")
    assert waited is not None
    assert waited.at is not None
    assert timedelta(days=2) <= waited.at - waited.reached_at < timedelta(days=3)


async def test_a_run_that_is_not_moved_stays_on_its_version(stage: Stage) -> None:
    await stage.publish(journey({"wait": {"for": "10d"}, "id": "w"}, {"send": {"template": "t"}, "id": "old"}))
    run = await stage.enter("welcome")
    await run.stands_at("w")
    await stage.publish(journey({"wait": {"for": "2d"}, "id": "w"}))

    await run.ends()

    assert stage.outbox.sent == [("old", 1)]
