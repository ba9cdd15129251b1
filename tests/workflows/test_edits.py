"""G11: whatever is edited and published meanwhile, a run stays on its version unless a confirmed plan moves it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import pytest

from database.run_changes import NewRunChange, RunChangeKind, decide
from tests.workflows.conftest import Entered, Stage
from tests.workflows.journeys import journey


@dataclass
class Expected:
    """What a run must turn out to have done: the version whose message it sent, or that a plan finished it."""

    run: Entered
    version: int
    finished: bool = False


def edition(number: int) -> dict[str, Any]:
    """Every version waits at the same step for its own time, and sends its own message."""
    nap = {"wait": {"for": f"{30 + number}d"}, "id": "pause", "name": f"edition {number}"}
    return journey(nap, {"send": {"template": "t"}, "id": f"hello-{number}"})


class Marketer:
    """Enters customers, edits and publishes, and remembers what each run must come to."""

    def __init__(self, stage: Stage, choose: random.Random) -> None:
        self.stage = stage
        self.choose = choose
        self.version = 0
        self.expected: list[Expected] = []

    async def enter(self) -> None:
        run = await self.stage.enter("welcome")
        await run.stands_at("pause")
        self.expected.append(Expected(run, self.version))

    async def edit(self) -> None:
        self.version = await self.stage.publish(edition(self.version + 1))

    async def move(self) -> None:
        await self.edit()
        async with self.stage.database.transaction() as session:
            await decide(session, NewRunChange("welcome", RunChangeKind.MOVE, self.version, ["pause"]), self.stage.now)
        for each in self.going_on():
            each.version = self.version

    async def finish(self) -> None:
        async with self.stage.database.transaction() as session:
            finishing = NewRunChange("welcome", RunChangeKind.FINISH, self.version + 1, ["pause"])
            await decide(session, finishing, self.stage.now)
        for each in self.going_on():
            each.finished = True
            await each.run.handle.signal("wake")

    async def wake(self) -> None:
        for each in self.choose.sample(self.going_on(), min(2, len(self.going_on()))):
            await each.run.handle.signal("wake")

    def going_on(self) -> list[Expected]:
        return [each for each in self.expected if not each.finished]


@pytest.mark.parametrize("seed", range(4))
async def test_only_confirmed_plans_change_what_a_run_does(stage: Stage, seed: int) -> None:
    marketer = Marketer(stage, random.Random(seed))
    actions = [marketer.enter, marketer.enter, marketer.edit, marketer.move, marketer.wake, marketer.finish]
    await marketer.edit()
    for action in marketer.choose.choices(actions, weights=[3, 3, 2, 2, 2, 1], k=14):
        await action()
    await marketer.wake()

    for each in marketer.expected:
        ended = await each.run.ends()
        if each.finished:
            assert (ended.state, ended.reason) == ("exited", "finished")
        else:
            assert (ended.state, ended.version) == ("completed", each.version)
            assert (await each.run.step(f"hello-{each.version}")) is not None
            assert len(await each.run.log()) == 2
