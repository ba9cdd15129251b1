"""The step `emit` records what the shop's journey says, and nothing that is read as the product's own word."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from activities.updates import UpdateActivities
from connectors.rendering import Renderer
from database.events import Event
from database.session import Database
from domain.journeys.library import DefinitionLibrary
from domain.runs import StepInput, StepOutcome
from tests.factories_journeys import NOW, make_run
from tests.rewarding import publish


async def emit(database: Database, event: str) -> StepOutcome:
    """The step of a journey that an earlier release has published, whose checks knew no better."""
    step = {"emit": {"event": event, "properties": {"contest": "may", "prize": {"points": 123_456}}}, "id": "tell"}
    journey: dict[str, Any] = {"journey": "old", "enter": {"on": {"event": "Seen"}}, "steps": [step]}
    await publish(database, "journey", journey)
    run_id = await make_run(database, "old", step="start", outcome="done")
    activities = UpdateActivities(database, DefinitionLibrary(lambda *_: journey), Renderer(processes=1))
    return await activities.emit(StepInput(run_id=run_id, step="tell", visit=1, as_of=NOW))


@pytest.mark.parametrize("event", ["Contest Won", "contest won ", "C\u043entest W\u043en", "Tier Reached"])
async def test_a_journey_cannot_tell_a_customer_that_they_won(database: Database, event: str) -> None:
    outcome = await emit(database, event)

    assert (outcome.kind, outcome.reason) == ("skipped", "own_event")
    async with database.read() as session:
        assert (await session.scalars(select(Event.name))).all() == []


async def test_what_a_journey_tells_is_the_shops_own_word(database: Database) -> None:
    await emit(database, "Cart Abandoned")

    async with database.read() as session:
        assert [tuple(row) for row in await session.execute(select(Event.name, Event.own))] == [
            ("Cart Abandoned", False)
        ]
