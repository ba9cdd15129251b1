"""Runs on the time-skipping server: days pass in moments, the database is real."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from sqlalchemy import update
from temporalio.client import WorkflowExecutionStatus
from temporalio.exceptions import ApplicationError

from database.runs import Run
from domain.journeys.splits import assign
from domain.journeys.steps import Variant
from domain.runs import OutcomeKind, StepOutcome
from tests.workflows.conftest import Stage, emitted
from tests.workflows.journeys import journey


async def test_a_run_waits_its_day_sends_and_completes(stage: Stage) -> None:
    await stage.publish(journey({"wait": {"for": "1d"}}, {"send": {"template": "hello"}, "id": "hello"}))
    run = await stage.enter("welcome")

    ended = await run.ends()

    assert (ended.state, ended.reason) == ("completed", None)
    assert stage.outbox.sent == [("hello", 1)]
    assert await run.log() == [("wait-1", 1, "done", None), ("hello", 1, "done", None)]
    waited = await run.step("wait-1")
    assert waited is not None
    assert waited.at is not None
    assert waited.at - waited.reached_at >= timedelta(days=1)


async def test_a_branch_waits_for_what_an_update_before_it_wrote(stage: Stage) -> None:
    update = {"update": {"traits": {"mood": "happy"}}, "id": "mood"}
    arms = [{"if": {"trait": "mood", "eq": "happy"}, "steps": [{"exit": "happy"}]}, {"else": [{"exit": "too early"}]}]
    await stage.publish(journey(update, {"branch": arms, "id": "which"}))
    run = await stage.enter("welcome")
    while await run.step("mood") is None:
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)  # long enough for a branch that does not wait

    assert await run.step("which") is None
    assert await stage.route(run.customer_id, mood="happy")
    assert (await run.ends()).reason == "happy"


async def test_a_branch_takes_the_first_arm_that_holds_and_rejoins(stage: Stage) -> None:
    arms = [
        {"if": {"trait": "plan", "eq": "gold"}, "steps": [{"send": {"template": "t"}, "id": "gold"}]},
        {"if": {"trait": "plan", "exists": True}, "steps": [{"send": {"template": "t"}, "id": "plain"}]},
        {"else": [{"send": {"template": "t"}, "id": "none"}]},
    ]
    await stage.publish(journey({"branch": arms, "id": "plan"}, {"send": {"template": "t"}, "id": "after"}))
    run = await stage.enter("welcome", await stage.customer(plan="silver"))

    await run.ends()

    assert [step for step, _ in stage.outbox.sent] == ["plain", "after"]
    logged = await run.step("plan")
    assert logged is not None
    assert logged.detail == {"arm": "1"}


async def test_a_split_is_stable_and_stored(stage: Stage) -> None:
    variants = [{"variant": "a", "weight": 1}, {"variant": "b", "weight": 1}]
    await stage.publish(journey({"split": {"variants": variants}, "id": "test"}))
    run = await stage.enter("welcome")

    ended = await run.ends()

    expected = assign(run.customer_id, "welcome", "test", [Variant.model_validate(variant) for variant in variants])
    assert ended.variants == {"test": expected}


async def test_a_goto_is_bounded_by_its_visits_and_then_goes_on(stage: Stage) -> None:
    await stage.publish(
        journey(
            {"wait": {"for": "1d"}, "id": "day"},
            {"send": {"template": "t"}, "id": "nudge"},
            {"goto": {"step": "day", "visits": 2}, "id": "again"},
            {"send": {"template": "t"}, "id": "last"},
        )
    )
    run = await stage.enter("welcome")

    await run.ends()

    assert stage.outbox.sent == [("nudge", 1), ("nudge", 2), ("nudge", 3), ("last", 1)]
    assert {entry for entry in await run.log() if entry[0] == "again"} == {
        ("again", 1, "done", None),
        ("again", 2, "done", None),
        ("again", 3, "skipped", "visits_used_up"),
    }


async def test_transactional_messages_go_before_others_where_tasks_queue_up(stage: Stage) -> None:
    receipt = {"send": {"template": "t", "category": "transactional"}, "id": "receipt"}
    await stage.publish(journey(receipt, {"send": {"template": "t"}, "id": "news"}))
    run = await stage.enter("welcome")

    await run.ends()

    scheduled = [
        event.activity_task_scheduled_event_attributes
        for event in (await run.handle.fetch_history()).events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    assert [each.priority.priority_key for each in scheduled] == [1, 3]


async def test_a_skipped_message_does_not_end_a_journey_unless_the_step_says_so(stage: Stage) -> None:
    skipped = StepOutcome(kind=OutcomeKind.SKIPPED, reason="no_consent")
    stage.outbox.answers = {step: [skipped] for step in ("first", "second", "third")}
    await stage.publish(
        journey(
            {"send": {"template": "t"}, "id": "first"},
            {"send": {"template": "t", "on_skip": [{"send": {"template": "t"}, "id": "instead"}]}, "id": "second"},
            {"send": {"template": "t", "on_skip": "exit"}, "id": "third"},
            {"send": {"template": "t"}, "id": "never"},
        )
    )
    run = await stage.enter("welcome")

    ended = await run.ends()

    assert (ended.state, ended.reason) == ("exited", "no_consent")
    assert stage.outbox.sent == [("instead", 1)]


async def test_an_activity_that_gives_up_fails_its_step_not_the_run(stage: Stage) -> None:
    broken = ApplicationError("quotes jane@example.com", type="renderer_gone", non_retryable=True)
    stage.outbox.answers = {"first": [broken]}
    await stage.publish(
        journey({"send": {"template": "t"}, "id": "first"}, {"send": {"template": "t"}, "id": "second"})
    )
    run = await stage.enter("welcome")

    ended = await run.ends()

    assert ended.state == "completed"
    assert await run.log() == [("first", 1, "failed", "renderer_gone"), ("second", 1, "done", None)]
    assert b"jane@example.com" not in (await run.handle.fetch_history()).to_json().encode()


async def test_a_failed_message_can_fail_the_run(stage: Stage) -> None:
    stage.outbox.answers = {"first": [StepOutcome(kind=OutcomeKind.FAILED, reason="template_error")]}
    await stage.publish(journey({"send": {"template": "t", "on_failure": "exit"}, "id": "first"}))
    run = await stage.enter("welcome")

    ended = await run.ends()

    assert (ended.state, ended.reason) == ("exited", "template_error")


async def test_a_holdout_walks_and_logs_what_it_would_have_done(stage: Stage) -> None:
    await stage.publish(
        journey(
            {"send": {"template": "t", "on_skip": "exit"}, "id": "hello"},
            {"update": {"traits": {"welcomed": True}}, "id": "mark"},
            {"emit": {"event": "Welcomed"}, "id": "tell"},
        )
    )
    run = await stage.enter("welcome", shadow=True)

    ended = await run.ends()

    assert ended.state == "completed"
    assert {entry[2:] for entry in await run.log()} == {("skipped", "holdout")}
    assert stage.outbox.sent == []
    assert await emitted(stage) == []


async def test_values_are_filled_in_and_emitted_events_are_one_deeper(stage: Stage) -> None:
    await stage.publish(
        journey(
            {"emit": {"event": "Cart Seen", "properties": {"name": "Hi {{ customer.traits.name }}"}}, "id": "tell"},
            {"update": {"traits": {"last_cart": "{{ entry.properties.cart_id }}"}}, "id": "mark"},
            {"start": {"journey": "other", "properties": {"n": "{{ entry.properties.n }}"}}, "id": "go"},
        )
    )
    entry = {"event": "Product Added", "properties": {"cart_id": "c7", "n": 3}}
    run = await stage.enter("welcome", await stage.customer(name="Ada"), entry=entry, depth=2)

    await run.ends()

    tell, update, go = await emitted(stage)
    assert (update.kind, update.traits, update.source) == ("identify", {"last_cart": "c7"}, "perennial")
    assert (tell.name, tell.properties, tell.depth) == ("Cart Seen", {"name": "Hi Ada"}, 3)
    assert (go.kind, go.properties) == ("start", {"journey": "other", "properties": {"n": 3}})
    assert tell.message_id == f"{run.run_id}/tell/1"


async def test_a_chain_of_journeys_that_start_each_other_ends(stage: Stage) -> None:
    await stage.publish(journey({"emit": {"event": "Signed Up"}, "id": "loop"}))
    run = await stage.enter("welcome", depth=10)

    await run.ends()

    assert await run.log() == [("loop", 1, "skipped", "loop_guard")]
    assert await emitted(stage) == []


async def test_a_workflow_whose_run_is_anothers_waits_and_walks_on_once_the_run_is_its_own(stage: Stage) -> None:
    await stage.publish(journey({"wait": {"for": "10d"}, "id": "w"}, {"send": {"template": "t"}, "id": "s"}))
    run = await stage.enter("welcome", first_run_id="another-execution")
    await asyncio.sleep(1)
    assert (await run.row()).step is None
    assert (await run.handle.describe()).status is WorkflowExecutionStatus.RUNNING

    async with stage.database.transaction() as session:
        await session.execute(update(Run).where(Run.id == run.run_id).values(first_run_id=None))

    await run.stands_at("w")
    assert (await run.ends()).state == "completed"
    assert stage.outbox.sent == [("s", 1)]
