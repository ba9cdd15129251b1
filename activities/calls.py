"""The step `call`: a signed webhook to the shop's own systems, tried until it is taken, refused or too late."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid5

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.retries import next_try
from activities.steps import OpenStep, open_step
from connectors.rendering import Renderer
from connectors.webhook import Delivered, Refused, TryLater, Webhooks
from database.session import Database
from domain.durations import parse_duration
from domain.errors import TemplateFailed
from domain.journeys.library import DefinitionLibrary
from domain.journeys.steps import Call, CallStep
from domain.payload import find_fault
from domain.runs import Doubt, StepInput, StepOutcome

DEFAULT_FRESHNESS = "1d"
"""How long a call is tried where the step says no `not_after`."""


@dataclass(frozen=True, slots=True)
class _Request:
    url: str
    headers: dict[str, str]
    body: dict[str, Any]
    save_as: str | None
    is_in_doubt: bool
    until: datetime  # after this time it is not tried again


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A request whose expressions are to be filled in."""

    written: dict[str, Any]
    context: dict[str, Any]
    trusted_context: dict[str, Any] | None  # where trusted facts alone could ask for something else that matters
    save_as: str | None
    until: datetime


class CallActivities:
    """Two short transactions; between them the request is rendered and made: no lock is held while the shop thinks."""

    def __init__(self, database: Database, library: DefinitionLibrary, renderer: Renderer, webhooks: Webhooks) -> None:
        self._database = database
        self._library = library
        self._renderer = renderer
        self._webhooks = webhooks

    @activity.defn
    async def call(self, at: StepInput) -> StepOutcome:
        """One attempt; Temporal repeats it with the same webhook id until it is taken, refused or too late."""
        at = at.model_copy(update={"as_of": max(at.as_of, _attempted_at())})
        prepared = await self._prepare(at)
        if isinstance(prepared, StepOutcome):
            return prepared
        try:
            request = await self._filled(prepared)
        except TemplateFailed as error:
            return await self._fail(at, error.code)
        if request.is_in_doubt and (ended := await self._doubt(at)) is not None:
            return ended
        answer = await self._webhooks.post(
            request.url, request.body, webhook_id=webhook_id(at), headers=request.headers, as_of=at.as_of
        )
        if isinstance(answer, TryLater):
            delay = next_try(answer.after, request.until, at.as_of)
            raise ApplicationError("try again", type=answer.reason, next_retry_delay=delay)
        return await self._record(at, request, answer)

    async def _prepare(self, at: StepInput) -> _Prepared | StepOutcome:
        async with self._database.transaction() as session:
            match await open_step(session, self._library, at):
                case OpenStep(step=CallStep(call=body)) as opened:
                    return opened.withheld or _too_late(opened, body) or _prepared(opened, body)
                case StepOutcome() as settled:
                    return settled
                case OpenStep() as other:
                    raise other.unexpected()

    async def _filled(self, prepared: _Prepared) -> _Request:
        filled = await self._renderer.render_strings(prepared.written, prepared.context)
        is_in_doubt = prepared.trusted_context is not None and not await self._asks_the_same(prepared, filled)
        headers = {name: str(value) for name, value in filled["headers"].items()}
        return _Request(str(filled["url"]), headers, filled["body"], prepared.save_as, is_in_doubt, prepared.until)

    async def _fail(self, at: StepInput, code: str) -> StepOutcome:
        """It cannot be rendered for this customer."""
        async with self._database.transaction() as session:
            opened = await open_step(session, self._library, at)
            return opened if isinstance(opened, StepOutcome) else opened.failed(code)

    async def _asks_the_same(self, prepared: _Prepared, filled: dict[str, Any]) -> bool:
        """Whether it would ask the same by what trusted sources told of the customer."""
        try:
            asked = await self._renderer.render_strings(prepared.written, prepared.trusted_context or {})
        except TemplateFailed:
            return False
        return bool(asked == filled)

    async def _doubt(self, at: StepInput) -> StepOutcome | None:
        """The answer, by which later steps decide, could be another one by trusted facts alone."""
        async with self._database.transaction() as session:
            opened = await open_step(session, self._library, at)
            if isinstance(opened, StepOutcome):
                return opened
            opened.doubt(Doubt.CALL)
            return None

    async def _record(self, at: StepInput, request: _Request, answer: Delivered | Refused) -> StepOutcome:
        """Write the answer to the run log, also when the run was exited meanwhile: the call has happened."""
        async with self._database.transaction() as session:
            match await open_step(session, self._library, at):
                case OpenStep() as opened:
                    return _written(opened, request, answer)
                case StepOutcome() as settled:
                    return settled


def _prepared(opened: OpenStep, body: Call) -> _Prepared:
    written = {
        "url": body.url,
        "headers": body.headers,
        "body": _default_body(opened) if body.body is None else body.body,
    }
    decides = body.save_as is not None or isinstance(body.on_failure, list)
    trusted = opened.trusted_context if decides and opened.is_in_doubt else None
    return _Prepared(written, opened.context, trusted, body.save_as, _until(opened, body))


def webhook_id(at: StepInput) -> str:
    """The same for every attempt of one step and visit, so that the shop can tell a repetition."""
    return f"call_{uuid5(at.run_id, f'{at.step}/{at.visit}').hex}"


def _written(opened: OpenStep, request: _Request, answer: Delivered | Refused) -> StepOutcome:
    match answer:
        case Delivered(status, saved):
            if request.save_as is None:
                return opened.done(status=status, saved=None)
            lost = "no_json" if saved is None else fault.code if (fault := find_fault(saved)) else None
            if lost is not None:
                return opened.done(status=status, saved=None, not_saved=lost)
            opened.run.saved = opened.run.saved | {request.save_as: saved}
            return opened.done(status=status, saved=request.save_as)
        case Refused(reason, status):
            return opened.failed(reason, status=status)


def _too_late(opened: OpenStep, body: Call) -> StepOutcome | None:
    return opened.failed("not_after") if opened.at.as_of > _until(opened, body) else None


def _until(opened: OpenStep, body: Call) -> datetime:
    return parse_duration(body.not_after or DEFAULT_FRESHNESS).after(opened.row.reached_at)


def _default_body(opened: OpenStep) -> dict[str, Any]:
    """What a `call` without a body of its own posts, in the shape that Standard Webhooks recommends."""
    run = opened.run
    data = {
        "customer_id": opened.customer.external_id,
        "journey": run.journey,
        "run_id": str(run.id),
        "step": opened.at.step,
    }
    return {"type": "journey.call", "timestamp": opened.row.reached_at.isoformat(), "data": data}


def _attempted_at() -> datetime:
    return activity.info().started_time.astimezone(UTC)
