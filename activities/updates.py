"""Steps that write by appending an event: `update`, `emit`, `start`. The router then does what follows from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from temporalio import activity

from activities.steps import OpenStep, open_step
from connectors.rendering import Renderer, has_expressions
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


@dataclass(frozen=True, slots=True)
class _Unfilled:
    """What a step writes, and what its expressions are filled in with."""

    values: dict[str, Any]
    context: dict[str, Any]
    trusted_context: dict[str, Any] | None  # where trusted facts alone could come to something else


@dataclass(frozen=True, slots=True)
class _Filled:
    """What it writes, or why it cannot."""

    values: dict[str, Any]
    is_trusted: bool = True
    failure: str | None = None


_Act = Callable[[WriteSession, StepInput, _Filled | None], Awaitable[StepOutcome | _Unfilled]]


class UpdateActivities:
    """Each appends one event under the step's own message id, so that a repeated attempt appends nothing."""

    def __init__(self, database: Database, library: DefinitionLibrary, renderer: Renderer) -> None:
        self._database = database
        self._library = library
        self._renderer = renderer

    @activity.defn
    async def update(self, at: StepInput) -> StepOutcome:
        """Sets traits on the profile."""
        return await self._perform(at, self._update)

    async def _update(self, session: WriteSession, at: StepInput, filled: _Filled | None) -> StepOutcome | _Unfilled:
        match await open_step(session, self._library, at):
            case OpenStep(step=UpdateStep(update=body)) as opened:
                event = {"kind": EventKind.IDENTIFY, "name": KIND_NAMES[EventKind.IDENTIFY], "own": True}
                return await self._append(session, opened, filled, traits=body.traits, **event)
            case StepOutcome() as settled:
                return settled
            case OpenStep() as other:
                raise other.unexpected()

    @activity.defn
    async def emit(self, at: StepInput) -> StepOutcome:
        """Posts an event of our own, one deeper than what started this run: that bounds loops of journeys."""
        return await self._perform(at, self._emit)

    async def _emit(self, session: WriteSession, at: StepInput, filled: _Filled | None) -> StepOutcome | _Unfilled:
        match await open_step(session, self._library, at):
            case OpenStep(step=EmitStep(emit=body)) as opened if is_own_name(body.event):
                return opened.withheld or opened.skipped("own_event")
            case OpenStep(step=EmitStep(emit=body)) as opened:
                event = {"kind": EventKind.TRACK, "name": body.event}
                return await self._append(session, opened, filled, properties=body.properties, **event)
            case StepOutcome() as settled:
                return settled
            case OpenStep() as other:
                raise other.unexpected()

    @activity.defn
    async def start(self, at: StepInput) -> StepOutcome:
        """Asks the router to enter the customer in another journey; its entry rules decide."""
        return await self._perform(at, self._start)

    async def _start(self, session: WriteSession, at: StepInput, filled: _Filled | None) -> StepOutcome | _Unfilled:
        match await open_step(session, self._library, at):
            case OpenStep(step=StartStep(start=body)) as opened:
                event = {"kind": EventKind.START, "name": KIND_NAMES[EventKind.START], "own": True}
                asked = {"journey": body.journey, "properties": body.properties}
                return await self._append(session, opened, filled, properties=asked, **event)
            case StepOutcome() as settled:
                return settled
            case OpenStep() as other:
                raise other.unexpected()

    async def _perform(self, at: StepInput, act: _Act) -> StepOutcome:
        """Expressions are filled in between two transactions: no lock is held while a template is rendered."""
        filled: _Filled | None = None
        while True:
            async with self._database.transaction() as session:
                outcome = await act(session, at, filled)
            if isinstance(outcome, StepOutcome):
                return outcome
            filled = await self._filled(outcome)

    async def _append(
        self, session: WriteSession, opened: OpenStep, filled: _Filled | None, **event: Any
    ) -> StepOutcome | _Unfilled:
        if withheld := opened.withheld:
            return withheld
        run, customer = opened.run, opened.customer
        if run.depth >= LONGEST_CHAIN:
            return opened.skipped("loop_guard", depth=run.depth)
        if customer.external_id is None:
            return opened.skipped("unidentified")
        values: dict[str, Any] = {key: event[key] for key in ("properties", "traits") if key in event}
        if filled is None and has_expressions(values):
            return _Unfilled(values, opened.context, opened.trusted_context if opened.is_in_doubt else None)
        filled = filled or _Filled(values)
        if filled.failure is not None:
            return opened.failed(filled.failure)
        if fault := find_fault(list(filled.values.values())):
            return opened.failed(fault.code)
        message_id = f"{run.id}/{opened.at.step}/{opened.at.visit}"
        new = NewEvent(
            source=SOURCE,
            message_id=message_id,
            timestamp=after_traits(customer, event.get("traits", ()), opened.at.as_of),
            received_at=opened.at.as_of,
            user_id=customer.external_id,
            trusted=run.trusted and filled.is_trusted,  # what a browser set off, or told, stays a browser's word
            depth=run.depth + 1,
            **(event | filled.values),
        )
        await append(session, [new])
        return opened.done(event_id=str(new.id))

    async def _filled(self, unfilled: _Unfilled) -> _Filled:
        """Trusted if the event says the same by what trusted sources told of the customer."""
        try:
            values = await self._renderer.render_strings(unfilled.values, unfilled.context)
        except TemplateFailed as error:
            return _Filled({}, failure=error.code)
        if unfilled.trusted_context is None:
            return _Filled(values)
        try:
            same = await self._renderer.render_strings(unfilled.values, unfilled.trusted_context) == values
        except TemplateFailed:
            same = False
        return _Filled(values, is_trusted=same)
