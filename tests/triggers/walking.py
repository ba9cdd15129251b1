"""Walks runs of the router's shop step by step, without Temporal: the interpreter and the activities of production."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from activities.branches import BranchActivities
from activities.points import PointsActivities
from activities.rewards import RewardActivities
from activities.updates import UpdateActivities
from activities.waits import WaitActivities
from connectors.rendering import Renderer
from database.definitions import flow_of
from database.run_lists import run_log
from database.runs import Run
from domain.journeys.interpreter import Interpreter
from domain.journeys.library import DefinitionLibrary
from domain.journeys.steps import Step
from domain.runs import OutcomeKind, Position, StepInput, StepOutcome
from tests.triggers.shop import Shop


class _StandsError(Exception):
    """The walk stands at a wait."""


@dataclass
class Walker:
    """Takes a run as far as it goes at the shop's time; it is walked on from where it stood."""

    shop: Shop
    renderer: Renderer
    _positions: dict[UUID, Position] = field(default_factory=dict)
    _run: Run | None = None

    async def walk(self, journey: str, run_id: UUID | None = None) -> Run:
        """Walk the journey's only run on, or that one; answers its row as it is then."""
        [self._run] = await self._found(journey, run_id)
        library = DefinitionLibrary(lambda *_: None)
        self._activities = (
            *(WaitActivities(self.shop.database, library), BranchActivities(self.shop.database, library)),
            *(PointsActivities(self.shop.database, library), RewardActivities(self.shop.database, library)),
            UpdateActivities(self.shop.database, library, self.renderer),
        )
        version = self._run.version
        async with self.shop.database.read() as session:
            flow = await flow_of(session, library, journey, version)
        with suppress(_StandsError):
            await Interpreter(lambda _: flow, version, self, self._positions.get(self._run.id)).walk()
        [run] = await self._found(journey, run_id)
        return run

    async def _found(self, journey: str, run_id: UUID | None) -> list[Run]:
        return [run for run in await self.shop.runs(journey) if run_id in (None, run.id)]

    async def log(self, run: Run) -> dict[str, str | None]:
        """Step -> outcome, or the reason where there is one."""
        async with self.shop.database.read() as session:
            return {row.step: row.reason or row.outcome for row in await run_log(session, run.id)}

    async def perform(self, step: Step, visit: int) -> StepOutcome:
        assert self._run is not None
        [activities] = [each for each in self._activities if hasattr(each, step.kind)]
        at = StepInput(run_id=self._run.id, step=step.id or "", visit=visit, as_of=self.shop.now)
        outcome: StepOutcome = await getattr(activities, step.kind)(at)
        return outcome

    async def stand(self, step: Step, outcome: StepOutcome) -> None:
        assert outcome.kind is OutcomeKind.LATER
        raise _StandsError

    async def arrive(self, position: Position) -> None:
        assert self._run is not None
        self._positions[self._run.id] = position

    def note(self, step: Step, visit: int, outcome: Any) -> None:
        """A `goto` was passed."""
