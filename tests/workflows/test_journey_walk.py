"""Runs on the time-skipping server: days pass in moments, the database is real."""

from __future__ import annotations

from datetime import timedelta

from tests.workflows.conftest import Stage
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
