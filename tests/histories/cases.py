"""One journey for each kind of step, and what happens to its run: what is recorded as a history to replay for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError

from database.run_changes import NewRunChange, RunChangeKind, decide
from domain.runs import OutcomeKind, StepOutcome
from tests.workflows.conftest import Entered, Stage
from tests.workflows.journeys import journey

SEND = {"send": {"template": "t"}, "id": "hello"}


async def _ends(stage: Stage, run: Entered) -> None:
    await run.ends()


async def _is_met(stage: Stage, run: Entered) -> None:
    await run.stands_at("order")
    await run.met("order", 0, await stage.event(run.customer_id, "Order Completed"))
    await run.ends()


async def _is_held(stage: Stage, run: Entered) -> None:
    await run.stands_at("hello")
    await stage.change("welcome", "live")
    await run.handle.signal("wake")
    await run.ends()


async def _is_cancelled(stage: Stage, run: Entered) -> None:
    await run.stands_at("pause")
    await run.handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await run.handle.result()


async def _is_moved(stage: Stage, run: Entered) -> None:
    await run.stands_at("pause")
    version = await stage.publish(journey({"wait": {"for": "2d"}, "id": "pause"}, {**SEND, "id": "other"}))
    async with stage.database.transaction() as session:
        await decide(session, NewRunChange("welcome", RunChangeKind.MOVE, version, ["pause"]), stage.now)
    await run.handle.signal("wake")
    await run.ends()


async def _is_woken_for_nothing(stage: Stage, run: Entered) -> None:
    await run.stands_at("pause")
    for _ in range(3):
        await run.handle.signal("wake")
        await asyncio.sleep(0.05)
    await run.ends()


@dataclass(frozen=True)
class Case:
    """A journey's steps, how the run is driven to its end, and what the send gate answers first."""

    steps: list[Any]
    drive: Callable[[Stage, Entered], Awaitable[None]] = _ends
    state: str = "live"
    answers: Mapping[str, list[StepOutcome]] | None = None


CASES: Mapping[str, Case] = {
    "send": Case([SEND]),
    "send-skipped": Case(
        [{"send": {"template": "t", "on_skip": [{"update": {"traits": {"a": 1}}}]}, "id": "hello"}, {"exit": "end"}],
        answers={"hello": [StepOutcome(kind=OutcomeKind.SKIPPED, reason="no_consent")]},
    ),
    "send-held": Case([SEND], _is_held, state="paused"),
    "wait": Case([{"wait": {"for": "1d", "until": "10:00"}, "id": "pause"}, SEND]),
    "wait-woken": Case([{"wait": {"for": "1d"}, "id": "pause"}, SEND], _is_woken_for_nothing),
    "wait-cancelled": Case([{"wait": {"for": "1d"}, "id": "pause"}], _is_cancelled),
    "wait-moved": Case([{"wait": {"for": "9d"}, "id": "pause"}, SEND], _is_moved),
    "wait_for": Case(
        [{"wait_for": {"any": [{"event": "Order Completed", "steps": [SEND]}], "timeout": "3d"}, "id": "order"}],
        _is_met,
    ),
    "wait_for-timeout": Case(
        [{"wait_for": {"any": [{"event": "Order Completed"}], "timeout": "3d", "on_timeout": [SEND]}, "id": "order"}]
    ),
    "branch": Case([{"branch": [{"if": {"trait": "a", "eq": 1}, "steps": []}, {"else": [SEND]}]}]),
    "split": Case([{"split": {"variants": {"a": {"steps": [SEND]}, "b": {"steps": [{**SEND, "id": "other"}]}}}}]),
    "points": Case([{"points": {"award": 100, "expires": "90d"}}]),
    "reward": Case([{"reward": {"give": "free-tea", "expires": "14d"}}]),
    "update": Case([{"update": {"traits": {"welcomed": True}}}]),
    "emit": Case([{"emit": {"event": "Welcomed"}}]),
    "call": Case([{"call": {"url": "http://127.0.0.1:9/refuses", "not_after": "1s", "on_failure": "exit"}}]),
    "start": Case([{"start": {"journey": "other"}}]),
    "goto": Case([{"wait": {"for": "1d"}, "id": "pause"}, {"goto": {"step": "pause", "visits": 2}}, SEND]),
    "exit": Case([{"exit": "done"}]),
}
