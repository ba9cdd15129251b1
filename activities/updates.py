"""Steps that write by appending an event: `update`, `emit`, `start`. The router then does what follows from it."""

from __future__ import annotations

from typing import Any

from temporalio import activity

from activities.steps import OpenStep, open_step
from connectors.rendering import Renderer
from database.acts import after_traits
from database.events import append
from database.session import Database, WriteSession
from domain.errors import TemplateFailed
from domain.events import KIND_NAMES, EventKind, NewEvent
from domain.journeys.library import DefinitionLibrary
from domain.journeys.steps import EmitStep, StartStep, UpdateStep
from domain.own_events import is_own_name
from domain.payload import find_fault
from domain.runs import LONGEST_CHAIN, StepInput, StepOutcome

SOURCE = "perennial"


class UpdateActivities:
    """Each appends one event under the step's own message id, so that a repeated attempt appends nothing."""

    def __init__(self, database: Database, library: DefinitionLibrary, renderer: Renderer) -> None:
        self._database = database
        self._library = library
        self._renderer = renderer

    @activity.defn
    async def update(self, at: StepInput) -> StepOutcome:
        """Sets traits on the profile."""
        async with self._database.transaction() as session:
            match await open_step(session, self._library, at):
                case OpenStep(step=UpdateStep(update=body)) as opened:
                    event = {"kind": EventKind.IDENTIFY, "name": KIND_NAMES[EventKind.IDENTIFY], "own": True}
                    return await self._append(session, opened, traits=body.traits, **event)
                case StepOutcome() as settled:
                    return settled
                case OpenStep() as other:
                    raise other.unexpected()

    @activity.defn
    async def emit(self, at: StepInput) -> StepOutcome:
        """Posts an event of our own, one deeper than what started this run: that bounds loops of journeys."""
        async with self._database.transaction() as session:
            match await open_step(session, self._library, at):
                case OpenStep(step=EmitStep(emit=body)) as opened if is_own_name(body.event):
                    return opened.withheld or opened.skipped("own_event")
                case OpenStep(step=EmitStep(emit=body)) as opened:
                    event = {"kind": EventKind.TRACK, "name": body.event}
                    return await self._append(session, opened, properties=body.properties, **event)
                case StepOutcome() as settled:
                    return settled
                case OpenStep() as other:
                    raise other.unexpected()

    @activity.defn
    async def start(self, at: StepInput) -> StepOutcome:
        """Asks the router to enter the customer in another journey; its entry rules decide."""
        async with self._database.transaction() as session:
            match await open_step(session, self._library, at):
                case OpenStep(step=StartStep(start=body)) as opened:
                    event = {"kind": EventKind.START, "name": KIND_NAMES[EventKind.START], "own": True}
                    asked = {"journey": body.journey, "properties": body.properties}
                    return await self._append(session, opened, properties=asked, **event)
                case StepOutcome() as settled:
                    return settled
                case OpenStep() as other:
                    raise other.unexpected()

    async def _append(self, session: WriteSession, opened: OpenStep, **event: Any) -> StepOutcome:
        if withheld := opened.withheld:
            return withheld
        run, customer = opened.run, opened.customer
        if run.depth >= LONGEST_CHAIN:
            return opened.skipped("loop_guard", depth=run.depth)
        if customer.external_id is None:
            return opened.skipped("unidentified")
        try:
            filled = await self._filled(event, opened.context)
        except TemplateFailed as error:
            return opened.failed(error.code)
        trusted = opened.run.trusted and await self._is_trusted(opened, event, filled)
        if fault := find_fault([filled.get("properties"), filled.get("traits")]):
            return opened.failed(fault.code)
        message_id = f"{run.id}/{opened.at.step}/{opened.at.visit}"
        new = NewEvent(
            source=SOURCE,
            message_id=message_id,
            timestamp=after_traits(customer, event.get("traits", ()), opened.at.as_of),
            received_at=opened.at.as_of,
            user_id=customer.external_id,
            trusted=trusted,  # what a browser set off, or told, stays a browser's word
            depth=run.depth + 1,
            **filled,
        )
        await append(session, [new])
        return opened.done(event_id=str(new.id))

    async def _is_trusted(self, opened: OpenStep, event: dict[str, Any], filled: dict[str, Any]) -> bool:
        """Whether the event says the same by what trusted sources told of the customer."""
        if not opened.is_in_doubt:
            return True
        try:
            return await self._filled(event, opened.trusted_context) == filled
        except TemplateFailed:
            return False

    async def _filled(self, event: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
        values = {key: event[key] for key in ("properties", "traits") if key in event}
        rendered: dict[str, Any] = await self._renderer.render_strings(values, context)
        return event | rendered
